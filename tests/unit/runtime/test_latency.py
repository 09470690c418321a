from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.runtime.latency import LatencyWindow


def ns(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def nearest_rank(values: list[int], percent: int) -> int:
    return sorted(values)[-(-len(values) * percent // 100) - 1]


def test_nothing_added_gives_zeros() -> None:
    assert LatencyWindow().percentiles() == (0, 0, 0)


def test_one_value_is_every_percentile() -> None:
    window = LatencyWindow()
    window.add_one(700)
    assert window.percentiles() == (700, 700, 700)


def test_percentiles_are_values_that_were_measured() -> None:
    window = LatencyWindow()
    window.add(np.arange(1, 101, dtype=np.int64)[::-1])
    assert window.percentiles() == (50, 99, 100)


def test_old_values_leave_the_window_but_the_maximum_is_of_all() -> None:
    window = LatencyWindow(size=4)
    window.add_one(9_000)
    window.add(ns(1, 2, 3, 4))
    assert window.percentiles() == (2, 4, 9_000)
    assert window.count == 5


def test_a_batch_longer_than_the_window_keeps_its_newest_and_every_maximum() -> None:
    window = LatencyWindow(size=4)
    window.add(ns(50, 1, 1, 1, 60, 1, 1, 1, 5, 6, 7, 8))
    assert window.percentiles() == (6, 8, 60)
    assert window.count == 12


def test_the_caller_keeps_its_batch() -> None:
    window, batch = LatencyWindow(size=4), ns(3, 1, 2)
    window.add(batch)
    window.percentiles()
    batch[:] = 0
    assert window.percentiles() == (2, 3, 3)


def test_asking_changes_nothing() -> None:
    window = LatencyWindow(size=8)
    window.add(ns(5, 4, 3, 2, 1))
    first = window.percentiles()
    window.add_one(9)
    assert first == (3, 5, 5)
    assert window.percentiles() == (3, 9, 9)
    assert repr(window) == "<LatencyWindow of 6: p50 3 ns, p99 9 ns, max 9 ns>"


def test_asking_does_not_change_which_value_is_the_oldest() -> None:
    window = LatencyWindow(size=3)
    window.add(ns(9, 1, 5))
    window.percentiles()
    window.add_one(7)
    assert window.percentiles() == (5, 7, 9)


@given(
    size=st.integers(1, 9),
    batches=st.lists(st.lists(st.integers(0, 10**12), max_size=25), max_size=12),
    asks=st.sets(st.integers(0, 12)),
)
def test_it_agrees_with_a_list_of_everything(
    size: int, batches: list[list[int]], asks: set[int]
) -> None:
    window, seen = LatencyWindow(size), list[int]()
    for number, batch in enumerate(batches):
        if len(batch) == 1:
            window.add_one(batch[0])
        else:
            window.add(ns(*batch))
        seen += batch
        if number in asks:
            window.percentiles()
    newest = seen[-size:]
    expected = (
        (nearest_rank(newest, 50), nearest_rank(newest, 99), max(seen)) if seen else (0, 0, 0)
    )
    assert window.percentiles() == expected
    assert window.count == len(seen)
