"""Whether a ledger is right in itself: orders, fills, trades, positions and cash by brute force.

Everything is reckoned again from the fills, in the order in which they were written (I8). What a
ledger cannot show, prices between fills and times within a process, is not compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from pipeline.brokers.contract import Fill, Order, Side
from pipeline.errors import TickpipeError
from pipeline.results.trades import Trade
from pipeline.risk.history import Change, Record
from pipeline.risk.restoring import restore
from pipeline.risk.rulebook import NO_RULES, Rulebook
from pipeline.risk.session import RiskSession
from pipeline.settings import Settings


def check_ledger(
    settings: Settings,
    history: Sequence[Record],
    trades: Sequence[Trade],
    rulebook: Rulebook = NO_RULES,
) -> list[str]:
    """Return what is wrong with the records of a ledger; nothing where all of it agrees.

    ``settings`` are those of the run: its capital and its charges.
    """
    orders = {record.order_id: record for record in history if isinstance(record, Order)}
    lost = [r for r in history if isinstance(r, Fill | Change) and r.order_id not in orders]
    if lost:
        return [
            f"{type(r).__name__.lower()} of {r.order_id}: the ledger has no such order"
            for r in lost
        ]
    return [*_totals(orders, history), *_money(settings, history, trades, rulebook)]


def _totals(orders: dict[str, Order], history: Sequence[Record]) -> Iterator[str]:
    """Compare what was filled of every order with what was heard of it last."""
    filled = {order_id: [0, 0] for order_id in orders}
    heard: dict[str, Change] = {}
    for record in history:
        if isinstance(record, Fill):
            filled[record.order_id][0] += record.quantity
            filled[record.order_id][1] += record.turnover_e4
        elif isinstance(record, Change):
            heard[record.order_id] = record
    for order_id, (shares, turnover_e4) in filled.items():
        last = heard[order_id] if order_id in heard else None
        if last is not None and (last.filled, last.turnover_e4) != (shares, turnover_e4):
            yield (
                f"order {order_id}: its fills are {shares} shares for {turnover_e4} e4, heard was "
                f"{last.filled} for {last.turnover_e4} e4"
            )
        if shares > orders[order_id].quantity:
            yield f"order {order_id}: {shares} of {orders[order_id].quantity} shares are filled"


def _money(
    settings: Settings, history: Sequence[Record], trades: Sequence[Trade], rulebook: Rulebook
) -> Iterator[str]:
    session = _Reckoning(settings, rulebook)
    try:
        restore(session, history)
    except TickpipeError as error:
        yield f"the fills cannot be booked: {error}"
        return
    for written, reckoned in zip(trades, session.trades, strict=False):
        if _comparable(written) != _comparable(reckoned):
            yield f"trade {written.trade_id}: {written}, reckoned {reckoned}"
    if len(trades) != len(session.trades):
        yield f"{len(trades)} trades are written, the fills make {len(session.trades)}"
    held = {at: shares for at, shares in enumerate(session.book.held) if shares}
    bought = session.bought
    if held != bought:
        yield f"shares held by instrument are {held}, the fills make {bought}"
    cash = settings.capital.initial_capital + sum(trade.net_pnl for trade in trades)
    if session.is_flat and cash != session.book.cash:
        yield f"cash is {session.book.cash}, initial + Σ net of the trades is {cash}"


class _Reckoning(RiskSession):
    """A session that keeps the trades which its fills make, and counts shares by hand."""

    def __init__(self, settings: Settings, rulebook: Rulebook) -> None:
        super().__init__(settings, rulebook)
        self.trades: list[Trade] = []
        self._bought: dict[int, int] = {}

    def on_fill(self, order: Order, fill: Fill) -> Trade | None:
        shares = fill.quantity if order.side is Side.BUY else -fill.quantity
        before = self._bought[order.instrument] if order.instrument in self._bought else 0
        self._bought[order.instrument] = before + shares
        trade = super().on_fill(order, fill)
        if trade is not None:
            self.trades.append(trade)
        return trade

    @property
    def bought(self) -> dict[int, int]:
        return {at: shares for at, shares in self._bought.items() if shares}


def _comparable(trade: Trade) -> Trade:
    nothing = Decimal(0)
    return trade._replace(mae=nothing, mfe=nothing, tick_to_signal_ns=0, signal_to_order_ns=0)
