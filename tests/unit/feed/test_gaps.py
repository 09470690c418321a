"""Gaps begin with a loss or a stall and end with the next tick."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.gaps import gap_of
from pipeline.feed.gaps import OpenGaps
from pipeline.records import AFTER_GAP, TICK, Gap, GapReason

AHEAD_NS = 10**18


def ticks(*instruments: int, at_ns: int = 900) -> NDArray[np.void]:
    rows = np.zeros(len(instruments), TICK)
    rows["instrument"] = instruments
    rows["ts_recv_ns"] = at_ns
    return rows


def test_a_gap_of_all_ends_with_the_first_tick_which_is_marked() -> None:
    gaps = OpenGaps(1, 10, 5)
    gaps.begin(GapReason.DISCONNECTED, 400, after_seq=70)
    assert gaps
    assert gaps.since_ns == 400
    rows = ticks(12, 11)
    (ended,) = gaps.end(rows, 75, AHEAD_NS)
    assert not gaps
    assert gaps.since_ns == 0
    assert rows["flags"].tolist() == [AFTER_GAP, 0]
    assert (ended["after_seq"], ended["next_seq"], ended["connection"]) == (70, 76, 1)
    assert (ended["began_ns"], ended["ended_ns"]) == (400, 900)
    assert gap_of(ended) == Gap(
        GapReason.DISCONNECTED, 0, AHEAD_NS + 400, AHEAD_NS + 900, range(10, 15)
    )


def test_a_gap_that_lasts_goes_on_when_it_is_lost_again() -> None:
    gaps = OpenGaps(0, 0, 1)
    gaps.begin(GapReason.STALLED, 400, after_seq=70)
    gaps.begin(GapReason.DISCONNECTED, 500, after_seq=70)
    (ended,) = gaps.end(ticks(0), 70, AHEAD_NS)
    assert (ended["reason"], ended["began_ns"]) == (b"stalled", 400)


def test_a_gap_of_one_waits_for_that_one() -> None:
    gaps = OpenGaps(0, 0, 3)
    gaps.begin_one(2, 300, after_seq=5)
    others, rows = ticks(0, 1), ticks(1, 2, 2)
    assert not len(gaps.end(others, 5, AHEAD_NS))
    assert not others["flags"].any()
    (ended,) = gaps.end(rows, 7, AHEAD_NS)
    assert rows["flags"].tolist() == [0, AFTER_GAP, 0]
    assert (ended["next_seq"], gap_of(ended).instruments) == (9, range(2, 3))


def test_what_is_missing_at_the_end_is_told_as_if_it_ended_then() -> None:
    gaps = OpenGaps(0, 0, 3)
    gaps.begin(GapReason.DISCONNECTED, 400, after_seq=5)
    gaps.begin_one(1, 300, after_seq=4)
    rows = gaps.end_all(1_000, 5, AHEAD_NS)
    assert rows["ended_ns"].tolist() == [1_000, 1_000]
    assert rows["instrument_count"].tolist() == [3, 1]
    assert not gaps
    assert not len(gaps.end_all(1_000, 5, AHEAD_NS))
