"""When a connection is tried again, and what a person is told of it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pipeline.feed.reconnecting import ASKED_NS_MAX, Failure, Outage, ReconnectPolicy

S = 1_000_000_000
DELAY_NS = S // 2
POLICY = ReconnectPolicy(delay_ns=DELAY_NS, healthy_ns=5 * S, connect_attempts_max=4)
SOON, LATE = 0.0, 1 - 1e-9


def pause(failure: Failure, failures: int, chance: float = LATE, **more: int) -> int:
    return POLICY.pause_ns(failure, failures, chance=chance, **({"opens_in_ns": 0} | more))


def fail(outage: Outage, now_ns: int = 0, failure: Failure = Failure.NETWORK) -> int | None:
    return outage.failed(failure, now_ns, opens_in_ns=0, chance=LATE)


@pytest.fixture
def outage() -> Outage:
    """Return the outages of a connection that stands since 100 s."""
    found = Outage(POLICY, ever_connected=False)
    found.connected(100 * S)
    return found


def lose(outage: Outage, at_ns: int) -> None:
    outage.lost(at_ns, opens_in_ns=0, chance=LATE)


# Pauses --------------------------------------------------------------------------------------


def test_pauses_double_up_to_sixteen_times_the_first() -> None:
    pauses = [pause(Failure.NETWORK, failures) for failures in range(1, 8)]
    delays = [round(ns / DELAY_NS) for ns in pauses]
    assert delays == [1, 2, 4, 8, 16, 16, 16]


@pytest.mark.parametrize("failure", list(Failure))
def test_chance_spreads_a_pause_over_its_second_half(failure: Failure) -> None:
    shortest, longest = pause(failure, 3, SOON), pause(failure, 3, LATE)
    assert shortest == pytest.approx(longest / 2, rel=1e-6)


def test_a_refused_login_and_a_crowd_are_tried_far_less_often() -> None:
    assert pause(Failure.LOGIN, 1, SOON) >= 10 * pause(Failure.NETWORK, 1, LATE)
    assert pause(Failure.CROWDED, 1, SOON) > pause(Failure.LOGIN, 1, LATE)


def test_what_the_server_asks_for_is_the_least_and_has_a_bound() -> None:
    assert pause(Failure.CROWDED, 1, SOON, asked_ns=120 * S) == 120 * S
    assert pause(Failure.CROWDED, 1, LATE, asked_ns=1) > 29 * S
    assert pause(Failure.CROWDED, 1, SOON, asked_ns=10**9 * S) == ASKED_NS_MAX


def test_outside_hours_pauses_are_long_and_none_lasts_into_the_session() -> None:
    far, near = pause(Failure.NETWORK, 1, opens_in_ns=10**6 * S), 40 * S
    assert far == pytest.approx(600 * DELAY_NS, rel=1e-6)
    assert 19 * S < pause(Failure.NETWORK, 1, opens_in_ns=near) <= near


def test_nobody_waits_without_a_failure() -> None:
    with pytest.raises(AssertionError):
        pause(Failure.NETWORK, 0)


# Outages -------------------------------------------------------------------------------------


def test_an_address_that_never_answered_is_given_up() -> None:
    outage = Outage(POLICY, ever_connected=False)
    pauses = [fail(outage) for _ in range(4)]
    assert None not in pauses[:3]
    assert pauses[3] is None


@pytest.mark.parametrize("failure", [Failure.LOGIN, Failure.CROWDED])
def test_an_address_that_answers_no_is_not_given_up(failure: Failure) -> None:
    outage = Outage(POLICY, ever_connected=False)
    assert None not in [fail(outage, failure=failure) for _ in range(50)]


def test_an_address_that_answered_once_is_never_given_up(outage: Outage) -> None:
    lose(outage, 200 * S)
    assert None not in [fail(outage, at * S) for at in range(201, 300)]


def test_a_healthy_connection_is_tried_again_at_once(outage: Outage) -> None:
    lose(outage, 105 * S)
    assert (outage.retry_at_ns, outage.failures) == (105 * S, 0)


def test_a_connection_that_was_lost_at_once_is_tried_with_growing_pauses(outage: Outage) -> None:
    pauses = []
    for at_ns in range(101 * S, 110 * S, S):
        lose(outage, at_ns)
        pauses.append(outage.retry_at_ns - at_ns)
        outage.connected(at_ns)
    assert all(a < b for a, b in pairwise(pauses[:5]))
    assert pauses[0] > 0


def test_only_a_healthy_period_ends_the_growth(outage: Outage) -> None:
    lose(outage, 101 * S)
    outage.connected(102 * S)
    assert outage.healed(106 * S) is None
    assert outage.failures == 1
    assert outage.healed(107 * S) == S
    assert outage.failures == 0


def test_an_outage_lasts_from_the_first_loss_to_the_connection_that_lives(outage: Outage) -> None:
    lose(outage, 200 * S)
    fail(outage, 201 * S)
    outage.connected(210 * S)
    lose(outage, 211 * S)
    outage.connected(230 * S)
    assert outage.healed(231 * S) is None
    assert outage.healed(235 * S) == 30 * S
    assert outage.healed(236 * S) is None


def test_a_person_is_alarmed_once_in_an_outage(outage: Outage) -> None:
    assert not outage.alarm(in_session=True)
    for start in (200, 300):
        lose(outage, start * S)
        assert outage.alarm(in_session=True)
        fail(outage, (start + 1) * S)
        assert not outage.alarm(in_session=True)
        outage.connected((start + 2) * S)
        outage.healed((start + 50) * S)


def test_an_outage_outside_hours_alarms_when_the_session_opens(outage: Outage) -> None:
    lose(outage, 200 * S)
    assert not outage.alarm(in_session=False)
    assert outage.alarm(in_session=True)


def test_a_reason_is_news_once_in_an_outage(outage: Outage) -> None:
    lose(outage, 200 * S)
    assert [outage.is_news(why) for why in ("reset", "HTTP 401", "reset")] == [True, True, False]
    outage.connected(201 * S)
    outage.healed(300 * S)
    assert outage.is_news("reset")


def test_reasons_that_are_always_others_are_not_told_for_ever(outage: Outage) -> None:
    lose(outage, 200 * S)
    assert sum(outage.is_news(f"request {number}") for number in range(1_000)) == 10
