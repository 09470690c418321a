"""What is held and what it cost: positions, cash, and the trades that come of them.

Everything here follows from fills alone, so the same fills always give the same cash (I8):
cash = initial capital + Σ net of all trades whenever nothing is held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from pipeline.brokers.contract import Fill, Order, Side
from pipeline.errors import TickpipeError, explain
from pipeline.records import SignalRow
from pipeline.results.trades import Trade
from pipeline.risk.charges import NOTHING, Tariff, charges, rupees
from pipeline.risk.hours import day_of
from pipeline.settings import Instrument

_SHARE_STEP = Decimal("0.000001")  # a trade's part of the entry charges is rounded to this


class Delays(NamedTuple):
    """How long the entry took, in ns."""

    tick_to_signal_ns: int = 0
    signal_to_order_ns: int = 0

    @classmethod
    def of(cls, signal: SignalRow, now_ns: int) -> Delays:
        """Return those of an order decided now; 0 where a replay's clock stands still."""
        tick_to_signal_ns = signal.ts_signal_ns - signal.ts_recv_ns
        return cls(max(0, tick_to_signal_ns), max(0, now_ns - signal.ts_signal_ns))

    @classmethod
    def noted(cls, order: Order) -> Delays:
        """Return what an order of the ledger tells of them."""
        return cls(tick_to_signal_ns=max(0, order.ts_signal_ns - order.ts_recv_ns))


NO_DELAYS = Delays()


@dataclass(slots=True)
class Position:
    """One position from its first entry fill to its last exit fill. Costs grow with the fills."""

    position_id: int
    instrument: int
    side: Side  # of the entry
    entry_order_id: str
    entry_ns: int
    entry_seq: int
    delays: Delays
    entered: int = 0  # shares
    closed: int = 0  # shares
    cost_e4: int = 0  # Σ price × shares of the entry fills
    slippage_e4: int = 0  # Σ slippage of the entry fills
    charges: Decimal = NOTHING  # of the entry
    cost_shared_e4: int = 0  # the part of each that trades have taken
    slippage_shared_e4: int = 0
    charges_shared: Decimal = NOTHING

    @property
    def open(self) -> int:
        """Shares held, without sign."""
        return self.entered - self.closed

    @property
    def quantity(self) -> int:
        """Shares held; long > 0."""
        return self.open * self.sign

    @property
    def sign(self) -> int:
        return 1 if self.side is Side.BUY else -1

    @property
    def entry_e4(self) -> int:
        """The entry price; over several entry fills their mean, rounded down."""
        return self.cost_e4 // self.entered

    @property
    def blocked(self) -> Decimal:
        """What the open shares of a short position keep from being spent, in ₹.

        Their proceeds, and as much again as a margin: a short position ties up as much of the
        cash there was as a long one of the same turnover.
        """
        return NOTHING if self.sign > 0 else 2 * rupees(self.cost_e4 - self.cost_shared_e4)

    def add(self, fill: Fill, cost: Decimal) -> None:
        self.entered += fill.quantity
        self.cost_e4 += fill.turnover_e4
        self.slippage_e4 += fill.slippage_e4
        self.charges += cost

    def take_share(self, quantity: int) -> tuple[int, int, Decimal]:
        """Close ``quantity`` shares and return their cost, slippage (e4) and entry charges (₹).

        Each is shared by quantity; the shares that close the position take the remainder.
        """
        self.closed += quantity
        cost = self._part_e4(self.cost_e4) - self.cost_shared_e4
        slippage = self._part_e4(self.slippage_e4) - self.slippage_shared_e4
        entry_charges = self._charges_part() - self.charges_shared
        self.cost_shared_e4 += cost
        self.slippage_shared_e4 += slippage
        self.charges_shared += entry_charges
        return cost, slippage, entry_charges

    def _part_e4(self, total_e4: int) -> int:
        return total_e4 * self.closed // self.entered

    def _charges_part(self) -> Decimal:
        if not self.open:
            return self.charges
        return (self.charges * self.closed / self.entered).quantize(_SHARE_STEP)


class Book:
    """Cash and the open position of every instrument."""

    def __init__(
        self, instruments: Sequence[Instrument], cash: Decimal, tariffs: Sequence[Tariff]
    ) -> None:
        self.cash = cash
        self.trade_count = 0
        self._instruments = instruments
        self._tariffs = tariffs
        self._open: dict[int, Position] = {}  # by instrument
        self._part_filled: dict[str, tuple[int, int]] = {}  # order id -> shares, turnover_e4

    def position(self, instrument: int) -> Position | None:
        """Return the open position in ``instrument``."""
        return self._open.get(instrument)

    @property
    def held(self) -> list[int]:
        """Shares held by instrument; long > 0."""
        shares = [0] * len(self._instruments)
        for position in self.open_positions():
            shares[position.instrument] = position.quantity
        return shares

    def open_positions(self) -> list[Position]:
        return list(self._open.values())

    @property
    def is_flat(self) -> bool:
        """True when nothing is held."""
        return not self._open

    @property
    def free_cash(self) -> Decimal:
        """The cash in ₹ that entries may spend."""
        if not self._open:
            return self.cash
        return self.cash - sum((p.blocked for p in self.open_positions()), NOTHING)

    def is_exit(self, order: Order) -> bool:
        """Tell whether a fill of ``order`` closes shares that are held."""
        position = self._open.get(order.instrument)
        return position is not None and position.side is not order.side

    def enter(self, order: Order, fill: Fill, delays: Delays) -> Position:
        """Book a fill that opens a position or adds to it."""
        position = self._open.get(order.instrument)
        if position is None:
            position = Position(
                position_id=order.position_id,
                instrument=order.instrument,
                side=order.side,
                entry_order_id=order.order_id,
                entry_ns=fill.ts_event_ns,
                entry_seq=order.tick_seq,
                delays=delays,
            )
            self._open[order.instrument] = position
        cost = self._charge(order, fill)
        position.add(fill, cost)
        self._move_cash(order.side, fill, cost)
        return position

    def leave(self, order: Order, fill: Fill, low_e4: int, high_e4: int) -> Trade:
        """Book a fill that closes shares and return its trade.

        ``low_e4`` and ``high_e4`` are the extreme prices from entry to this fill. Raises
        TickpipeError when more is filled than is held.
        """
        position = self._open.get(order.instrument)
        if position is None or fill.quantity > position.open:
            raise _filled_too_much(order, fill, position.open if position else 0)
        cost_e4, slippage_e4, entry_charges = position.take_share(fill.quantity)
        exit_charges = self._charge(order, fill)
        self._move_cash(order.side, fill, exit_charges)
        if not position.open:
            del self._open[order.instrument]
        self.trade_count += 1
        instrument = self._instruments[order.instrument]
        worst_e4, best_e4 = (low_e4, high_e4) if position.sign > 0 else (high_e4, low_e4)
        return Trade(
            trade_id=self.trade_count,
            position_id=position.position_id,
            symbol=instrument.symbol,
            side=str(position.side),
            product=instrument.product_type,
            quantity=fill.quantity,
            entry_ns=position.entry_ns,
            exit_ns=fill.ts_event_ns,
            entry_price_e4=position.entry_e4,
            exit_price_e4=fill.price_e4,
            gross_pnl=rupees(position.sign * (fill.turnover_e4 - cost_e4)),
            entry_charges=entry_charges,
            exit_charges=exit_charges,
            slippage=rupees(slippage_e4 + fill.slippage_e4),
            mae=rupees(position.sign * (worst_e4 - position.entry_e4) * fill.quantity),
            mfe=rupees(position.sign * (best_e4 - position.entry_e4) * fill.quantity),
            exit_reason=order.reason,
            entry_seq=position.entry_seq,
            exit_seq=order.tick_seq,
            entry_order_id=position.entry_order_id,
            exit_order_id=order.order_id,
            tick_to_signal_ns=position.delays.tick_to_signal_ns,
            signal_to_order_ns=position.delays.signal_to_order_ns,
        )

    def _charge(self, order: Order, fill: Fill) -> Decimal:
        """Return what this fill adds to the charges of its order (a flat fee is per order)."""
        shares, turnover_e4 = self._part_filled.pop(order.order_id, (0, 0))
        rates = self._tariffs[order.instrument].on(day_of(fill.ts_event_ns))
        before = charges(rupees(turnover_e4), order.side, rates)
        shares += fill.quantity
        turnover_e4 += fill.turnover_e4
        if shares < order.quantity:
            self._part_filled[order.order_id] = shares, turnover_e4
        return charges(rupees(turnover_e4), order.side, rates) - before

    def _move_cash(self, side: Side, fill: Fill, cost: Decimal) -> None:
        turnover = rupees(fill.turnover_e4)
        self.cash += (turnover if side is Side.SELL else -turnover) - cost

    def __repr__(self) -> str:
        held = ", ".join(f"{p.quantity} of #{p.instrument}" for p in self.open_positions())
        return f"<Book cash={self.cash} trades={self.trade_count} held={held or 'nothing'}>"


def _filled_too_much(order: Order, fill: Fill, held: int) -> TickpipeError:
    return TickpipeError(
        explain(
            f"order {order.order_id} filled {fill.quantity} shares while {held} are held",
            rule="an exit closes at most what is held",
            cure="compare the ledger with the broker's order book before trading again",
        )
    )


def split(fill: Fill, shares: int) -> tuple[Fill, Fill]:
    """Return ``fill`` as two, of ``shares`` and of the rest; nothing of its money is lost."""
    turnover_e4 = fill.turnover_e4 * shares // fill.quantity
    slippage_e4 = fill.slippage_e4 * shares // fill.quantity
    first = fill._replace(quantity=shares, turnover_e4=turnover_e4, slippage_e4=slippage_e4)
    rest = fill._replace(
        quantity=fill.quantity - shares,
        turnover_e4=fill.turnover_e4 - turnover_e4,
        slippage_e4=fill.slippage_e4 - slippage_e4,
    )
    return first, rest
