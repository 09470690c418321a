"""Trades that are known to be right, and the generated day whose trades are stored.

``python -m tests.system.golden`` trades that day in a backtest and stores the trades anew.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import numpy as np

from pipeline.backtest import backtest
from pipeline.brokers.recorded.files import read_ticks, write_ticks
from pipeline.results.files import read_results
from pipeline.settings import load_settings
from pipeline.simulator.generator import generate_day

STORED = Path(__file__).parent / "data" / "generated_day_trades.csv"
GUIDE = Path(__file__).resolve().parent.parent.parent / "configs" / "guide.toml"
COLUMNS = ("entry_price", "exit_price", "quantity", "gross_pnl", "exit_charges", "exit_reason")
TICKS = 6_000


def write_day(path: Path, ticks: int = TICKS) -> Path:
    """Write the first ``ticks`` ticks of the day to ``path`` and return it."""
    day = generate_day(seed=2026, date=date(2026, 1, 5), ticks_per_instrument=TICKS, lot_size=75)
    write_ticks(path, day[:ticks])
    return path


def write_steady_day(path: Path) -> Path:
    """Write a day with a tick every second: 100 times real time is 100 ticks a second, from the
    first, for two minutes."""
    day = generate_day(seed=2026, date=date(2026, 1, 5), ticks_per_instrument=12_000, lot_size=75)
    first_ns = int(day["ts_event_ns"][0])
    day["ts_event_ns"] = first_ns + np.arange(len(day)) * 1_000_000_000
    write_ticks(path, day)
    return path


def golden_trades() -> list[tuple[str, ...]]:
    """Return the stored trades, with the columns of COLUMNS."""
    with STORED.open() as file:
        return [row_of(row) for row in csv.DictReader(file)]


def row_of(trade: Mapping[str, str]) -> tuple[str, ...]:
    """Return what a trade is compared by: COLUMNS, numbers with two decimals."""
    *numbers, reason = (trade[name] for name in COLUMNS)
    return (*(f"{float(number):.2f}" for number in numbers), reason)


def first_exit_seq() -> int:
    """Return the tick of the first exit."""
    with STORED.open() as file:
        return int(next(csv.DictReader(file))["exit_seq"])


def write_golden(folder: Path) -> None:
    """Trade the day in a backtest and store what came of it."""
    settings = load_settings(GUIDE, [f'run.results_dir="{folder}"'])
    ticks = read_ticks(write_day(folder / "day.csv"), settings.instruments)
    path = backtest(settings, ticks).write(settings, source="generated")
    _, trades = read_results(path)
    with STORED.open("w", newline="") as file:
        names = (*COLUMNS, "exit_seq")
        writer = csv.DictWriter(file, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(trades)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        write_golden(Path(name))
