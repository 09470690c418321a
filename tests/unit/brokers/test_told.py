"""What is new of what a broker tells."""

from __future__ import annotations

import pytest

from pipeline.brokers.contract import OrderState, OrderUpdate
from pipeline.brokers.told import Told

ACCEPTED = OrderUpdate("E1", OrderState.ACCEPTED, "77")


def test_what_is_told_again_is_not_new_and_what_changed_is() -> None:
    told = Told()
    filled = ACCEPTED._replace(state=OrderState.FILLED, filled=75)
    assert [told.note(update) for update in (ACCEPTED, ACCEPTED, filled, filled)] == [
        *(True, False),
        *(True, False),
    ]


def test_the_brokers_id_is_known_once_it_was_told_and_stays() -> None:
    told = Told()
    assert told.broker_id("E1") == ""
    told.note(ACCEPTED)
    told.note(OrderUpdate("E1", OrderState.UNKNOWN))
    assert told.broker_id("E1") == "77"


@pytest.mark.parametrize("state", OrderState)
def test_an_order_is_asked_for_while_the_broker_may_still_fill_it(state: OrderState) -> None:
    told, again = Told(), Told()
    told.leaves("E1")
    assert told.open_count == 1, "until something is heard of it"
    told.note(ACCEPTED._replace(state=state))
    again.restore("E1", state)
    seen = state in (OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED)
    assert told.open_count == again.open_count == seen


def test_orders_of_others_are_told_by_the_brokers_id_and_never_asked_for() -> None:
    told = Told()
    theirs = OrderUpdate("", OrderState.ACCEPTED, "78")
    assert [told.note(theirs), told.note(theirs._replace(broker_id="79"))] == [True, True]
    assert told.open_count == 0
