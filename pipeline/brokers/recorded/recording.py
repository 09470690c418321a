"""Recordings as they are read: a file, or a day's folder, the journal of a living recorder too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import time_ns

import numpy as np

from pipeline.brokers.recorded.journal import (
    GAPS,
    JOURNAL,
    day_name,
    days_of,
    joined,
    journal_parts,
    kind_of,
    own_directory,
    rows_of,
    settle,
    write_journal,
)
from pipeline.brokers.recorded.parquet import (
    RECORDED_GAP,
    SUFFIX,
    Rows,
    read_file,
    recorded,
    refused,
    ticks_of,
)
from pipeline.settings import Instrument


def is_recording(path: Path) -> bool:
    """Tell whether ``path`` is a Parquet file or a folder."""
    return path.suffix == SUFFIX or path.is_dir()


def read_recording(path: Path, instruments: Sequence[Instrument]) -> Rows:
    """Return the TICK rows of a file, or of a day's folder, in the order in which they were
    recorded; seq, flags and ts_recv_ns are 0.

    Of a folder, the instruments that are configured. Raises TickFileError.
    """
    by_symbol = {row.symbol: index for index, row in enumerate(instruments)}
    found = []
    for symbol, rows in symbols_of(path).items():
        if symbol in by_symbol:
            rows["instrument"] = by_symbol[symbol]
            found.append(rows)
    if not found:
        raise refused(
            path,
            f"no ticks of {', '.join(list(by_symbol)[:3])}",
            "name one of its instruments in [[instruments]]; `tickpipe ticks` lists them",
        )
    return ticks_of(joined(found))


def symbols_of(path: Path, kind: str = "ticks") -> dict[str, Rows]:
    """Return the rows of each symbol in a file or a day's folder. Raises TickFileError."""
    if not path.is_dir():
        rows, about = read_file(path)
        if "instrument" not in about or about["kind"] != kind:
            raise refused(path, f"not the {kind} of one instrument", "name the folder of its day")
        return {str(about["instrument"]["symbol"]): _priced(path, kind, rows)}
    day = day_of(path)
    # The journal first: what a recorder settles meanwhile is then read twice, and never missed.
    journal = rows_of([part for part in journal_parts(day) if kind_of(part) == kind])
    found = {symbol: [rows] for symbol, (rows, _) in journal.items()}
    for file in sorted((day / kind).glob(f"*{SUFFIX}")):
        rows, about = read_file(file)
        found.setdefault(str(about["instrument"]["symbol"]), []).append(rows)
    if not found and kind == "ticks":
        raise refused(path, "no recording in it", "name the folder of a day: YYYY-MM-DD")
    return {symbol: _priced(path, kind, joined(pieces)) for symbol, pieces in found.items()}


def _priced(path: Path, kind: str, rows: Rows) -> Rows:
    """Return the rows. Raises TickFileError where a tick has no price."""
    if kind == "ticks" and (rows["price_e4"] <= 0).any():
        at = int(np.argmax(rows["price_e4"] <= 0))
        what = f"price_e4 {rows['price_e4'][at]} at seq {rows['seq'][at]} is not above 0"
        raise refused(path, what, "record it again, or take that tick out")
    return rows


def gaps_of(path: Path) -> Rows:
    """Return the gaps of a day's folder as RECORDED_GAP rows; none of a file."""
    if not path.is_dir():
        return np.zeros(0, RECORDED_GAP)
    day = day_of(path)
    files = [part for part in journal_parts(day) if kind_of(part) == GAPS]
    files += [file for file in (day / f"{GAPS}{SUFFIX}",) if file.exists()]
    return joined([np.zeros(0, RECORDED_GAP), *(read_file(file)[0] for file in files)])


def day_of(path: Path) -> Path:
    """Return the folder of one day: ``path``, or the only day in it."""
    if any((path / part).exists() for part in ("ticks", JOURNAL)):
        return path
    days = sorted(p for p in path.iterdir() if p.is_dir())
    if len(days) > 1:
        names = ", ".join(day.name for day in days[:5])
        raise refused(path, f"{len(days)} days: {names}", f"name one: {days[-1]}")
    return days[0] if days else path


def write_recording(directory: Path, ticks: Rows, instruments: Sequence[Instrument]) -> list[Path]:
    """Write TICK rows as a recording that was made now; return the folders of its days.

    Raises OSError, and AlreadyRunning where a recorder writes there.
    """
    recording_ns = time_ns()
    rows = recorded("ticks", ticks, recording_ns)
    rows["seq"] = np.arange(1, len(rows) + 1)
    lock = own_directory(directory)
    try:
        write_journal(directory, f"{recording_ns}-000001", "ticks", rows, instruments)
        days = [directory / day_name(day) for day in np.unique(days_of(rows)).tolist()]
        for day in days:
            settle(day)
    finally:
        lock.close()
    return days
