"""What the feed measures of the ticks that it carries."""

from __future__ import annotations

from pathlib import Path
from time import monotonic_ns, time_ns

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.channels.feed_line import FeedLine
from pipeline.feed.process import _Shell, _Times
from pipeline.records import GAP, TICK, Stage
from pipeline.settings import load_settings


class OneTick:
    """A source of one tick, with which a gap ends."""

    duplicates = refused = skipped = outages = connected = silent = missing_since_ns = 0

    def __init__(self) -> None:
        self.ended = False
        self.ended_gaps: list[NDArray[np.void]] = []

    def receive(self, limit: int) -> NDArray[np.void]:
        if self.ended:
            return np.zeros(0, TICK)
        self.ended = True
        self.ended_gaps.append(np.zeros(1, GAP))
        return published(0, 1)

    def missing(self) -> NDArray[np.void]:
        return np.zeros(0, GAP)

    def close(self) -> None: ...


def test_a_gap_is_on_its_ring_before_the_tick_that_ends_it(
    tmp_path: Path, configs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = f"channels.directory='{tmp_path / 'tickpipe-tests' / 'gap'}'"
    settings = load_settings(configs / "guide.toml", [directory])
    order = []
    with FeedLine(settings) as line:
        publish = line.publish

        def publish_ticks(rows: NDArray[np.void]) -> None:
            order.append((line.gaps.published, line.ticks.published))
            publish(rows)

        monkeypatch.setattr(line, "publish", publish_ticks)
        assert _Shell(settings, OneTick(), line).work() == 1
        assert order == [(1, 0)]
        assert line.ticks.published == 1


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
