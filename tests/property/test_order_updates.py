"""What became known of orders, in any order and repeated, books what brute force says."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from pipeline.brokers.contract import OrderState, OrderUpdate
from pipeline.records import Action
from tests.money import LOT, Trading, guide, signal, tick

FREE = [f"risk.{name}_percent=0" for name in ("commission", "stt", "exchange_charges", "gst")]
LOTS = 8
SHARES = LOTS * LOT
START = Decimal(LOTS * LOT * 100)

parts = st.lists(st.tuples(st.integers(1, SHARES), st.integers(1, 3_000_000)), max_size=6)


def totals_of(order_id: str, fills: list[tuple[int, int]]) -> list[OrderUpdate]:
    """Return what a broker would say after each of ``fills`` (shares, price_e4), up to SHARES."""
    updates = [OrderUpdate(order_id=order_id, state=OrderState.ACCEPTED)]
    filled = turnover_e4 = 0
    for shares, price_e4 in fills:
        shares = min(shares, SHARES - filled)
        if not shares:
            break
        filled, turnover_e4 = filled + shares, turnover_e4 + shares * price_e4
        state = OrderState.FILLED if filled == SHARES else OrderState.PARTIALLY_FILLED
        updates.append(
            OrderUpdate(order_id=order_id, state=state, filled=filled, turnover_e4=turnover_e4)
        )
    return updates


def delivered(data: st.DataObject, updates: list[OrderUpdate]) -> list[OrderUpdate]:
    """Return the updates in any order, some of them repeated and some of them missing."""
    return data.draw(st.lists(st.sampled_from(updates), min_size=1, max_size=12))


def hear(trading: Trading, updates: list[OrderUpdate]) -> None:
    for update in updates:
        trading.gateway.tell(update)
        trading.desk.hear()


@given(st.data(), parts, parts)
def test_updates_in_any_order_give_the_position_and_cash_of_the_newest_totals(
    data: st.DataObject, entry_fills: list[tuple[int, int]], exit_fills: list[tuple[int, int]]
) -> None:
    trading = Trading(guide(f"capital.initial_capital={START}", *FREE), silent=True)
    trading.desk.on_tick(tick(1, 100), 0)
    trading.desk.on_signal(signal(1), 0)
    (entry,) = trading.gateway.orders
    heard = delivered(data, totals_of(entry.order_id, entry_fills))
    bought = max(heard, key=lambda update: update.filled)
    hear(trading, heard)
    assert trading.session.statistics().position == bought.filled
    assert trading.session.book.cash == START - Decimal(bought.turnover_e4) / 10_000
    if not bought.filled:
        return
    trading.desk.on_signal(signal(2, Action.CLOSE), 0)
    exit = trading.gateway.orders[-1]
    assert exit.quantity == bought.filled
    sellable = [u for u in totals_of(exit.order_id, exit_fills) if u.filled <= bought.filled]
    heard = delivered(data, sellable)
    sold = max(heard, key=lambda update: update.filled)
    hear(trading, heard)
    assert trading.session.statistics().position == bought.filled - sold.filled
    gained = Fraction(sold.turnover_e4 - bought.turnover_e4, 10_000)
    assert Fraction(trading.session.book.cash) == Fraction(START) + gained
    fills = [fill for _, fills in trading.ledger.orders() for fill in fills]
    assert sum(fill.quantity for fill in fills) == bought.filled + sold.filled
