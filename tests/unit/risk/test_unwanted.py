"""What of an order should not be filled any more is cancelled, and closed where it is filled."""

from __future__ import annotations

import pytest

from pipeline.brokers.contract import OrderState, OrderUpdate, Side
from pipeline.records import Action
from pipeline.risk.desk import Desk
from pipeline.risk.restoring import restore
from pipeline.risk.session import RiskSession
from pipeline.risk.unwanted import unwanted
from pipeline.settings import Settings
from tests.money import HOURS, LOT, Trading, e4_of, guide, signal, tick

SECOND = 1_000_000_000
ENTRY, EXIT, AGAIN = "251001N0001E0", "251001N0001X1", "251001N0001X2"
SHARES = 13 * LOT
LIMIT = ("risk.order_type=limit", "risk.collar_points=1")


def entered(settings: Settings | None = None) -> Trading:
    """Return a desk that sent an entry at ten, and a broker that says what a test says."""
    trading = Trading(settings or guide(), silent=True)
    trading.buy(1, 100)
    return trading


def hear(
    trading: Trading, order_id: str, state: OrderState, filled: int = 0, price: float = 100
) -> None:
    turnover_e4 = filled * e4_of(price)
    update = OrderUpdate(
        order_id=order_id,
        state=state,
        broker_id=f"B{order_id}",
        filled=filled,
        turnover_e4=turnover_e4,
    )
    trading.gateway.tell(update)
    trading.desk.hear()


def close(trading: Trading, seq: int = 2) -> None:
    trading.desk.on_signal(signal(seq, Action.CLOSE), 0)


def exits(trading: Trading) -> list[tuple[str, Side, int]]:
    return [(o.order_id, o.side, o.quantity) for o in trading.gateway.orders if "X" in o.order_id]


# A CLOSE ---------------------------------------------------------------------------------------


def test_a_close_cancels_an_entry_of_which_nothing_is_filled_yet() -> None:
    trading = entered()
    close(trading)
    assert trading.ledger.refusals() == []
    assert trading.gateway.cancelled == [ENTRY]


def test_what_an_entry_gets_after_a_close_is_closed_with_the_next_tick() -> None:
    trading = entered()
    close(trading)
    hear(trading, ENTRY, OrderState.FILLED, SHARES)
    trading.tick(3, 101)
    assert exits(trading) == [(EXIT, Side.SELL, SHARES)]
    hear(trading, EXIT, OrderState.FILLED, SHARES, 101)
    assert trading.exits == [("Strategy Signal: ", SHARES)]


def test_what_an_entry_gets_after_a_close_is_closed_without_a_tick() -> None:
    trading = entered()
    close(trading)
    hear(trading, ENTRY, OrderState.FILLED, SHARES)
    trading.desk.act_without_ticks(SECOND)
    assert exits(trading) == [(EXIT, Side.SELL, SHARES)]


def test_the_rest_of_an_entry_that_fills_after_its_part_was_closed_is_closed_too() -> None:
    trading = entered()
    hear(trading, ENTRY, OrderState.PARTIALLY_FILLED, LOT)
    close(trading)
    assert trading.gateway.cancelled == [ENTRY]
    hear(trading, EXIT, OrderState.FILLED, LOT)
    assert trading.session.is_flat
    hear(trading, ENTRY, OrderState.FILLED, SHARES)
    trading.tick(3, 101)
    assert exits(trading) == [(EXIT, Side.SELL, LOT), (AGAIN, Side.SELL, SHARES - LOT)]


def test_a_close_says_nothing_of_the_entry_after_it() -> None:
    trading = entered()
    close(trading)
    hear(trading, ENTRY, OrderState.CANCELLED)
    trading.buy(3, 100)
    hear(trading, "251001N0002E0", OrderState.FILLED, SHARES)
    trading.tick(4, 101)
    assert exits(trading) == []


def test_another_risk_does_not_close_a_position_for_the_close_of_one_before_it() -> None:
    trading = entered()
    hear(trading, ENTRY, OrderState.FILLED, SHARES)
    close(trading)
    hear(trading, EXIT, OrderState.FILLED, SHARES)
    trading.buy(3, 100)
    hear(trading, "251001N0002E0", OrderState.FILLED, SHARES)
    session = RiskSession(guide())
    restore(session, trading.ledger.history())
    assert session.on_tick(tick(4, 101)) == ()


def test_another_risk_knows_that_the_rest_of_an_entry_is_to_be_closed() -> None:
    trading = entered()
    hear(trading, ENTRY, OrderState.PARTIALLY_FILLED, LOT)
    close(trading)
    session = RiskSession(guide())
    restore(session, trading.ledger.history())
    assert [flight.order.order_id for flight in unwanted(session)] == [ENTRY]
    assert session.watches.wanted == ["Strategy Signal: "]


# Whoever closes otherwise ------------------------------------------------------------------------


def test_an_entry_that_was_unknown_at_a_flatten_is_cancelled_when_it_turns_up() -> None:
    trading = entered()
    hear(trading, ENTRY, OrderState.UNKNOWN)
    trading.desk.flatten("kill_switch")
    assert trading.gateway.cancelled == [ENTRY]
    hear(trading, ENTRY, OrderState.ACCEPTED)
    trading.desk.look(SECOND)
    assert trading.gateway.cancelled == [ENTRY, ENTRY]
    hear(trading, ENTRY, OrderState.FILLED, SHARES)
    trading.desk.act_without_ticks(2 * SECOND)
    assert [order.reason for order in trading.gateway.orders[1:]] == ["kill_switch"]


@pytest.mark.parametrize("price", [84, 106], ids=["stop", "target"])
def test_an_exit_by_rule_cancels_the_rest_of_the_entry(price: float) -> None:
    trading = entered()
    hear(trading, ENTRY, OrderState.PARTIALLY_FILLED, 5 * LOT)
    trading.tick(2, price)
    assert len(exits(trading)) == 1
    assert trading.gateway.cancelled == [ENTRY]


def test_a_loss_limit_cancels_the_entries_of_the_other_instruments() -> None:
    trading = entered(guide("risk.daily_loss_max=100"))
    hear(trading, ENTRY, OrderState.PARTIALLY_FILLED, LOT)
    trading.tick(2, 90)
    assert trading.session.halted == "HALTED daily_loss"
    assert trading.gateway.cancelled == [ENTRY]


def test_an_entry_is_cancelled_at_the_end_of_its_session() -> None:
    trading = Trading(guide(*HOURS), silent=True)
    trading.buy(1, 100, "15:09:00")
    hear(trading, ENTRY, OrderState.ACCEPTED)
    trading.tick(2, 100, "15:09:59")
    trading.desk.look(SECOND)
    assert trading.gateway.cancelled == []
    trading.tick(3, 100, "15:10:00")
    trading.desk.look(2 * SECOND)
    assert trading.gateway.cancelled == [ENTRY]


def test_a_limit_entry_whose_price_ran_away_is_cancelled_and_the_strategy_may_ask_again() -> None:
    trading = entered(guide(*LIMIT))
    hear(trading, ENTRY, OrderState.ACCEPTED)
    trading.tick(2, 104, "10:00:04")
    assert trading.gateway.cancelled == []
    trading.tick(3, 105, "10:00:05")
    assert trading.gateway.cancelled == [ENTRY]
    hear(trading, ENTRY, OrderState.CANCELLED)
    trading.buy(4, 105, "10:00:06")
    assert trading.gateway.orders[-1].order_id == "251001N0002E0"


def test_a_cancel_of_which_nothing_came_is_repeated_once_a_second_after_the_answer() -> None:
    trading, now = entered(), [0]
    desk = Desk(trading.session, trading.ledger, trading.gateway, clock=lambda: now[0])
    for now[0] in range(0, 3 * SECOND, SECOND // 10):
        desk.flatten("stale_feed", now[0])
    assert trading.gateway.cancelled == [ENTRY], "the order itself is not answered yet"
    hear(trading, ENTRY, OrderState.ACCEPTED)
    for now[0] in range(3 * SECOND, 6 * SECOND, SECOND // 10):
        desk.flatten("stale_feed", now[0])
    assert trading.gateway.cancelled == [ENTRY] * 4


# Orders that come to life again ---------------------------------------------------------------


def lost_exit() -> Trading:
    """Return a desk that sends an exit once more, because the first one never arrived."""
    trading = entered()
    hear(trading, ENTRY, OrderState.FILLED, SHARES)
    trading.tick(2, 84)
    hear(trading, EXIT, OrderState.NEVER_ARRIVED)
    trading.tick(3, 84, ts_recv_ns=SECOND * 10)
    assert exits(trading) == [(EXIT, Side.SELL, SHARES), (AGAIN, Side.SELL, SHARES)]
    return trading


def test_an_exit_that_arrives_after_all_beside_its_successor_is_cancelled_and_none_is_added() -> (
    None
):
    trading = lost_exit()
    hear(trading, EXIT, OrderState.ACCEPTED)
    trading.tick(4, 83, ts_recv_ns=SECOND * 20)
    trading.desk.flatten("kill_switch")
    trading.desk.look(SECOND)
    assert len(exits(trading)) == 2
    assert trading.gateway.cancelled == [EXIT]


def test_what_two_exits_sold_beyond_what_was_held_is_bought_back_at_once() -> None:
    trading = lost_exit()
    hear(trading, AGAIN, OrderState.FILLED, SHARES, 84)
    hear(trading, EXIT, OrderState.FILLED, SHARES, 84)
    assert trading.session.book.held == [-SHARES]
    trading.desk.act_without_ticks(SECOND * 30)
    assert exits(trading)[2:] == [("251001N0001X3", Side.BUY, SHARES)]
    hear(trading, "251001N0001X3", OrderState.FILLED, SHARES, 84)
    assert trading.exits[-1] == ("Risk Management", SHARES)
