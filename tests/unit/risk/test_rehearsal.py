"""A rehearsal plays an entry and its exit by the rules of the run, and touches nothing of it."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from pipeline.brokers.contract import Order, Side
from pipeline.brokers.paper.orders import PaperGateway
from pipeline.records import Action
from pipeline.risk.desk import Desk
from pipeline.risk.files import rulebook_for
from pipeline.risk.ledger import Ledger, NoLedger
from pipeline.risk.rehearsal import Rehearsal
from pipeline.risk.rulebook import NO_RULES
from pipeline.risk.session import RiskSession
from pipeline.settings import PaperSettings, Settings, load_settings
from tests.money import guide, signal, tick, two_instruments

CONFIGS = sorted((Path(__file__).resolve().parents[3] / "configs").glob("*.toml"))
ACTS = 5  # begin, enter, hear, leave, hear


class Counting(PaperGateway):
    """Paper that keeps the orders."""

    def __init__(self, latency_ms: float = 0) -> None:
        self.now_ns = 0
        super().__init__(0, PaperSettings(latency_ms=latency_ms), clock=lambda: self.now_ns)
        self.sent: list[Order] = []

    def send(self, order: Order) -> None:
        self.sent.append(order)
        super().send(order)


def rehearsed(settings: Settings, cycles: int = 1, price: int = 100) -> list[Order]:
    gateway = Counting()
    rehearsal = Rehearsal(
        settings, rulebook_for(settings), NoLedger(), gateway, lambda: price * 10_000
    )
    for _ in range(ACTS * cycles):
        rehearsal()
    return gateway.sent


@pytest.mark.parametrize("config", CONFIGS, ids=[path.name for path in CONFIGS])
def test_with_every_configuration_an_entry_and_its_exit_are_rehearsed(config: Path) -> None:
    entry, *exits = rehearsed(load_settings(config))
    assert entry.side is Side.BUY
    assert {order.side for order in exits} == {Side.SELL}
    assert sum(order.quantity for order in exits) == entry.quantity
    assert {order.reason for order in exits} == {"Stop Loss"}


def test_with_a_gateway_that_takes_its_time_what_became_of_an_order_is_heard_acts_later() -> None:
    gateway = Counting(latency_ms=1)
    rehearsal = Rehearsal(guide(), NO_RULES, NoLedger(), gateway, lambda: 1_000_000)
    for _ in range(3 * ACTS):
        gateway.now_ns += 2_000_000
        rehearsal()
    assert [order.side for order in gateway.sent] == [Side.BUY, Side.SELL] * 3


def test_outside_the_hours_of_entry_it_is_rehearsed_all_the_same() -> None:
    never = guide("session.gates=true", 'session.start="09:15"', 'session.end="09:45"')
    assert len(rehearsed(never)) == 2


def test_a_price_above_that_of_entries_is_rehearsed_at_the_highest_allowed() -> None:
    settings = guide("risk.entry_price_max=150")
    assert next(order.price_e4 for order in rehearsed(settings, price=400)) == 1_500_000


def test_it_begins_anew_each_time_so_that_no_rule_of_the_day_ends_it() -> None:
    settings = guide(
        "risk.max_positions_per_day=1", "risk.cool_down_stops=1", "risk.cool_down_minutes=60"
    )
    orders = rehearsed(settings, cycles=5)
    assert len(orders) == 10
    assert len({order.order_id for order in orders}) == 2


def test_before_the_first_tick_nothing_is_played() -> None:
    price = [0]
    gateway = Counting()
    rehearsal = Rehearsal(guide(), NO_RULES, NoLedger(), gateway, lambda: price[0])
    for _ in range(2 * ACTS):
        rehearsal()
    assert gateway.sent == []
    price[0] = 1_000_000
    for _ in range(ACTS):
        rehearsal()
    assert len(gateway.sent) == 2


def test_the_desk_that_trades_decides_the_same_with_rehearsals_in_between() -> None:
    assert _traded(rehearse=True) == _traded(rehearse=False)


def _traded(*, rehearse: bool) -> tuple[list[Order], str, int]:
    settings = two_instruments()
    session, gateway = RiskSession(settings), Counting()
    with Ledger.open(":memory:") as ledger:
        desk = Desk(session, ledger, gateway)
        rehearsal = Rehearsal(
            settings, NO_RULES, NoLedger(), PaperGateway(0), lambda: session.last_price_e4(0)
        )
        for number in range(1, 400):
            if rehearse:
                rehearsal()
            desk.on_tick(tick(number, 100 + number * 7 % 13, instrument=number % 2), 0)
            if number % 9 == 0:
                desk.on_signal(signal(number, Action.BUY, tick_seq=number), 0)
        return gateway.sent, repr(desk), len(ledger.trades())


def test_a_thousand_rehearsals_leave_nothing_behind() -> None:
    rehearsal = Rehearsal(guide(), NO_RULES, NoLedger(), PaperGateway(0), lambda: 1_000_000)
    for _ in range(2 * ACTS):
        rehearsal()
    gc.collect()
    before = len(gc.get_objects())
    gc.disable()  # so that cycles would show
    try:
        for _ in range(1_000 * ACTS):
            rehearsal()
        assert len(gc.get_objects()) < before + 500
    finally:
        gc.enable()
