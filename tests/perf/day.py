"""The day that benchmarks play: the recorded one where it is there, else a generated one."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from pipeline.brokers.recorded.files import write_ticks
from pipeline.settings import Settings, load_settings
from pipeline.simulator.generator import generate_day

ROOT = Path(__file__).resolve().parent.parent.parent
RECORDED = ROOT.parent / "shared/data/nse_ticks/live_ticks_20251001_NIFTY_option.csv.gz"
GUIDE = ROOT / "configs" / "guide.toml"


def guide_settings(*overrides: str) -> Settings:
    return load_settings(GUIDE, overrides)


def day_file(folder: Path) -> Path:
    """Return the recorded day, or write a generated one of the same length into ``folder``."""
    if RECORDED.exists():
        return RECORDED
    path = folder / "day.csv"
    write_ticks(path, generate_day(seed=7, date=date(2026, 1, 5), ticks_per_instrument=32_591))
    return path
