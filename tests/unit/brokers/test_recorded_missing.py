"""What a day's folder says of what is missing in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.brokers.recorded.counts import Counts, write_counts
from pipeline.brokers.recorded.missing import holes, said_of
from pipeline.brokers.recorded.parquet import RECORDED_TICK


def counts(lost: int = 0, state: str = "ended") -> Counts:
    return {
        "recording_ns": 7,
        "written_ns": 8,
        "run": "one",
        "state": state,
        "flush_seconds_max": 1.0,
        "counted": {"ticks": {"published": 4 + lost, "recorded": 4, "lost": lost}},
    }


def test_holes_and_what_is_there_twice_are_counted() -> None:
    assert holes(np.array([3, 4, 4, 8, 10], np.uint64)) == (4, 2, 1)


@pytest.mark.parametrize(
    ("seqs", "found", "complete", "words"),
    [
        ([1, 2, 3, 4], counts(), True, "0 missing in 0 hole(s), 0 twice"),
        ([1, 2, 5, 6], counts(), False, "2 missing in 1 hole(s)"),
        ([1, 2, 2, 3], counts(), False, "1 twice"),
        ([1, 2, 3, 4], counts(lost=9), False, "4 recorded and 9 lost of 13"),
        ([1, 2, 3, 4], counts(state="cut short"), False, "cut short"),
        ([1, 2, 3, 4], None, None, "its counts are not there"),
    ],
)
def test_a_folder_is_complete_only_where_nothing_speaks_against_it(
    tmp_path: Path, seqs: list[int], found: Counts | None, complete: bool | None, words: str
) -> None:
    day = tmp_path / "2026-01-05"
    (day / "ticks").mkdir(parents=True)
    if found is not None:
        write_counts(tmp_path, found)
    rows = np.zeros(4, RECORDED_TICK)
    rows["seq"], rows["recording_ns"] = seqs, 7
    said, whole = said_of(day, {"A": rows[:2], "B": rows[2:]})
    assert whole is complete
    assert words in "\n".join(said)
