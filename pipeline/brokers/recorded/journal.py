"""A directory of recordings, as it is written: a folder for each day of IST.

    DIRECTORY/2026-11-23/ticks/NIFTY25NOVFUT.parquet    ticks of one instrument
                         depth/NIFTY25NOVFUT.parquet    its depth, where depth was recorded
                         gaps.parquet                   what is known to be missing, if anything is
                         journal/…                      what a recorder has not settled yet
              recording-….json                          what one recorder counted
              recorder.lock                             held by the one that records here

While it records, a recorder writes small files of all instruments, each whole: a Parquet file
without its end cannot be read, so one that grows would be lost with its writer. ``settle`` puts
the journal into the files of the instruments; done twice it changes nothing, because a row is
known by its recording and its seq.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.recorded.parquet import (
    KINDS,
    SUFFIX,
    Rows,
    arrow,
    read_about,
    read_file,
    times_of,
    write_file,
)
from pipeline.channels.locks import OwnerLock, lock_pid
from pipeline.errors import AlreadyRunning, UsageError, explain
from pipeline.settings import Instrument

GAPS = "gaps"
JOURNAL = "journal"
LOCK = "recorder.lock"
ROWS_AT_ONCE = 2_000_000  # of a journal in memory, unless one instrument has more

_DAY_NS = 86_400 * 1_000_000_000
_IST_NS = 19_800 * 1_000_000_000


def check_ready(directory: Path) -> None:
    """Raise UsageError or AlreadyRunning where nobody could record to ``directory`` now."""
    arrow()
    try:
        own_directory(directory).close()
    except OSError as error:
        raise UsageError(
            explain(
                f"{directory}: {error.strerror}",
                rule="recordings go to a directory that can be made and written",
                cure="correct recorder.directory",
            )
        ) from None


def own_directory(directory: Path) -> OwnerLock:
    """Return the lock of the one that writes there. Raises AlreadyRunning and OSError."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        return OwnerLock(directory / LOCK)
    except AlreadyRunning:
        raise _taken(directory) from None


def _taken(directory: Path) -> AlreadyRunning:
    return AlreadyRunning(
        explain(
            f"{directory}: process {lock_pid(directory / LOCK)} records there",
            rule="one recorder writes to a directory at a time",
            cure="stop that one, or give this run another recorder.directory",
        )
    )


# Writing -------------------------------------------------------------------------------------


def days_of(rows: Rows) -> NDArray[np.int64]:
    """Return the day of each row, in days since 1970 of IST.

    By the exchange's time, by that of receipt where the broker sent none; a gap's by its end.
    """
    if "ended_epoch_ns" in (rows.dtype.names or ()):
        times = rows["ended_epoch_ns"]
    else:
        times = times_of(rows)
    days: NDArray[np.int64] = (times + _IST_NS) // _DAY_NS
    return days


def day_name(day: int) -> str:
    return f"{datetime.fromtimestamp(day * 86_400, UTC):%Y-%m-%d}"


def write_journal(
    directory: Path, name: str, kind: str, rows: Rows, instruments: Sequence[Instrument]
) -> None:
    """Write rows of ``kind`` into the journals of their days, durable when this returns.

    ``name`` is new each time and rises. Raises OSError.
    """
    days = days_of(rows)
    for day in np.unique(days).tolist():
        folder = directory / day_name(day) / JOURNAL
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = rows[days == day]
        about = {"instruments": {} if kind == GAPS else _described(part, instruments)}
        write_file(folder / f"{name}.{kind}{SUFFIX}", kind, part, about)


def last_part(directory: Path, recording_ns: int) -> int:
    """Return the number of the last part that the journals have of a recording, 0 = none."""
    names = directory.glob(f"*/{JOURNAL}/{recording_ns}-*{SUFFIX}")
    return max((int(path.name.split("-")[1].partition(".")[0]) for path in names), default=0)


def _described(rows: Rows, instruments: Sequence[Instrument]) -> dict[str, dict[str, Any]]:
    """Return whose rows there are, by their index, and how many of each."""
    counts = np.bincount(rows["instrument"])
    return {
        str(index): {
            "symbol": instruments[index].symbol,
            "exchange": instruments[index].exchange,
            "token": str(instruments[index].token),
            "lot_size": str(instruments[index].lot_size),
            "tick_size": str(instruments[index].tick_size),
            "rows": int(counts[index]),
        }
        for index in np.flatnonzero(counts).tolist()
    }


def file_name(symbol: str) -> str:
    """Return the name of a symbol's file: one for each symbol, whatever characters it has."""
    return quote(symbol, safe=" &+()").replace(".", "%2E") + SUFFIX


# Settling ------------------------------------------------------------------------------------


def unsettled_days(directory: Path) -> list[Path]:
    return sorted(journal.parent for journal in directory.glob(f"*/{JOURNAL}"))


def settle(day: Path, go_on: Callable[[], bool] = lambda: True) -> bool:
    """Put the journal of ``day`` into the files of its instruments; True when that is done.

    Left when ``go_on``, asked now and then, says no, or killed in between, it is done again from
    the start. Raises TickFileError for a damaged file, and OSError.
    """
    parts = journal_parts(day)
    for kind in KINDS:
        for rows, about in _settled_rows([p for p in parts if kind_of(p) == kind], go_on):
            if not go_on():
                return False
            _merge(settled_path(day, kind, about), kind, rows, about)
    for part in parts:
        part.unlink()
    for left in {*day.glob(".*"), *day.glob("*/.*"), *(day / JOURNAL).iterdir()}:
        left.unlink()  # what a killed writer had not renamed
    (day / JOURNAL).rmdir()
    return True


def settled_path(day: Path, kind: str, about: Mapping[str, Any]) -> Path:
    if kind == GAPS:
        return day / f"{GAPS}{SUFFIX}"
    return day / kind / file_name(about["instrument"]["symbol"])


def journal_parts(day: Path) -> list[Path]:
    """Return the whole files of the journal, oldest first."""
    return sorted(p for p in (day / JOURNAL).glob(f"*{SUFFIX}") if not p.name.startswith("."))


def kind_of(part: Path) -> str:
    return part.name.split(".")[1]


def _settled_rows(
    parts: Sequence[Path], go_on: Callable[[], bool]
) -> Iterator[tuple[Rows, Mapping[str, Any]]]:
    """Yield the rows of each file to settle, and what it says of itself."""
    if parts and kind_of(parts[0]) == GAPS:
        yield np.concatenate([read_file(part)[0] for part in parts]), {}
        return
    for symbols in _groups(_rows_by_symbol(parts)):
        for rows, instrument in rows_of(parts, symbols, go_on).values():
            yield rows, {"instrument": instrument}


def _rows_by_symbol(parts: Sequence[Path]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for part in parts:
        for instrument in read_about(part)["instruments"].values():
            symbol = instrument["symbol"]
            counts[symbol] = instrument["rows"] + (counts[symbol] if symbol in counts else 0)
    return counts


def _groups(counts: Mapping[str, int]) -> Iterator[set[str]]:
    """Yield all symbols, in groups of which each has so few rows that memory holds them."""
    group: set[str] = set()
    rows = 0
    for symbol, count in counts.items():
        if group and rows + count > ROWS_AT_ONCE:
            yield group
            group, rows = set(), 0
        group.add(symbol)
        rows += count
    if group:
        yield group


def rows_of(
    parts: Sequence[Path], symbols: set[str] | None = None, go_on: Callable[[], bool] = lambda: True
) -> dict[str, tuple[Rows, Mapping[str, Any]]]:
    """Return the rows of ``symbols``, or of all, and what instrument each is."""
    pieces: dict[str, list[Rows]] = {}
    described: dict[str, Mapping[str, Any]] = {}
    for part in parts:
        go_on()  # its answer is looked at before anything is written
        rows, about = read_file(part)
        for index, instrument in about["instruments"].items():
            symbol = instrument["symbol"]
            if symbols is None or symbol in symbols:
                pieces.setdefault(symbol, []).append(rows[rows["instrument"] == int(index)])
                described[symbol] = {k: v for k, v in instrument.items() if k != "rows"}
    return {symbol: (np.concatenate(pieces[symbol]), described[symbol]) for symbol in pieces}


def _merge(path: Path, kind: str, rows: Rows, about: Mapping[str, Any]) -> None:
    """Add ``rows`` to the file at ``path``; a row that it has is not added again."""
    path.parent.mkdir(exist_ok=True, mode=0o700)
    before = [read_file(path)[0]] if path.exists() else []
    write_file(path, kind, joined([*before, rows]), about)


def joined(pieces: Sequence[Rows]) -> Rows:
    """Return all rows once, in the order in which they were recorded."""
    rows = np.concatenate(pieces)
    rows = rows[np.lexsort((rows["seq"], rows["recording_ns"]))]
    new = np.ones(len(rows), bool)
    new[1:] = (np.diff(rows["recording_ns"]) != 0) | (rows["seq"][1:] != rows["seq"][:-1])
    return rows[new]
