"""A limit exit whose price ran away is cancelled, and closed at the price of then."""

from __future__ import annotations

from pipeline.brokers.contract import Order, OrderState, OrderUpdate
from pipeline.records import Action
from pipeline.risk.desk import Desk
from pipeline.risk.reasons import Reason
from pipeline.risk.restoring import restore
from pipeline.risk.session import RiskSession
from tests.money import Trading, e4_of, guide, signal

LATER_NS = 60_000_000_000
LIMIT = ("risk.order_type=limit", "risk.collar_points=1")


class Resting:
    """A desk that holds a position, and a broker that says what a test says."""

    def __init__(self) -> None:
        self.trading = Trading(guide(*LIMIT))
        self.trading.buy(1, 100, "10:00:00")
        self.trading.gateway.fall_silent()
        self.seq = 1

    def at(self, second: int, price: float) -> list[Order]:
        """Return the orders that a tick so many seconds after ten brings."""
        before, self.seq = len(self.orders), self.seq + 1
        self.trading.tick(self.seq, price, f"10:00:{second:02}", ts_recv_ns=second * 1_000_000_000)
        return self.orders[before:]

    @property
    def orders(self) -> list[Order]:
        return self.trading.gateway.orders

    @property
    def cancelled(self) -> list[str]:
        return self.trading.gateway.cancelled

    def hear(self, order: Order, state: OrderState, filled: int = 0) -> None:
        update = OrderUpdate(
            order_id=order.order_id,
            state=state,
            broker_id="B1",
            filled=filled,
            turnover_e4=filled * order.price_e4,
        )
        self.trading.gateway.tell(update)
        self.trading.desk.hear()


def test_after_its_time_a_resting_exit_is_cancelled_and_then_decided_at_the_price_of_then() -> None:
    resting = Resting()
    (first,) = resting.at(1, 84)
    resting.hear(first, OrderState.ACCEPTED)
    assert resting.at(5, 80) == []
    assert resting.cancelled == []
    assert resting.at(6, 79) == []
    assert resting.cancelled == [first.order_id]
    assert resting.at(7, 78) == []  # the end of it was not heard
    resting.hear(first, OrderState.CANCELLED, 75)
    second = resting.orders[-1]
    assert second.quantity == first.quantity - 75
    assert (second.price_e4, second.limit_e4) == (e4_of(78), e4_of(77))
    assert resting.at(7, 77) == []


def test_a_cancel_that_is_not_answered_is_asked_for_again_after_the_same_time() -> None:
    resting = Resting()
    (first,) = resting.at(1, 84)
    resting.hear(first, OrderState.ACCEPTED)
    for second in range(6, 16):
        assert resting.at(second, 79) == []
    assert resting.cancelled == [first.order_id] * 2


def test_an_exit_that_nobody_knows_to_have_arrived_is_not_cancelled() -> None:
    resting = Resting()
    resting.at(1, 84)
    resting.at(30, 79)
    assert resting.cancelled == []


def test_an_exit_that_filled_before_its_cancel_is_not_followed_by_another() -> None:
    resting = Resting()
    (first,) = resting.at(1, 84)
    resting.hear(first, OrderState.ACCEPTED)
    resting.at(6, 79)
    resting.hear(first, OrderState.FILLED, first.quantity)
    assert resting.at(7, 79) == []
    assert resting.trading.session.is_flat


def test_flatten_cancels_a_resting_exit_at_once_and_closes_when_that_is_heard() -> None:
    resting = Resting()
    (first,) = resting.at(1, 84)
    resting.hear(first, OrderState.ACCEPTED)
    resting.at(2, 95)  # no rule would sell
    resting.trading.desk.flatten(Reason.KILL_SWITCH)
    assert resting.cancelled == [first.order_id]
    assert resting.orders[-1] is first
    resting.hear(first, OrderState.CANCELLED)
    again = resting.orders[-1]
    assert (again.reason, again.price_e4, again.quantity) == (
        Reason.KILL_SWITCH,
        e4_of(95),
        first.quantity,
    )


def test_what_no_rule_would_ask_for_is_ordered_again_with_its_own_reason() -> None:
    resting = Resting()
    resting.trading.desk.on_signal(signal(2, Action.CLOSE, reason="enough"), 0)
    first = resting.orders[-1]
    resting.hear(first, OrderState.ACCEPTED)
    assert resting.at(6, 95) == []
    resting.hear(first, OrderState.CANCELLED)
    again = resting.orders[-1]
    assert (again.reason, again.price_e4) == (first.reason, e4_of(95))
    assert again is not first


def test_a_target_that_was_cancelled_is_sold_when_its_price_is_there_again() -> None:
    resting = Resting()
    (first,) = resting.at(1, 106)
    resting.hear(first, OrderState.ACCEPTED)
    resting.at(6, 104)
    resting.hear(first, OrderState.CANCELLED)
    assert resting.at(7, 104) == []
    (again,) = resting.at(8, 105)
    assert (again.reason, again.quantity) == (first.reason, first.quantity)


def test_without_ticks_the_clock_cancels_a_resting_exit_and_the_last_price_decides() -> None:
    resting = Resting()
    (first,) = resting.at(1, 84)
    resting.hear(first, OrderState.ACCEPTED)
    resting.at(2, 80)
    resting.trading.desk.act_without_ticks(4_999_999_999)
    assert resting.cancelled == []
    resting.trading.desk.act_without_ticks(5_000_000_000)
    assert resting.cancelled == [first.order_id]
    resting.hear(first, OrderState.CANCELLED)
    second = resting.orders[-1]
    assert (second.price_e4, second.quantity) == (e4_of(80), first.quantity)
    assert second.reason == first.reason


def test_without_a_tick_since_its_own_an_exit_rests_on_for_a_new_one_would_be_the_same() -> None:
    resting = Resting()
    (first,) = resting.at(1, 84)
    resting.hear(first, OrderState.ACCEPTED)
    resting.trading.desk.act_without_ticks(60_000_000_000)
    assert resting.cancelled == []


def after_a_restart(resting: Resting) -> RiskSession:
    """Return the session of another risk, which has heard what the broker has said so far."""
    trading = resting.trading
    trading.session = RiskSession(guide(*LIMIT))
    restore(trading.session, trading.ledger.history())
    trading.desk = Desk(trading.session, trading.ledger, trading.gateway)
    trading.desk.start(1)
    return trading.session


def a_flatten_that_waits_for_a_cancel() -> tuple[Resting, Order]:
    resting = Resting()
    (first,) = resting.at(1, 84)
    resting.hear(first, OrderState.ACCEPTED)
    resting.at(2, 95)  # no rule would sell
    resting.trading.desk.flatten(Reason.KILL_SWITCH)
    return resting, first


def test_another_risk_closes_what_was_flattened_when_it_hears_the_end_of_the_cancel() -> None:
    resting, first = a_flatten_that_waits_for_a_cancel()
    after_a_restart(resting)
    assert resting.orders[-1] is first
    resting.hear(first, OrderState.CANCELLED, 75)
    resting.trading.desk.act_without_ticks(LATER_NS)
    again = resting.orders[-1]
    assert (again.reason, again.quantity) == (Reason.KILL_SWITCH, first.quantity - 75)


def test_another_risk_closes_what_was_flattened_though_the_end_of_the_cancel_was_written() -> None:
    resting, first = a_flatten_that_waits_for_a_cancel()
    ended = OrderUpdate(order_id=first.order_id, state=OrderState.CANCELLED, broker_id="B1")
    heard = resting.trading.session.on_update(ended)
    assert heard is not None
    resting.trading.desk._write(heard, "")  # and died before the new order
    after_a_restart(resting)
    resting.trading.desk.act_without_ticks(LATER_NS)
    assert (resting.orders[-1].reason, len(resting.orders)) == (Reason.KILL_SWITCH, 3)


def test_what_was_ordered_again_is_not_ordered_once_more_by_another_risk() -> None:
    resting, first = a_flatten_that_waits_for_a_cancel()
    resting.hear(first, OrderState.CANCELLED)
    orders = list(resting.orders)
    resting.hear(orders[-1], OrderState.ACCEPTED)
    session = after_a_restart(resting)
    resting.hear(first, OrderState.CANCELLED)
    resting.trading.desk.act_without_ticks(LATER_NS)
    assert resting.orders == orders
    assert session.book.position(0) is not None
