"""The order gateways at the simulator: real HTTP, real WebSockets, and a broker that misbehaves."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator
from random import Random

import pytest
from pydantic import SecretStr

from pipeline.brokers.contract import Order, OrderState, Side
from pipeline.errors import TickpipeError
from pipeline.settings import SIMULATOR_SECRETS
from pipeline.simulator.order_faults import KINDS, random_faults
from pipeline.testing import make_instrument, make_ticks
from tests.system.ordering import Desk, make_order, report
from tests.system.simulating import Simulate, Simulators

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"),
]

INSTRUMENTS = [
    make_instrument(symbol="A", exchange="NFO", token=str(58963 << 8 | 2)),
    make_instrument(symbol="B", exchange="NSE", token="256265", product_type="DELIVERY"),
]
PRICE_E4 = 1_000_000
TURNOVER_E4 = 75 * PRICE_E4

Open = Callable[..., Desk]


@pytest.fixture
def simulate(simulators: Simulators) -> Simulate:
    return simulators(INSTRUMENTS)


@pytest.fixture(params=["kite", "smartapi"])
def broker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opened(simulate: Simulate, broker: str) -> Iterator[Open]:
    """Start a simulator with faults by the number of the order, and open a desk at it."""
    desks: list[Desk] = []

    def open_desk(faults: object = None, **changes: object) -> Desk:
        ticks = make_ticks([100.0, 100.0])  # 100 ₹, for ever: nobody listens, nothing is played
        ticks["instrument"] = [0, 1]
        simulator = simulate(ticks, broker=broker, order_faults=faults)
        desks.append(Desk(broker, INSTRUMENTS, simulator.port, **changes))  # type: ignore[arg-type]
        return desks[-1]

    yield open_desk
    for desk in desks:
        desk.gateway.close()


def tags(desk: Desk) -> dict[str, int]:
    found: dict[str, int] = report(desk.port)["tags"]
    return found


def test_a_market_order_is_accepted_and_filled_where_the_price_is(opened: Open) -> None:
    desk, order = opened(), make_order()
    desk.gateway.send(order)
    filled = desk.until_state(order, OrderState.FILLED)
    assert (filled.filled, filled.turnover_e4) == (75, TURNOVER_E4)
    assert filled.instrument == 0
    accepted = desk.until_state(order, OrderState.ACCEPTED)
    assert accepted.broker_id == filled.broker_id
    assert tags(desk) == {order.order_id: 1}
    assert desk.wakes > 0


def test_the_book_has_orders_by_tag_and_positions_by_symbol_and_product(opened: Open) -> None:
    desk = opened()
    orders = [
        make_order(1),
        make_order(2, instrument=1, symbol="B", side=Side.SELL, quantity=10),
    ]
    for order in orders:
        desk.gateway.send(order)
    for order in orders:
        desk.until_state(order, OrderState.FILLED)
    book = desk.ask()
    assert {update.order_id for update in book.orders} == {order.order_id for order in orders}
    held = {(p.symbol, p.instrument, p.product, p.quantity) for p in book.positions}
    assert held == {("A", 0, "INTRADAY", 75), ("B", 1, "DELIVERY", -10)}


def test_an_order_with_a_tag_that_is_not_ours_is_external(opened: Open) -> None:
    desk = opened()
    desk.gateway.send(make_order(order_id="byhand"))
    desk.until(lambda: any(book.orders for book in [desk.ask()]))
    assert [update.order_id for update in desk.books[-1].orders] == [""]


def test_a_limit_order_waits_for_its_price_and_is_cancelled(opened: Open) -> None:
    desk, order = opened(), make_order(limit_e4=PRICE_E4 - 500)
    desk.gateway.send(order)
    accepted = desk.until_state(order, OrderState.ACCEPTED)
    desk.gateway.cancel(order.order_id, accepted.broker_id)
    cancelled = desk.until_state(order, OrderState.CANCELLED)
    assert cancelled.filled == 0


def test_a_limit_order_fills_at_a_price_that_is_good_enough(opened: Open) -> None:
    desk, order = opened(), make_order(limit_e4=PRICE_E4 + 500)
    desk.gateway.send(order)
    assert desk.until_state(order, OrderState.FILLED).turnover_e4 == TURNOVER_E4


def test_a_cancel_without_the_brokers_id_finds_the_order(opened: Open) -> None:
    desk, order = opened(), make_order(limit_e4=PRICE_E4 - 500)
    desk.gateway.send(order)
    desk.gateway.cancel(order.order_id, "")
    desk.until_state(order, OrderState.CANCELLED)


@pytest.mark.parametrize("kind", ["timeout", "error", "restart", "slow"])
def test_an_order_that_was_taken_is_found_whatever_was_answered(opened: Open, kind: str) -> None:
    desk, order = opened({1: kind}), make_order()
    desk.gateway.send(order)
    desk.until_state(order, OrderState.FILLED)
    if kind not in ("slow", "restart"):
        desk.until_state(order, OrderState.UNKNOWN)
    assert OrderState.REJECTED not in desk.states(order)
    assert tags(desk) == {order.order_id: 1}


def test_an_order_that_nobody_has_seen_is_not_polled_for(opened: Open) -> None:
    desk, lost, seen = opened({1: "lost"}), make_order(1), make_order(2, limit_e4=PRICE_E4 - 500)
    desk.gateway.send(lost)
    desk.until_state(lost, OrderState.UNKNOWN)
    assert "open=0" in repr(desk.gateway)
    desk.gateway.restore(lost, OrderState.NEVER_ARRIVED, 0, 0)
    desk.gateway.restore(lost, OrderState.UNKNOWN, 0, 0)
    assert "open=0" in repr(desk.gateway)
    desk.gateway.send(seen)
    desk.until_state(seen, OrderState.ACCEPTED)
    assert "open=1" in repr(desk.gateway)


def test_a_thread_that_fails_ends_who_takes_from_the_gateway(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = opened()
    forms = type(desk.gateway._forms)
    monkeypatch.setattr(forms, "positions", lambda self: 1 // 0)
    desk.gateway.ask()
    with pytest.raises(TickpipeError, match="broke down: ZeroDivisionError"):
        desk.until(lambda: False, "the failure")


@pytest.mark.parametrize("kind", ["lost", "error_lost", "too_many"])
def test_what_proves_nothing_is_unknown_and_never_sent_again(opened: Open, kind: str) -> None:
    desk, order = opened({1: kind}), make_order()
    desk.gateway.send(order)
    desk.until_state(order, OrderState.UNKNOWN)
    for _ in range(3):
        book = desk.ask()
        assert not book.orders
    assert desk.states(order) == {OrderState.UNKNOWN}
    assert tags(desk) == {}


@pytest.mark.parametrize("kind", ["refuse", "reject"])
def test_a_proven_refusal_is_rejected_with_the_brokers_words(opened: Open, kind: str) -> None:
    desk, order = opened({1: kind}), make_order()
    desk.gateway.send(order)
    told = desk.until_state(order, OrderState.REJECTED)
    assert any(words in told.text for words in ("margin", "cautionary"))


def test_an_order_that_fills_in_parts_ends_with_the_total(opened: Open) -> None:
    desk, order = opened({1: "parts"}), make_order()
    desk.gateway.send(order)
    filled = desk.until_state(order, OrderState.FILLED)
    assert (filled.filled, filled.turnover_e4) == (75, TURNOVER_E4)


@pytest.mark.parametrize("kind", ["silent", "repeat", "reorder"])
def test_updates_may_be_missing_repeated_or_out_of_order(opened: Open, kind: str) -> None:
    desk, order = opened({1: kind}), make_order()
    desk.gateway.send(order)
    assert desk.until_state(order, OrderState.FILLED).filled == 75


def test_updates_come_without_polling(opened: Open) -> None:
    desk, order = opened(poll_seconds=3_600.0), make_order()
    desk.until(lambda: bool(desk.books), "the book after the connect")
    desk.gateway.send(order)
    desk.until_state(order, OrderState.FILLED)


def test_a_wrong_login_is_a_proven_refusal_and_no_secret_is_told(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = SIMULATOR_SECRETS.model_copy(
        update={"jwt": SecretStr("topsecret"), "access_token": SecretStr("topsecret")}
    )
    desk, order = opened(secrets=wrong), make_order()
    desk.gateway.send(order)
    told = desk.until_state(order, OrderState.REJECTED)
    assert "oken" in told.text
    shown = caplog.text + repr(desk.gateway) + repr(desk.updates)
    assert "topsecret" not in shown


def test_nobody_listening_proves_that_the_order_was_not_taken(broker: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else's
        desk = Desk(broker, INSTRUMENTS, unused.getsockname()[1])
        order = make_order()
        desk.gateway.send(order)
        told = desk.until_state(order, OrderState.REJECTED)
        desk.gateway.close()
    assert told.text.startswith("not sent: ")


def test_an_answer_that_does_not_come_holds_up_no_other_order(opened: Open) -> None:
    desk = opened({1: "timeout"}, answer_timeout_seconds=60.0, poll_seconds=3_600.0)
    orders = [make_order(number) for number in (1, 2)]
    for order in orders:
        desk.gateway.send(order)
    desk.until_state(orders[1], OrderState.FILLED)


def test_entries_wait_their_turn_and_exits_go_before_them(opened: Open) -> None:
    desk = opened(orders_per_second_max=3, reserved_for_exits=1)
    entries = [make_order(number) for number in range(1, 6)]
    leave = make_order(9, order_id="260105N0009X1", side=Side.SELL)
    for order in (*entries, leave):
        desk.gateway.send(order)
    for order in (*entries, leave):
        desk.until_state(order, OrderState.FILLED)
    ids = {desk.until_state(o, OrderState.FILLED).broker_id: o for o in (*entries, leave)}
    placed = [ids[number] for number in sorted(ids)]
    assert placed.index(leave) < 4
    assert tags(desk) == {order.order_id: 1 for order in (*entries, leave)}
    assert desk.gateway.waited_ns_max > 1_000_000_000  # five entries at two a second


def test_a_cancel_of_what_has_not_left_takes_it_back(opened: Open) -> None:
    desk = opened(orders_per_second_max=2, reserved_for_exits=1)
    entries = [make_order(number) for number in (1, 2)]
    for order in entries:
        desk.gateway.send(order)
    desk.gateway.cancel(entries[1].order_id, "")
    desk.until_state(entries[1], OrderState.CANCELLED)
    desk.until_state(entries[0], OrderState.FILLED)
    assert tags(desk) == {entries[0].order_id: 1}


def test_cancels_of_orders_without_an_answer_hold_up_no_exit(opened: Open) -> None:
    desk = opened(
        {1: "timeout", 2: "timeout"},
        answer_timeout_seconds=60.0,
        poll_seconds=3_600.0,
    )
    entries = [make_order(number, limit_e4=PRICE_E4 - 500) for number in (1, 2)]
    leave = make_order(9, order_id="260105N0009X1", side=Side.SELL)
    for order in entries:
        desk.gateway.send(order)
    desk.until(lambda: len(tags(desk)) == 2, "the orders to arrive")
    for order in entries * 2:
        desk.gateway.cancel(order.order_id, "")
    desk.gateway.send(leave)
    desk.until_state(leave, OrderState.FILLED)


def test_a_book_counts_as_asked_for_before_the_orders_that_it_may_lack(opened: Open) -> None:
    desk = opened(
        {1: "timeout"}, answer_timeout_seconds=0.5, orders_per_second_max=2, reserved_for_exits=1
    )
    desk.until(lambda: bool(desk.books), "the book of the connect")
    first, late = make_order(1), make_order(2)  # one entry a second
    desk.gateway.send(first)
    desk.gateway.ask()
    desk.gateway.send(late)
    sent_ns, seen = time.monotonic_ns(), len(desk.books)
    desk.until_state(late, OrderState.FILLED)
    for book in desk.books[seen:]:
        has_it = late.order_id in {update.order_id for update in book.orders}
        assert has_it or book.asked_ns < sent_ns


def test_closing_ends_in_bounded_time_with_an_answer_under_way(opened: Open) -> None:
    desk = opened({1: "timeout"}, answer_timeout_seconds=600.0)
    desk.gateway.send(make_order())
    desk.until(lambda: bool(tags(desk)), "the order to arrive")
    started = time.monotonic()
    desk.gateway.close()
    assert time.monotonic() - started < 30.0  # of 600


def test_whatever_goes_wrong_the_totals_are_the_brokers_and_no_tag_comes_twice(
    opened: Open,
) -> None:
    """Twenty orders, two of three of them with some fault."""
    count = 20
    faults = random_faults(7, count, share=0.66)
    assert len(set(faults.values())) > len(KINDS) // 2
    desk, luck = opened(faults, answer_timeout_seconds=0.5), Random(7)
    sides = [luck.choice([Side.BUY, Side.SELL]) for _ in range(count)]
    orders = [make_order(n + 1, side=side) for n, side in enumerate(sides)]
    for order in orders:
        desk.gateway.send(order)
        desk.until(lambda order=order: bool(desk.of(order)), order.order_id)  # type: ignore[misc]
    desk.until(lambda: len(desk.books) > 1)

    def settled(order: Order) -> bool:
        return bool(desk.states(order) & {OrderState.FILLED, OrderState.REJECTED})

    book = desk.ask()
    arrived = {update.order_id for update in book.orders}
    desk.until(lambda: all(settled(o) for o in orders if o.order_id in arrived))
    held = sum(
        max(update.filled for update in desk.of(order)) * (1 if order.side is Side.BUY else -1)
        for order in orders
    )
    position = sum(place.quantity for place in desk.ask().positions)
    assert held == position
    assert set(tags(desk)) == arrived
    assert set(tags(desk).values()) == {1}
    for order in orders:
        if order.order_id not in arrived:
            assert OrderState.FILLED not in desk.states(order)
