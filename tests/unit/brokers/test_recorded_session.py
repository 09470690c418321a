"""A recording hands out each tick once, in order."""

from __future__ import annotations

import pytest

from pipeline.brokers.recorded.session import Recording
from pipeline.testing import make_ticks


@pytest.mark.parametrize("limit", [1, 3, 10, 64])
def test_every_tick_is_given_once_and_in_order(limit: int) -> None:
    ticks = make_ticks([100.0 + n for n in range(10)])
    recording = Recording(ticks.copy())
    given = []
    while not recording.ended:
        rows = recording.next(limit)
        assert 0 < len(rows) <= limit
        given += rows.tolist()
    assert given == ticks.tolist()


def test_nothing_is_given_at_the_end() -> None:
    recording = Recording(make_ticks([1.0]))
    recording.next(1)
    assert recording.ended
    assert len(recording.next(1)) == 0
    assert repr(recording) == "Recording(1 of 1 ticks given)"


def test_who_takes_rows_may_stamp_them() -> None:
    recording = Recording(make_ticks([1.0, 2.0]))
    rows = recording.next(1)
    rows["ts_recv_ns"] = 99
    assert rows["ts_recv_ns"].tolist() == [99]
