"""Whatever is recorded, in whatever parts, comes back once and exactly."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

from pipeline.brokers.recorded.journal import settle, unsettled_days, write_journal
from pipeline.brokers.recorded.parquet import recorded
from pipeline.brokers.recorded.recording import symbols_of
from pipeline.records import TICK
from pipeline.testing import make_instrument

INSTRUMENTS = [make_instrument(symbol=f"S{n}", token=str(n)) for n in range(3)]
DAY_NS = 86_400 * 10**9
TICKS = of_numpy.arrays(TICK, st.integers(1, 30))


@settings(max_examples=40, deadline=None)
@given(ticks=TICKS, parts=st.integers(1, 4), half_way=st.integers(0, 3))
def test_a_recording_comes_back_exactly(ticks: np.ndarray, parts: int, half_way: int) -> None:
    ticks["seq"] = np.arange(1, len(ticks) + 1)
    ticks["instrument"] %= 3
    ticks["price_e4"] = ticks["price_e4"] % 2**62 + 1
    ticks["ts_event_ns"] = ticks["ts_event_ns"] % (3 * DAY_NS) + 1  # up to four days of IST
    with tempfile.TemporaryDirectory() as folder:
        for number, rows in enumerate(np.array_split(ticks, parts)):
            if len(rows):
                rows = recorded("ticks", rows, 1, 0)
                write_journal(Path(folder), f"1-{number:06}", "ticks", rows, INSTRUMENTS)
            if number == half_way:
                assert all(map(settle, unsettled_days(Path(folder))))
        days = [d for d in Path(folder).iterdir() if d.is_dir()]
        found = [r for day in days for r in symbols_of(day).values()]
        rows = np.concatenate(found)
        rows = rows[np.argsort(rows["seq"])]
        for name in set(rows.dtype.names or ()) & set(TICK.names or ()) - {"instrument"}:
            assert (rows[name] == ticks[name]).all(), name
