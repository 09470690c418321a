"""The life of an order: every state heard in every state, and fills from totals."""

from __future__ import annotations

from itertools import product

import pytest

from pipeline.brokers.contract import OrderState, OrderUpdate
from pipeline.risk.order_states import LIVE, UNPROVEN, Answer, News, Standing, answer, hear
from tests.money import e4_of

SHARES = 150
ENDED = frozenset(OrderState) - LIVE
PRICE_E4 = e4_of(100)


def standing(state: OrderState, filled: int | None = None) -> Standing:
    """Return an order that stands there, with as much filled as the state says."""
    if filled is None:
        filled = {OrderState.FILLED: SHARES, OrderState.PARTIALLY_FILLED: 50}.get(state, 0)
    return Standing(SHARES, state, filled, filled * PRICE_E4)


def update(state: OrderState, filled: int = 0, price_e4: int = PRICE_E4) -> OrderUpdate:
    return OrderUpdate(order_id="E", state=state, filled=filled, turnover_e4=filled * price_e4)


def as_heard(state: OrderState) -> OrderUpdate:
    return update(state, standing(state).filled)


EVERY_PAIR = list(product(OrderState, OrderState))


@pytest.mark.parametrize(("known", "heard"), EVERY_PAIR)
def test_every_state_has_an_answer_to_every_state(known: OrderState, heard: OrderState) -> None:
    what = answer(known, heard)
    if known is heard:
        assert what is Answer.STALE
    if heard in UNPROVEN and what is Answer.MOVES:
        assert known in UNPROVEN, "what the broker has said is not doubted for a missing answer"
    if known in ENDED and heard in LIVE and heard is not OrderState.PARTIALLY_FILLED:
        assert what is Answer.STALE or known is OrderState.NEVER_ARRIVED


@pytest.mark.parametrize(("known", "heard"), EVERY_PAIR)
def test_hearing_a_state_does_what_the_table_says(known: OrderState, heard: OrderState) -> None:
    before, news = standing(known), hear(standing(known), as_heard(heard))
    what = answer(known, heard)
    if known is OrderState.PARTIALLY_FILLED and heard is OrderState.REJECTED:
        what, heard = Answer.MOVES_REPORTED, OrderState.CANCELLED  # what is filled is not refused
    if known is OrderState.PARTIALLY_FILLED and heard is OrderState.ACCEPTED:
        heard = OrderState.PARTIALLY_FILLED
    if known is OrderState.FILLED:
        heard, what = OrderState.FILLED, Answer.STALE if heard is not OrderState.REJECTED else what
    moves = what in (Answer.MOVES, Answer.MOVES_REPORTED)
    assert news.standing.state is (heard if moves else known), (before, news)
    if what in (Answer.MOVES_REPORTED, Answer.IMPOSSIBLE):
        assert news.report


@pytest.mark.parametrize(("known", "heard"), EVERY_PAIR)
def test_shares_beyond_those_known_are_a_fill_in_every_state(
    known: OrderState, heard: OrderState
) -> None:
    before = standing(known, filled=25)
    news = hear(before, update(heard, filled=75))
    assert (news.quantity, news.turnover_e4) == (50, 50 * PRICE_E4)
    assert (news.standing.filled, news.standing.turnover_e4) == (75, 75 * PRICE_E4)
    if known in ENDED:
        assert news.report, "a fill after the end is told"


@pytest.mark.parametrize(("known", "heard"), EVERY_PAIR)
def test_an_update_that_comes_twice_says_nothing_new(known: OrderState, heard: OrderState) -> None:
    first = hear(standing(known, filled=25), update(heard, filled=75))
    again = hear(first.standing, update(heard, filled=75))
    assert again.standing == first.standing
    assert again.quantity == 0


def test_an_accepted_order_with_shares_filled_is_partially_filled() -> None:
    news = hear(standing(OrderState.SENT), update(OrderState.ACCEPTED, 50))
    assert (news.standing.state, news.report) == (OrderState.PARTIALLY_FILLED, "")


def test_all_shares_filled_is_filled_whatever_was_heard() -> None:
    for heard in (OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED, OrderState.CANCELLED):
        news = hear(standing(OrderState.ACCEPTED), update(heard, SHARES))
        assert (news.standing.state, news.report) == (OrderState.FILLED, "")


def test_filled_without_its_shares_is_not_believed_and_told() -> None:
    news = hear(standing(OrderState.SENT), update(OrderState.FILLED, 50))
    assert news.standing.state is OrderState.PARTIALLY_FILLED
    assert news.report == "FILLED was heard with 50 of 150 shares filled"


def test_more_shares_than_ordered_are_booked_and_told() -> None:
    news = hear(standing(OrderState.ACCEPTED), update(OrderState.FILLED, 175))
    assert (news.quantity, news.standing.state) == (175, OrderState.FILLED)
    assert news.report == "25 shares more than ordered were filled"


def test_shares_without_a_price_are_not_booked_and_told() -> None:
    news = hear(standing(OrderState.ACCEPTED), update(OrderState.ACCEPTED, 75, price_e4=0))
    assert (news.quantity, news.standing.filled) == (0, 0)
    assert news.report == "75 shares were filled at a price of 0 e4 together"


def test_a_turnover_that_changes_by_more_than_rounding_is_told_and_not_booked() -> None:
    known = standing(OrderState.PARTIALLY_FILLED, 50)
    rounded = hear(known, update(OrderState.PARTIALLY_FILLED, 50, PRICE_E4 + 1))
    changed = hear(known, update(OrderState.PARTIALLY_FILLED, 50, PRICE_E4 + 2))
    assert rounded == News(known)
    assert (changed.standing, changed.report) == (
        known,
        "its turnover changed by 100 e4 without a fill",
    )


def test_fewer_shares_than_known_are_older_news() -> None:
    known = standing(OrderState.PARTIALLY_FILLED, 75)
    assert hear(known, update(OrderState.PARTIALLY_FILLED, 25)) == News(known)


def test_a_refusal_of_an_order_that_is_partly_filled_ends_the_rest_and_is_told() -> None:
    news = hear(standing(OrderState.ACCEPTED), update(OrderState.REJECTED, 50))
    assert (news.standing.state, news.quantity) == (OrderState.CANCELLED, 50)
    assert news.report == "REJECTED was heard with 50 of 150 shares filled"


def test_an_order_that_arrived_after_all_lives_again_and_is_told() -> None:
    news = hear(standing(OrderState.NEVER_ARRIVED), update(OrderState.ACCEPTED))
    assert news.standing.state is OrderState.ACCEPTED
    assert news.standing.left == SHARES
    assert news.report == "ACCEPTED was heard of an order that was NEVER_ARRIVED"


def test_what_is_left_may_still_be_filled_only_while_the_order_lives() -> None:
    assert standing(OrderState.PARTIALLY_FILLED, 50).left == 100
    assert standing(OrderState.UNKNOWN).left == SHARES, "no answer is not a refusal (I9)"
    assert standing(OrderState.CANCELLED, 50).left == 0


def test_the_broker_s_id_is_kept() -> None:
    first = hear(
        standing(OrderState.SENT),
        OrderUpdate(order_id="E", state=OrderState.ACCEPTED, broker_id="B1"),
    )
    assert hear(first.standing, update(OrderState.CANCELLED)).standing.broker_id == "B1"


def test_after_a_fill_that_was_written_it_stands_where_the_fill_left_it() -> None:
    part = standing(OrderState.SENT).after(50, 50 * PRICE_E4)
    assert part == standing(OrderState.PARTIALLY_FILLED, 50)
    assert part.after(100, 100 * PRICE_E4) == standing(OrderState.FILLED)
    assert standing(OrderState.CANCELLED).after(50, 50).state is OrderState.CANCELLED
