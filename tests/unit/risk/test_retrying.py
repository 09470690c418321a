"""An exit that the broker refused is not asked for on every tick."""

from __future__ import annotations

import pytest

from pipeline.brokers.contract import Order, OrderState, OrderUpdate
from pipeline.records import Action
from pipeline.risk.desk import Desk
from pipeline.risk.limits import Refusal
from pipeline.risk.restoring import restore
from pipeline.risk.retrying import PAUSES_MAX, REFUSED, Retries
from pipeline.risk.session import RiskSession
from tests.money import Trading, guide, signal, tick

SECOND = 1_000_000_000
STOPPED = 84  # 16 below the entry: the base stop is 15


def test_pauses_double_up_to_the_longest_and_a_fill_ends_them() -> None:
    retries = Retries(SECOND)
    waited, now_ns = [], 0
    for _ in range(8):
        retries.refused(0, now_ns)
        waited.append(next(s for s in range(100) if not retries.waits(0, now_ns + s * SECOND)))
        now_ns += waited[-1] * SECOND
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

    def close(self, ms: int) -> list[Order]:
        """Return the exits of a CLOSE so many milliseconds after the entry."""
        self.seq += 1
        sent = signal(self.seq, Action.CLOSE, tick_seq=self.seq, reason="enough")
        orders = self.session.on_signal(sent, (1_000 + ms) * 1_000_000)
        assert not isinstance(orders, Refusal)
        return list(orders)

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


def sold(orders: list[Order]) -> list[tuple[str, int]]:
    return [(order.reason, order.quantity) for order in orders]


def test_the_orders_of_one_decision_are_refused_as_one() -> None:
    held = Held()
    orders = held.at(0, 121)
    for order in orders:
        held.tell(order, OrderState.REJECTED)
    assert len(orders) == 3
    assert held.at(999, 121) == []
    assert sold(held.at(1_000, 121)) == sold(orders)


@pytest.mark.parametrize("state", sorted(REFUSED))
def test_the_part_of_a_refused_target_is_sold_when_its_price_is_there_again(
    state: OrderState,
) -> None:
    held = Held()
    (first,) = held.at(0, 106)
    held.tell(first, state)
    assert held.at(500, 106) == []
    assert held.at(1_500, 104.9) == []
    (again,) = held.at(1_501, 105)
    assert sold([again]) == sold([first])
    held.tell(again, OrderState.FILLED, again.quantity)
    assert held.at(1_502, 105) == []  # once


def test_only_what_a_target_did_not_sell_is_sold_again() -> None:
    held = Held()
    (first,) = held.at(0, 106)
    held.tell(first, OrderState.CANCELLED, 75)
    (again,) = held.at(1_000, 106)
    assert sold([again]) == [(first.reason, first.quantity - 75)]


def test_a_target_whose_order_arrived_after_all_is_not_sold_twice() -> None:
    held = Held()
    (first,) = held.at(0, 106)
    held.tell(first, OrderState.NEVER_ARRIVED)
    held.tell(first, OrderState.ACCEPTED)
    assert held.at(1_000, 106) == []


def test_a_target_that_is_reached_in_the_pause_is_sold_after_it() -> None:
    held = Held()
    (first,) = held.at(0, 106)
    held.tell(first, OrderState.REJECTED)
    assert held.at(500, 113) == []
    assert [order.reason for order in held.at(1_000, 113)] == ["Take Profit 1", "Take Profit 2"]


def test_a_restart_remembers_the_target_that_was_refused() -> None:
    trading = Trading(guide("risk.use_trail_stop=false"))
    trading.buy(1, 100)
    trading.gateway.fall_silent()
    trading.tick(2, 106)
    first = trading.gateway.orders[-1]
    trading.gateway.tell(OrderUpdate(order_id=first.order_id, state=OrderState.REJECTED))
    trading.desk.hear()
    session = RiskSession(guide("risk.use_trail_stop=false"))
    restore(session, trading.ledger.history())
    (again,) = session.on_tick(tick(3, 106, ts_recv_ns=SECOND))
    assert sold([again]) == sold([first])


def refused_twice(state: OrderState) -> Trading:
    """Return a desk whose exit was refused at 10 s and again at 11 s, and waits until 13 s."""
    trading = Trading(guide())
    trading.buy(1, 100, ts_recv_ns=SECOND)
    trading.gateway.fall_silent()
    for at in (10, 11):
        trading.tick(at, STOPPED, ts_recv_ns=at * SECOND)
        order_id = trading.gateway.orders[-1].order_id
        trading.gateway.tell(OrderUpdate(order_id=order_id, state=state))
        trading.desk.hear()
    assert len(trading.gateway.orders) == 3
    return trading


def exits_after_a_restart(trading: Trading, at: float, now: float) -> int:
    """Return how many exits a session that took over ``now`` wants of a tick ``at``."""
    session = RiskSession(guide())
    restore(session, trading.ledger.history(), int(now * SECOND))
    return len(session.on_tick(tick(12, STOPPED, ts_recv_ns=int(at * SECOND))))


@pytest.mark.parametrize("state", sorted(REFUSED - {OrderState.CANCELLED}))
def test_a_restart_remembers_how_long_a_refused_exit_waits(state: OrderState) -> None:
    trading = refused_twice(state)
    assert exits_after_a_restart(trading, 12.9, now=12) == 0
    assert exits_after_a_restart(trading, 13, now=12) == 1


def test_after_a_restart_nobody_waits_for_what_risk_may_have_cancelled_itself() -> None:
    assert exits_after_a_restart(refused_twice(OrderState.CANCELLED), 12, now=12) == 1


def test_a_restart_of_the_machine_ends_the_pauses() -> None:
    assert exits_after_a_restart(refused_twice(OrderState.REJECTED), 2, now=1) == 1


CLOSED = "Strategy Signal: enough"


def test_a_close_of_the_strategy_that_was_refused_is_ordered_again_after_the_pause() -> None:
    held = Held()
    (first,) = held.close(0)
    held.tell(first, OrderState.REJECTED)
    assert not any(held.close(ms) for ms in range(1, 1_000, 10)), "a CLOSE on every tick waits too"
    assert held.at(999, 100) == []
    assert sold(held.at(1_000, 100)) == [(CLOSED, first.quantity)]
    assert held.at(1_001, 100) == [], "it is under way"


def test_a_close_in_the_pause_of_an_exit_by_rule_closes_after_it_at_any_price() -> None:
    held = Held()
    (first,) = held.at(0)
    held.tell(first, OrderState.REJECTED)
    assert held.close(500) == []
    assert sold(held.at(1_000, 99)) == [(CLOSED, first.quantity)]


def test_what_a_person_flattened_and_the_broker_refused_is_closed_without_ticks() -> None:
    trading = Trading(guide())
    trading.buy(1, 100)
    trading.gateway.fall_silent()
    trading.desk.flatten("kill_switch")
    first = trading.gateway.orders[-1]
    trading.gateway.tell(OrderUpdate(order_id=first.order_id, state=OrderState.REJECTED))
    trading.desk.hear()
    trading.desk.act_without_ticks(SECOND // 2)
    assert trading.gateway.orders[-1] is first
    trading.desk.act_without_ticks(2 * SECOND)
    trading.desk.act_without_ticks(3 * SECOND)
    assert sold(trading.gateway.orders[1:]) == [("kill_switch", first.quantity)] * 2


def test_in_a_replay_the_ticks_say_when_a_pause_is_over() -> None:
    trading = Trading(guide())
    trading.session = RiskSession(guide(), replays=True)
    trading.desk = Desk(trading.session, trading.ledger, trading.gateway)
    trading.buy(1, 100, ts_recv_ns=0)
    trading.gateway.fall_silent()
    for clock, sent in (("10:00:01", 2), ("10:00:01", 2), ("10:00:02", 3)):
        trading.tick(2, 84, clock, ts_recv_ns=0)
        assert len(trading.gateway.orders) == sent
        refused = trading.gateway.orders[-1].order_id
        trading.gateway.tell(OrderUpdate(order_id=refused, state=OrderState.REJECTED))
        trading.desk.hear()


def test_a_close_under_the_name_of_a_target_that_is_not_there_may_be_refused() -> None:
    trading = Trading(guide())
    trading.buy(1, 100)
    trading.gateway.fall_silent()
    trading.desk.flatten("Take Profit 9")
    first = trading.gateway.orders[-1].order_id
    trading.gateway.tell(OrderUpdate(order_id=first, state=OrderState.REJECTED))
    trading.desk.hear()
    trading.desk.act_without_ticks(60 * SECOND)
    assert trading.gateway.orders[-1].reason == "Take Profit 9"
    assert trading.gateway.orders[-1].order_id != first
