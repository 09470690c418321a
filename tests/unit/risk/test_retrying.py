"""An exit that the broker refused is not asked for on every tick."""

from __future__ import annotations

import pytest

from pipeline.brokers.contract import Order, OrderState, OrderUpdate
from pipeline.records import Action
from pipeline.risk.retrying import PAUSES_MAX, REFUSED, Retries
from pipeline.risk.session import RiskSession
from tests.money import guide, signal, tick

SECOND = 1_000_000_000
STOPPED = 84  # 16 below the entry: the base stop is 15


def test_pauses_double_up_to_the_longest_and_a_fill_ends_them() -> None:
    retries = Retries(SECOND)
    waited = []
    for _ in range(8):
        retries.refused(0, 0)
        waited.append(next(s for s in range(100) if not retries.waits(0, s * SECOND)))
    assert waited == [1, 2, 4, 8, 16, PAUSES_MAX, PAUSES_MAX, PAUSES_MAX]
    assert not retries.waits(1, 0)
    retries.filled(0)
    assert not retries.waits(0, 0)
    retries.refused(0, 0)
    assert not retries.waits(0, SECOND)


class Held:
    """A session that holds a position; its exits are not filled."""

    def __init__(self) -> None:
        self.session = RiskSession(guide())
        self.session.on_tick(self.tick(1, 100))
        orders = self.session.on_signal(signal(1, Action.BUY, tick_seq=1), SECOND)
        assert isinstance(orders, list | tuple)
        (entry,) = orders
        self.tell(entry, OrderState.FILLED, entry.quantity)
        self.seq = 1

    def tick(self, seq: int, price: float, ms: int = 1_000) -> tuple[int, ...]:
        return tick(seq, price, ts_recv_ns=ms * 1_000_000)

    def tell(self, order: Order, state: OrderState, filled: int = 0) -> None:
        update = OrderUpdate(
            order_id=order.order_id,
            state=state,
            filled=filled,
            turnover_e4=filled * order.price_e4,
        )
        self.session.on_update(update)

    def at(self, ms: int, price: float = STOPPED) -> list[Order]:
        """Return the exits of a tick so many milliseconds after the entry."""
        self.seq += 1
        return list(self.session.on_tick(self.tick(self.seq, price, 1_000 + ms)))


@pytest.mark.parametrize("state", sorted(REFUSED))
def test_a_refused_exit_is_decided_again_when_its_pause_is_over(state: OrderState) -> None:
    held = Held()
    (first,) = held.at(0)
    held.tell(first, state)
    assert not any(held.at(ms) for ms in range(1, 1_000))
    (second,) = held.at(1_000)
    assert second.order_id != first.order_id
    assert second.quantity == first.quantity
    held.tell(second, state)
    assert held.at(2_999) == []
    assert len(held.at(3_000)) == 1  # two pauses


def test_when_the_pause_is_over_the_rules_decide_by_the_price_of_then() -> None:
    held = Held()
    (first,) = held.at(0)
    held.tell(first, OrderState.REJECTED)
    assert held.at(500, 99) == []
    assert held.at(1_500, 99) == []  # above the stop again


def test_the_extremes_of_a_pause_are_remembered() -> None:
    held = Held()
    (first,) = held.at(0)
    held.tell(first, OrderState.REJECTED)
    held.at(500, 104.5)
    watch = held.session.watch(0)
    assert watch is not None
    assert watch.high_e4 == 1_045_000


def test_a_fill_ends_the_pause() -> None:
    held = Held()
    (first,) = held.at(0)
    held.tell(first, OrderState.CANCELLED, first.quantity // 2 // 75 * 75)
    assert held.at(1) == []  # cancelled with shares left: a pause
    (second,) = held.at(1_000)
    held.tell(second, OrderState.PARTIALLY_FILLED, 75)
    held.tell(second, OrderState.CANCELLED, 75)
    assert len(held.at(2_000)) == 1  # the first pause again, not the second


def test_a_person_does_not_wait_and_a_rule_does() -> None:
    held = Held()
    (first,) = held.at(0)
    held.tell(first, OrderState.REJECTED)
    assert held.session.flatten("stale_feed", now_ns=1_500_000_000) == []
    assert len(held.session.flatten("kill_switch")) == 1
