"""Ids and counts of orders."""

from __future__ import annotations

from pipeline.brokers.contract import Order
from pipeline.risk.numbering import SECOND_NS, Numbering, Sent, is_exit_id
from tests.money import at, order

TEN = at("10:00:00")


def entry(position_id: int, ts_event_ns: int = TEN, instrument: int = 0) -> Order:
    return order(position_id=position_id, ts_event_ns=ts_event_ns, instrument=instrument)


def test_the_slices_of_an_entry_have_ids_of_their_own_and_count_as_one_entry() -> None:
    numbering = Numbering(1)
    ids = []
    for piece in range(3):
        ids.append(numbering.entry_id(1, TEN, piece))
        numbering.count(entry(1), is_exit=False)
    assert ids == ["251001N0001E0", "251001N0001E1", "251001N0001E2"]
    assert (numbering.entries_on(TEN), numbering.orders, numbering.next_position()) == (1, 3, 2)


def test_the_exits_of_two_positions_are_numbered_apart() -> None:
    numbering = Numbering(2)
    numbering.count(entry(1), is_exit=False)
    numbering.count(order(position_id=1), is_exit=True)
    numbering.count(entry(2, instrument=1), is_exit=False)
    assert numbering.exit_id(1, 0, TEN) == "251001N0001X2"
    assert numbering.exit_id(2, 1, TEN) == "251001N0002X1"


def test_an_id_says_whether_it_closes() -> None:
    assert not is_exit_id("251001N0001E0")
    assert is_exit_id("251001N0001X12")


def test_orders_are_counted_in_the_last_second_and_minute_and_in_the_day() -> None:
    numbering = Numbering(1)
    for seconds in (0, 30, 60, 60, 61):
        numbering.count(entry(1, TEN + seconds * SECOND_NS), is_exit=True)
    now_ns = TEN + 61 * SECOND_NS
    assert numbering.sent(now_ns) == Sent(second=3, minute=4, day=5)
    assert numbering.sent(now_ns + 1) == Sent(second=1, minute=4, day=5)
    assert numbering.sent(now_ns + 60 * SECOND_NS) == Sent(second=0, minute=1, day=5)
    assert numbering.sent(at("09:15:00", "2025-10-03")) == Sent(0, 0, 0)


def test_a_clock_that_goes_back_makes_no_room_for_orders() -> None:
    numbering = Numbering(2)
    numbering.count(entry(1, TEN), is_exit=False)
    numbering.count(entry(2, TEN - 5 * SECOND_NS), is_exit=False)
    assert numbering.sent(TEN) == Sent(second=2, minute=2, day=2)
