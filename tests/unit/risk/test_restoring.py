"""A session that takes over: what its exits remember, and which ticks it judges again."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.brokers.contract import Order, OrderState, OrderUpdate
from pipeline.errors import UserError
from pipeline.risk.history import START, Event, Mark, Record
from pipeline.risk.restoring import Restored, catch_up, restore
from pipeline.risk.session import RiskSession
from tests.money import (
    LOT,
    Trading,
    e4_of,
    guide,
    instrument_of,
    signal,
    tick,
    tick_array,
    two_instruments,
)


def take_over(
    died: Trading, ticks: NDArray[np.void], handled: int = 0
) -> tuple[RiskSession, NDArray[np.void]]:
    """Return a session that took over from ``died`` on ``ticks``, and those left to handle."""
    session = RiskSession(guide())
    restored = restore(session, died.ledger.history())
    restored.handled = max(restored.handled, handled)
    return session, catch_up(session, ticks, restored)


def test_extremes_since_the_last_mark_come_from_the_ring() -> None:
    died = Trading(guide())
    died.buy(1, 100)
    ticks = tick_array(tick(1, 100), tick(2, 99), tick(3, 106), tick(4, 104))
    session, rest = take_over(died, ticks, handled=3)
    watch = session.watch(0)
    assert watch is not None
    assert (watch.low_e4, watch.high_e4, watch.armed) == (e4_of(99), e4_of(106), True)
    assert rest["seq"].tolist() == [4]
    (exit,) = session.on_tick(tick(5, "100.95"))
    assert exit.reason == "Trailing Stop"


def test_a_mark_that_was_written_later_has_the_extremes_by_itself() -> None:
    died = Trading(guide())
    died.buy(1, 100)
    died.tick(2, 106)
    died.desk.look(2_000_000_000)
    session, _ = take_over(died, tick_array()[:0], handled=2)
    watch = session.watch(0)
    assert watch is not None
    assert (watch.high_e4, watch.armed) == (e4_of(106), True)


def test_prices_from_before_the_entry_are_no_extremes() -> None:
    died = Trading(guide())
    died.tick(1, 140)
    died.tick(2, 60)
    died.buy(3, 100)
    session, _ = take_over(died, tick_array(tick(1, 140), tick(2, 60), tick(3, 100)), handled=3)
    watch = session.watch(0)
    assert watch is not None
    assert (watch.low_e4, watch.high_e4) == (e4_of(100), e4_of(100))


def test_a_target_is_reached_once_though_its_exit_was_not_filled_yet() -> None:
    died = Trading(guide())
    died.buy(1, 100)
    died.gateway.fall_silent()
    died.tick(2, 105)
    session, _ = take_over(died, tick_array(tick(2, 105)), handled=2)
    assert session.on_tick(tick(3, 106)) == ()
    (exit,) = session.on_tick(tick(4, 112))
    assert (exit.reason, exit.order_id) == ("Take Profit 2", "251001N0001X2")


def test_the_tick_of_a_signal_s_order_is_judged_again_and_that_of_an_exit_is_not() -> None:
    died = Trading(guide())
    died.tick(1, 100)
    died.desk.on_signal(signal(1, tick_seq=1, ts_signal_ns=5), 0)
    ticks = tick_array(tick(1, 100), tick(2, 85))
    assert take_over(died, ticks)[1]["seq"].tolist() == [1, 2]
    died.tick(2, 85)
    assert died.gateway.orders[-1].reason == "Stop Loss"
    assert take_over(died, ticks)[1]["seq"].tolist() == []


def test_seqs_of_a_run_before_say_nothing_of_this_one() -> None:
    died = Trading(guide())
    died.buy(7, 100)
    history: list[Record] = [*died.ledger.history(), Event(START, "", 0)]
    assert restore(RiskSession(guide()), history) == Restored()
    history.append(Mark(1, 0, LOT, e4_of(100), e4_of(100), e4_of(100), 0, 3, e4_of(100), ""))
    assert restore(RiskSession(guide()), history).oldest == 3


def test_orders_that_may_be_filled_yet_count_as_sent_when_it_took_over() -> None:
    died = Trading(guide(), silent=True)
    died.buy(1, 100)
    session = RiskSession(guide())
    restore(session, died.ledger.history(), now_ns=77)
    (flight,) = session.flights.live
    assert (flight.sent_ns, flight.order) == (77, died.gateway.orders[0])


def test_signals_that_the_dead_one_had_taken_count_as_answered() -> None:
    session = RiskSession(guide())
    session.skip_signals(9)
    assert int(session.positions_row()["as_of_signal"][0]) == 9


def test_ids_go_on_where_they_were() -> None:
    died = Trading(guide())
    died.buy(1, 100)
    died.tick(2, 85)
    session, _ = take_over(died, tick_array()[:0])
    session.on_tick(tick(3, 100))
    outcome = session.on_signal(signal(1, tick_seq=3), 0)
    assert isinstance(outcome, list)
    assert isinstance(outcome[0], Order)
    assert outcome[0].order_id == "251001N0002E0"


def test_what_is_held_in_other_instruments_than_those_of_the_settings_is_refused() -> None:
    settings = two_instruments()
    died = Trading(settings)
    died.buy(1, 51, instrument=1)
    turned = settings.model_copy(update={"instruments": settings.instruments[::-1]})
    for changed, found in ((turned, "NIFTY-OPTION"), (guide(), "none")):
        what = f"instrument 1 of order 251001N0001E0 was OTHER-OPTION, and is {found}"
        with pytest.raises(UserError, match=what):
            restore(RiskSession(changed), died.ledger.history())
    restore(RiskSession(settings), died.ledger.history())


def test_an_entry_that_is_on_its_way_in_another_instrument_is_refused() -> None:
    died = Trading(guide(), silent=True)
    died.buy(1, 100)
    with pytest.raises(UserError, match="was NIFTY-OPTION, and is NEXT-WEEK"):
        restore(RiskSession(instrument_of(guide(), symbol="NEXT-WEEK")), died.ledger.history())


def test_a_run_that_is_flat_may_go_on_with_another_instrument() -> None:
    died = Trading(guide())
    died.buy(1, 100)
    died.tick(2, 84)
    session = RiskSession(instrument_of(guide(), symbol="NEXT-WEEK"))
    restore(session, died.ledger.history())
    assert session.book.cash == died.session.book.cash


def test_the_order_of_a_target_that_the_settings_have_no_more_is_restored() -> None:
    died = Trading(guide())
    died.buy(1, 100)
    died.gateway.fall_silent()
    died.tick(2, 130)
    for number in (1, 2, 3, 4):
        order_id = f"251001N0001X{number}"
        died.gateway.tell(OrderUpdate(order_id=order_id, state=OrderState.REJECTED))
    died.desk.hear()
    fewer = RiskSession(guide("risk.tp_points=[5.0]", "risk.tp_percents=[0.4]"))
    restore(fewer, died.ledger.history())
    watch = fewer.watch(0)
    assert watch is not None
    assert list(watch.unsold) == ["251001N0001X1"]
