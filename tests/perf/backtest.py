"""Ticks per second of the one-process backtest: strategy, risk rules and paper fills.

Reading the file is timed apart. Do not compare with vectorised backtests: every tick is handed
to the same Python code that trades live.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from pipeline.backtest import backtest
from pipeline.brokers.recorded.files import read_ticks
from tests.perf.day import day_file, guide_settings


def measure() -> dict[str, float]:
    settings = guide_settings()
    with tempfile.TemporaryDirectory() as folder:
        path = day_file(Path(folder))
        started = time.perf_counter()
        ticks = read_ticks(path, settings.instruments)
        read = time.perf_counter()
        backtest(settings, ticks)
        done = time.perf_counter()
    return {
        "backtest: reading the file, ticks/s": len(ticks) / (read - started),
        "backtest: trading the day, ticks/s": len(ticks) / (done - read),
    }
