"""What the feed measures of the ticks that it carries."""

from __future__ import annotations

from time import monotonic_ns, time_ns

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.feed.process import _Times
from pipeline.records import TICK, Stage

LATE_NS = 3_600_000_000_000  # an hour: whatever the machine does, it is less


def published(event_ns: int, count: int = 3) -> NDArray[np.void]:
    rows = np.zeros(count, TICK)
    rows["ts_recv_ns"] = monotonic_ns()
    rows["ts_event_ns"] = event_ns
    return rows


def test_a_batch_is_measured_once_from_the_exchange_s_clock_to_ours() -> None:
    times = _Times(is_live=True)
    times.note(published(time_ns() - LATE_NS))
    latencies = times.stages.latencies()
    assert latencies[Stage.FEED_TO_RING].samples == 1
    assert latencies[Stage.EXCHANGE_TO_FEED].samples == 1
    assert LATE_NS / 2 < latencies[Stage.EXCHANGE_TO_FEED].max_ns < 2 * LATE_NS


@pytest.mark.parametrize(("is_live", "event_ns"), [(False, 1), (True, 0)])
def test_a_recording_or_a_tick_without_a_time_says_nothing_of_the_exchange(
    is_live: bool, event_ns: int
) -> None:
    times = _Times(is_live=is_live)
    times.note(published(event_ns))
    assert times.stages.latencies()[Stage.EXCHANGE_TO_FEED].samples == 0
