"""The options of [recorder]: whether ticks are written to Parquet, and how often."""

from __future__ import annotations

from pathlib import Path

from pipeline.settings.kinds import Number, Section, Whole, option


class RecorderSettings(Section):
    """Ticks and gaps as Parquet files, written by a process of their own."""

    directory: Path | None = option(
        "Where recordings go, a folder for each day; unset records nothing", default=None
    )
    flush_seconds_max: Number = option(
        "A recorder that is killed loses at most the ticks of this long",
        unit="s",
        default=5.0,
        gt=0,
    )
    flush_ticks_max: Whole = option(
        "and at most so many", unit="ticks", default=100_000, ge=1, le=10_000_000
    )
    restarts_max: Whole = option(
        "Times in a run that a recorder which was killed is started again; it goes on with the "
        "recording",
        default=3,
        ge=0,
    )
