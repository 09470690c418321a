"""Dead, stalled, silent and quiet, told apart."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.feed.freshness import Findings, Freshness
from pipeline.settings import FeedSettings

S = 1_000_000_000
START_NS = 1_000 * S
NOTHING = Findings()
LIMITS = {"silence_seconds_max": 10.0, "stalled_seconds_max": 30.0, "first_tick_seconds_max": 20.0}


def make(count: int = 3, **more: object) -> Freshness:
    fields = {"broker": "kite", "credentials": "simulator", "url": "ws://127.0.0.1:1/"}
    fresh = Freshness(FeedSettings.model_validate(fields | LIMITS | more), count)
    fresh.opened(START_NS)
    return fresh


def tick(fresh: Freshness, second: int, *places: int) -> None:
    now_ns = START_NS + second * S
    fresh.byte_ns = now_ns
    fresh.ticked(np.array(places, np.uint16), now_ns)


def look(fresh: Freshness, second: int, open_for_s: int = 10**6, *, heard: bool = True) -> Findings:
    """Look at a second of the connection; ``heard`` says that a byte came just before."""
    now_ns = START_NS + second * S
    if heard:
        fresh.byte_ns = now_ns
    return fresh.look(now_ns, open_for_s * S)


def test_without_a_byte_it_is_dead_in_hours_and_outside() -> None:
    for open_for_s in (0, 10**6):
        fresh = make()
        assert look(fresh, 10, open_for_s, heard=False).dead_ns == 0
        assert look(fresh, 11, open_for_s, heard=False).dead_ns == 11 * S


def test_bytes_without_a_tick_are_a_stall() -> None:
    fresh = make()
    tick(fresh, 5, 0, 1, 2)
    assert look(fresh, 35) == NOTHING
    assert look(fresh, 36).stalled_ns == 31 * S


def test_no_tick_at_all_since_subscribing_is_a_stall_too() -> None:
    assert look(make(first_tick_seconds_max=100.0), 31).stalled_ns == 31 * S


def test_outside_hours_no_tick_is_no_stall_and_nobody_is_silent() -> None:
    assert look(make(), 10_000, open_for_s=0) == NOTHING


def test_the_time_before_the_session_does_not_count() -> None:
    fresh = make(first_tick_seconds_max=100.0)
    assert look(fresh, 10_000, open_for_s=30) == NOTHING
    assert look(fresh, 10_001, open_for_s=31).stalled_ns == 31 * S


def test_a_stall_that_opening_anew_did_not_cure_is_waited_for_longer_up_to_16_times() -> None:
    fresh = make(first_tick_seconds_max=10**6)
    waits = []
    for _ in range(7):
        fresh.opened(START_NS)
        waits.append(next(s for s in range(1, 1_000) if look(fresh, s).stalled_ns))
    assert waits == [31, 61, 121, 241, 481, 481, 481]
    fresh.opened(START_NS)
    tick(fresh, 1, 0)
    assert look(fresh, 32).stalled_ns == 31 * S


def test_who_never_ticked_is_named_once_and_counted() -> None:
    fresh = make()
    tick(fresh, 1, 1)
    tick(fresh, 15, 1)
    assert look(fresh, 20) == NOTHING
    assert look(fresh, 21).silent == (0, 2)
    assert look(fresh, 22) == NOTHING
    assert fresh.silent_count == 2
    tick(fresh, 23, 0, 2)
    look(fresh, 24)
    assert fresh.silent_count == 0


def test_who_ticked_before_a_reconnect_is_not_silent_after_it() -> None:
    fresh = make()
    tick(fresh, 1, 0, 1, 2)
    fresh.opened(START_NS + 2 * S)
    assert look(fresh, 25) == NOTHING


def test_one_that_is_quiet_while_others_tick_is_named_once_until_it_ticks() -> None:
    fresh = make(instrument_stalled_seconds_max=5.0)
    tick(fresh, 1, 0, 1, 2)
    for second in range(2, 8):
        tick(fresh, second, 0, 1)
    assert look(fresh, 7).quiet == (2,)
    assert look(fresh, 8).quiet == ()
    assert fresh.tick_ns_of(2) == START_NS + S
    tick(fresh, 9, 0, 1, 2)
    assert look(fresh, 9).quiet == ()
    tick(fresh, 20, 0, 1)
    assert look(fresh, 20).quiet == (2,)


def test_nobody_is_quiet_by_itself_where_nobody_ticks_or_nobody_asked() -> None:
    fresh = make(instrument_stalled_seconds_max=5.0)
    tick(fresh, 1, 0, 1, 2)
    assert look(fresh, 20).quiet == ()
    fresh = make()
    tick(fresh, 1, 0, 1, 2)
    tick(fresh, 25, 0)
    assert look(fresh, 26).quiet == ()


@pytest.mark.parametrize(("credentials", "in_force"), [("environment", 30.0), ("simulator", None)])
def test_unset_the_watch_is_on_at_a_broker_and_off_at_a_simulator(
    credentials: str, in_force: float | None
) -> None:
    url = {"url": "ws://127.0.0.1:1/"}
    feed = FeedSettings.model_validate({"broker": "kite", "credentials": credentials} | url)
    assert feed.stalled_seconds_in_force == in_force
