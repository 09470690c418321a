"""The source of ticks of the throughput, without its processes."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.records import TICK
from tests.perf.compare.throughput import Frames

RATE = 1_000_000


@pytest.mark.parametrize("limit", [7, 256])
def test_every_tick_comes_once_with_its_intended_time(limit: int) -> None:
    ticks = np.zeros(1_001, TICK)
    ticks["seq"] = np.arange(1, len(ticks) + 1)
    source = Frames(ticks, RATE)
    received = []
    while not source.ended:
        rows = source.receive(limit)
        assert len(rows) <= limit
        received.append(rows.copy())
    whole = np.concatenate(received)
    assert whole["seq"].tolist() == ticks["seq"].tolist()
    assert set(np.diff(whole["ts_recv_ns"]).tolist()) == {1_000_000_000 // RATE}
