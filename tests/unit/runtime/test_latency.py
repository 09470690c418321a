from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.records import HEARTBEAT, Stage
from pipeline.runtime.latency import NOTHING, Latency, LatencyHistogram, Stages, measured

NS_MAX = 2**63 - 1


def ns(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def nearest_rank(values: list[int], thousandths: int) -> int:
    return sorted(values)[-(-len(values) * thousandths // 1_000) - 1]


def test_nothing_added_is_told_as_such() -> None:
    assert LatencyHistogram().latency() == NOTHING
    assert str(NOTHING) == "n/a (nothing measured)"


def test_one_value_is_every_percentile() -> None:
    histogram = LatencyHistogram()
    histogram.add_one(70_001)
    assert histogram.latency() == Latency(1, 70_001, 70_001, 70_001, 70_001, 70_001)


def test_below_256_ns_percentiles_are_values_that_were_measured() -> None:
    histogram = LatencyHistogram()
    histogram.add(np.arange(1, 201, dtype=np.int64)[::-1])
    assert histogram.latency() == Latency(200, 100, 180, 198, 200, 200)


def test_the_whole_day_counts_not_only_the_newest() -> None:
    histogram = LatencyHistogram()
    histogram.add(np.full(900_000, 50, np.int64))
    histogram.add(np.full(100_000, 200, np.int64))
    assert histogram.latency() == Latency(1_000_000, 50, 50, 200, 200, 200)


def test_one_outlier_among_many_is_the_maximum_exactly() -> None:
    histogram = LatencyHistogram()
    histogram.add_one(987_654_321)
    histogram.add(np.full(5_000, 10, np.int64))
    assert histogram.latency() == Latency(5_001, 10, 10, 10, 10, 987_654_321)


def test_a_clock_that_is_behind_gives_0() -> None:
    histogram = LatencyHistogram()
    histogram.add(ns(-5, -(2**62)))
    assert histogram.latency() == Latency(2, 0, 0, 0, 0, 0)


def test_the_caller_keeps_its_batch() -> None:
    histogram, batch = LatencyHistogram(), ns(3, -1, 2)
    histogram.add(batch)
    batch[:] = 9
    assert histogram.latency().max_ns == 3
    assert batch.tolist() == [9, 9, 9]


def test_asking_changes_nothing() -> None:
    histogram = LatencyHistogram()
    histogram.add(ns(5, 4, 3, 2, 1))
    assert histogram.latency() == histogram.latency() == Latency(5, 3, 5, 5, 5, 5)
    histogram.add_one(9)
    assert histogram.latency() == Latency(6, 3, 9, 9, 9, 9)


def test_a_latency_reads_in_microseconds() -> None:
    assert str(Latency(12_345, 50_400, 61_000, 99_000, 1_234_500, 9_000_000)) == (
        "p50 50.4, p90 61.0, p99 99.0, p99.9 1,234.5, max 9,000.0 us of 12,345"
    )


@given(
    batches=st.lists(
        st.lists(st.integers(0, NS_MAX) | st.integers(0, 100_000), max_size=25), max_size=12
    ),
    repeats=st.sampled_from([1, 40, 1_500]),
)
def test_it_agrees_with_a_list_of_everything_to_a_128th(
    batches: list[list[int]], repeats: int
) -> None:
    histogram, seen = LatencyHistogram(), list[int]()
    for batch in batches:
        if len(batch) == 1:
            histogram.add_one(batch[0])
            seen += batch
        else:
            histogram.add(ns(*batch * repeats))
            seen += batch * repeats
    found = histogram.latency()
    assert found.samples == len(seen)
    for thousandths, value in zip((500, 900, 990, 999), found[1:5], strict=True):
        exact = nearest_rank(seen, thousandths) if seen else 0
        assert exact <= value <= exact + exact / 128
    assert found.max_ns == max(seen, default=0)


@pytest.mark.parametrize("value", [0, 1, 255, 256, 257, 2**53 + 1, 2**62, NS_MAX - 1, NS_MAX])
def test_every_value_has_a_bucket(value: int) -> None:
    histogram = LatencyHistogram()
    histogram.add_one(value)
    histogram.add_one(NS_MAX)
    assert value <= histogram.latency().p50_ns <= value + value // 128


def beat(stages: Stages) -> NDArray[np.void]:
    row = np.zeros(1, HEARTBEAT)
    row["latency"] = stages.row()
    return row


def test_a_heartbeat_carries_every_stage_of_its_process() -> None:
    feed, risk = Stages(Stage.FEED_TO_RING), Stages(Stage.FEED_TO_RISK, Stage.TICK_TO_ORDER)
    feed[Stage.FEED_TO_RING].add_one(11)
    risk[Stage.FEED_TO_RISK].add(ns(1, 2, 3))
    known = measured([beat(feed), beat(risk)])
    assert list(known) == list(Stage)
    assert known[Stage.FEED_TO_RING] == Latency(1, 11, 11, 11, 11, 11)
    assert known[Stage.FEED_TO_RISK] == Latency(3, 2, 3, 3, 3, 3)
    assert known[Stage.TICK_TO_ORDER] == known[Stage.FEED_TO_STRATEGY] == NOTHING


def test_without_a_heartbeat_nothing_was_measured() -> None:
    assert measured([]) == dict.fromkeys(Stage, NOTHING)
