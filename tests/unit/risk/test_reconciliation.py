"""The broker's book against the ledger: what is explained, what halts, what never arrived."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.brokers.contract import BrokerBook, BrokerPosition, OrderState, OrderUpdate
from pipeline.records import Action
from pipeline.risk.history import Event, Outside
from pipeline.risk.ledger import MEMORY, Ledger
from pipeline.risk.limits import Code
from pipeline.risk.restoring import restore
from pipeline.risk.session import RiskSession
from tests.money import LOT, Trading, e4_of, guide, signal, tick

SECOND = 1_000_000_000
SHARES = 13 * LOT


def book(
    *orders: OrderUpdate, held: int = 0, asked_ns: int = SECOND, product: str = "INTRADAY"
) -> BrokerBook:
    symbol = guide().instruments[0].symbol
    position = BrokerPosition(symbol=symbol, instrument=0, product=product, quantity=held)
    return BrokerBook(asked_ns=asked_ns, orders=orders, positions=[position] if held else [])


def filled(order_id: str, shares: int = SHARES, price: float = 100) -> OrderUpdate:
    return OrderUpdate(
        order_id=order_id,
        state=OrderState.FILLED,
        broker_id="B1",
        filled=shares,
        turnover_e4=shares * e4_of(price),
    )


def trading(*, started: bool = True) -> Trading:
    """Return a desk whose broker says nothing by itself, after a first, empty look."""
    desk = Trading(guide(), silent=True)
    desk.desk.on_tick(tick(1, 100), 0)
    desk.desk.start(0)
    if started:
        hear(desk, book())
    return desk


def hear(desk: Trading, *heard: OrderUpdate | BrokerBook) -> None:
    desk.gateway.tell(*heard)
    desk.desk.hear()


def buy(desk: Trading, seq: int = 1) -> str:
    """Send an entry and return its id; nothing is heard of it."""
    desk.desk.on_signal(signal(seq), 0)
    return desk.gateway.orders[-1].order_id


def refused(desk: Trading, seq: int = 9) -> Code | None:
    before = len(desk.ledger.refusals())
    desk.desk.on_signal(signal(seq), 0)
    refusals = desk.ledger.refusals()
    return refusals[-1].code if len(refusals) > before else None


# Starting ------------------------------------------------------------------------------------


def test_there_are_no_entries_until_the_broker_has_answered() -> None:
    desk = trading(started=False)
    assert desk.gateway.asks == 1
    assert refused(desk) is Code.TRADING_HALTED
    hear(desk, book())
    assert desk.session.halted == ""
    assert buy(desk, 10) == "251001N0001E0"


def test_a_fill_that_was_missed_is_booked_from_the_book() -> None:
    desk = trading()
    order_id = buy(desk)
    hear(desk, book(filled(order_id), held=SHARES))
    assert desk.session.book.held == [SHARES]
    assert desk.session.halted == ""


def test_an_order_whose_sending_nobody_saw_is_found_by_its_tag_after_a_restart() -> None:
    died = trading()
    order_id = buy(died)
    desk = Trading(guide(), silent=True)
    restore(desk.session, died.ledger.history())
    desk.desk.start(0)
    assert desk.session.awaits_fills
    hear(desk, book(filled(order_id), held=SHARES))
    assert desk.session.book.held == [SHARES]
    assert desk.gateway.orders == [], "and it is not sent again"


def test_a_halt_is_known_after_a_restart() -> None:
    died = trading()
    died.session.halt("kill_switch")
    died.desk.look(SECOND)
    session = RiskSession(guide())
    restore(session, died.ledger.history())
    assert session.halted == "HALTED kill_switch"
    died.session.resume("looked at it")
    died.desk.look(SECOND)
    session = RiskSession(guide())
    restore(session, died.ledger.history())
    assert session.halted == ""


# Orders that never arrived ---------------------------------------------------------------------


def test_an_order_that_enough_books_over_enough_time_lack_never_arrived() -> None:
    desk = trading()
    order_id = buy(desk)
    for second in (1, 5, 9):
        hear(desk, book(asked_ns=second * SECOND))
        assert desk.session.awaits_fills, "not before recovery.lost_seconds_min"
    hear(desk, book(asked_ns=10 * SECOND))
    assert not desk.session.awaits_fills
    assert desk.ledger.changes()[-1].state is OrderState.NEVER_ARRIVED
    assert desk.ledger.events()[-1].text == (
        f"{order_id} is NEVER_ARRIVED: 4 books of the broker do not have it"
    )
    assert buy(desk, 2) == "251001N0002E0", "what wanted it decides anew, under another id"


def test_time_alone_is_not_enough_and_books_that_were_asked_for_before_do_not_count() -> None:
    desk = trading()
    buy(desk)
    for asked_ns in (0, 20 * SECOND, 21 * SECOND):
        hear(desk, book(asked_ns=asked_ns))
    assert desk.session.awaits_fills
    hear(desk, book(asked_ns=22 * SECOND))
    assert not desk.session.awaits_fills


def test_an_order_that_arrived_after_all_is_booked_and_told() -> None:
    desk = trading()
    order_id = buy(desk)
    for second in (11, 12, 13):
        hear(desk, book(asked_ns=second * SECOND))
    hear(desk, book(filled(order_id), held=SHARES))
    assert desk.session.book.held == [SHARES]
    assert "FILLED was heard of an order that was NEVER_ARRIVED" in desk.ledger.events()[-1].text


def test_an_order_without_an_answer_stays_in_flight_however_long_nobody_answers() -> None:
    desk = trading()
    order_id = buy(desk)
    hear(desk, OrderUpdate(order_id=order_id, state=OrderState.UNKNOWN, text="timed out"))
    for second in range(100):
        desk.desk.look(second * SECOND)
    assert desk.session.awaits_fills
    assert refused(desk) is Code.POSITION_OPEN
    assert len(desk.gateway.orders) == 1
    assert desk.gateway.asks > 90, "it asks every recovery.ask_seconds"


def test_with_everything_known_it_asks_now_and_then() -> None:
    desk = trading()
    asks = desk.gateway.asks
    for second in range(1, 181):
        desk.desk.look(second * SECOND)
    assert desk.gateway.asks - asks == 3


# Differences -----------------------------------------------------------------------------------


def open_position() -> tuple[Trading, OrderUpdate]:
    desk = trading()
    update = filled(buy(desk))
    hear(desk, update)
    return desk, update


def test_shares_that_differ_in_two_books_in_a_row_halt_entries_and_are_named() -> None:
    desk, update = open_position()
    hear(desk, book(update, held=LOT))
    assert desk.session.halted == "", "orders and positions are not answered at one instant"
    hear(desk, book(update, held=LOT))
    assert desk.session.halted == (
        "reconcile: the broker holds 75 NIFTY-OPTION (INTRADAY), the ledger 975"
    )
    desk.desk.on_tick(tick(2, 80), 0)
    exit = desk.gateway.orders[-1]
    assert (exit.reason, exit.quantity) == ("Stop Loss", LOT), "for what the account has"


def test_what_was_closed_by_hand_is_not_sold_once_more_by_a_rule_a_person_or_the_end() -> None:
    desk, update = open_position()
    for _ in range(2):
        hear(desk, book(update))
    desk.desk.accept_differences()
    hear(desk, book(update))
    desk.desk.on_tick(tick(2, 80), 0)
    desk.desk.on_signal(signal(2, Action.CLOSE), 0)
    desk.desk.flatten("kill_switch")
    assert len(desk.gateway.orders) == 1
    hear(desk, book(update, held=SHARES))
    desk.desk.on_tick(tick(3, 80), 0)
    assert desk.gateway.orders[-1].quantity == SHARES, "when a book has them again, exits go on"


def test_what_was_converted_to_another_product_is_closed_all_the_same() -> None:
    desk, update = open_position()
    for _ in range(3):
        hear(desk, book(update, held=SHARES, product="CARRYFORWARD"))
    assert "the broker holds 0 NIFTY-OPTION (INTRADAY), the ledger 975" in desk.session.halted
    desk.desk.on_tick(tick(2, 80), 0)
    assert desk.gateway.orders[-1].quantity == SHARES


def test_one_book_that_lacks_our_shares_keeps_no_exit_from_leaving() -> None:
    desk, update = open_position()
    hear(desk, book(update))
    desk.desk.on_tick(tick(2, 80), 0)
    assert desk.gateway.orders[-1].quantity == SHARES


def test_shares_that_are_outside_do_not_hide_that_ours_are_there() -> None:
    desk = trading(started=False)
    hear(desk, book(held=4 * LOT))
    update = filled(buy(desk))
    hear(desk, update)
    for _ in range(3):
        hear(desk, book(update, held=SHARES))  # somebody sold the four lots
    desk.desk.on_tick(tick(2, 80), 0)
    assert desk.gateway.orders[-1].quantity == SHARES


def test_a_fill_of_somebody_else_in_our_instrument_asks_for_the_book_soon() -> None:
    desk, _ = open_position()
    asks = desk.gateway.asks
    by_hand = filled("", LOT)._replace(broker_id="B9", instrument=0)
    hear(desk, by_hand)
    desk.desk.look(2 * SECOND)
    assert desk.gateway.asks == asks + 1


def test_a_halt_ends_when_a_book_agrees() -> None:
    desk, update = open_position()
    for held in (LOT, LOT, SHARES):
        hear(desk, book(update, held=held))
    assert desk.session.halted == ""
    assert [event.text.partition(":")[0] for event in desk.ledger.events()] == [
        "no entries",
        "over",
    ]


def test_a_person_may_accept_a_difference() -> None:
    desk, update = open_position()
    for _ in range(2):
        hear(desk, book(update, held=LOT))
    desk.desk.accept_differences()
    hear(desk, book(update, held=LOT))
    assert desk.session.halted == ""
    assert desk.ledger.outside()[-1].quantity == LOT - SHARES


def test_a_difference_does_not_count_while_an_order_is_under_way() -> None:
    desk, update = open_position()
    desk.desk.on_signal(signal(2, Action.CLOSE), 0)
    sold = OrderUpdate(order_id=desk.gateway.orders[-1].order_id, state=OrderState.ACCEPTED)
    for _ in range(3):
        hear(desk, book(update, sold, held=0))
    assert desk.session.halted == ""


def test_shares_that_were_there_at_the_first_look_are_expected_also_after_a_restart() -> None:
    desk = trading(started=False)
    for _ in range(3):
        hear(desk, book(held=4 * LOT))
    assert desk.session.halted == ""
    assert desk.ledger.outside() == [Outside("NIFTY-OPTION", "INTRADAY", 4 * LOT)]
    again = Trading(guide(), silent=True)
    again.ledger.put(desk.ledger.outside()[0])
    again.desk.start(0)
    for _ in range(3):
        hear(again, book(held=4 * LOT))
    assert again.session.halted == ""
    for _ in range(2):
        hear(again, book(held=0))
    assert "the broker holds 0 NIFTY-OPTION (INTRADAY), the ledger 0" in again.session.halted


def test_shares_of_another_product_are_not_compared() -> None:
    desk, update = open_position()
    for _ in range(3):
        both = book(update, held=SHARES)
        other = book(held=5 * LOT, product="DELIVERY").positions
        hear(desk, replace(both, positions=[*both.positions, *other]))
    assert desk.session.halted == ""


def test_an_accepted_order_that_the_book_lacks_halts() -> None:
    desk = trading()
    order_id = buy(desk)
    hear(desk, OrderUpdate(order_id=order_id, state=OrderState.ACCEPTED))
    hear(desk, book())
    assert desk.session.halted == (
        f"reconcile: order {order_id} was ACCEPTED, and the broker's book does not have it"
    )


def test_a_tag_of_ours_that_the_ledger_lacks_halts_and_is_not_used_again() -> None:
    desk = trading()
    hear(desk, book(filled("251001N0007E0")))
    assert "order 251001N0007E0 is not in the ledger" in desk.session.halted
    hear(desk, book())
    assert desk.session.halted == ""
    assert buy(desk) == "251001N0008E0"


def test_another_order_with_the_tag_of_ours_halts_and_fills_nothing_of_ours() -> None:
    desk = trading()
    order_id = buy(desk)
    hear(desk, filled(order_id))
    another = filled(order_id, shares=2 * SHARES)._replace(broker_id="B2")
    for _ in range(2):
        hear(desk, another, book(filled(order_id), another, held=SHARES))
        assert desk.session.book.held == [SHARES]
        assert "B2 has the tag of our B1, does another run.name trade" in desk.session.halted
    hear(desk, book(filled(order_id), held=SHARES))
    assert desk.session.halted == ""


def test_an_order_that_is_not_ours_is_told_once_and_never_touched() -> None:
    desk = trading()
    outside = OrderUpdate(order_id="", state=OrderState.ACCEPTED, broker_id="B77")
    for _ in range(3):
        hear(desk, book(outside))
    assert [event.text for event in desk.ledger.events() if event.kind == "outside"] == [
        "order B77 is not ours: ACCEPTED, 0 filled"
    ]
    assert desk.session.halted == ""
    assert desk.gateway.cancelled == []


# Writing ---------------------------------------------------------------------------------------


@pytest.fixture
def full() -> Trading:
    """Return a desk that holds a position and whose ledger has no more room."""
    desk, _ = open_position()
    fill_up(desk.ledger)
    return desk


def fill_up(ledger: Ledger) -> None:
    """Leave no room in the ledger, not even for a small row."""
    pages = ledger._database.execute("PRAGMA page_count").fetchone()[0]
    ledger._database.execute(f"PRAGMA max_page_count = {pages}")
    while not ledger.failed:
        ledger.put(Event("filler", "y" * 500, 0))
        ledger.try_commit()


def make_room(ledger: Ledger) -> None:
    ledger._database.execute("PRAGMA max_page_count = 100000")


def test_with_the_disk_full_an_exit_leaves_and_is_written_when_there_is_room(full: Trading) -> None:
    sent = len(full.gateway.orders)
    full.desk.on_tick(tick(2, 80), 0)
    assert len(full.gateway.orders) == sent + 1
    exit = full.gateway.orders[-1]
    hear(full, filled(exit.order_id, price=80))
    assert full.session.is_flat
    assert "ledger: database or disk is full" in full.session.halted
    assert refused(full) is not Code.POSITION_OPEN
    assert len(full.gateway.orders) == sent + 1, "an entry does not leave"
    make_room(full.ledger)
    full.desk.look(SECOND)
    assert full.session.halted == ""
    assert [order.order_id for order, fills in full.ledger.orders() if fills][-1] == exit.order_id
    assert len(full.ledger.trades()) == 1


def test_with_the_disk_full_an_entry_is_given_up_before_it_leaves() -> None:
    desk = trading()
    fill_up(desk.ledger)
    desk.desk.on_signal(signal(1), 0)
    assert desk.gateway.orders == []
    assert not desk.session.awaits_fills
    desk.desk.on_signal(signal(2), 0)
    assert desk.gateway.orders == []
    make_room(desk.ledger)
    desk.desk.look(SECOND)
    assert desk.ledger.orders() == []
    assert buy(desk, 10) == "251001N0002E0"


def test_a_ledger_in_memory_is_a_ledger() -> None:
    with Ledger.open(MEMORY) as ledger:
        assert ledger.history() == []
