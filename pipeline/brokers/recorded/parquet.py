"""Recordings as Parquet: a folder for each day, a file for each instrument, one for the gaps.

    DIRECTORY/2026-11-23/NIFTY25NOVFUT.parquet    ticks of one instrument
                         gaps.parquet             what is known to be missing, if anything is
                         journal/…                what a recorder is writing, or was when it died

While it records, a recorder writes small files of all instruments, each whole, synced and then
renamed: a Parquet file without its end cannot be read, so one that grows would be lost with its
writer. ``settle`` puts the journal into the files of the instruments; done twice it changes
nothing, because a tick is known by its recording and its seq.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import time_ns
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import TickFileError, UsageError, explain
from pipeline.records import GAP, TICK
from pipeline.settings import Instrument

SUFFIX = ".parquet"
GAPS = "gaps"
JOURNAL = "journal"
VERSION = "1"

_DAY_NS = 86_400 * 1_000_000_000
_IST_NS = 19_800 * 1_000_000_000
_META = b"tickpipe"

# A row of a file: a TICK with what a recording must know beside it.
RECORDED = np.dtype(
    [
        ("recording_ns", "<i8"),  # when the recorder started, epoch: whose seqs these are
        ("seq", "<u8"),
        ("ts_event_ns", "<i8"),  # as in TICK
        ("ts_recv_epoch_ns", "<i8"),  # when the feed had it in hand, by CLOCK_REALTIME
        ("price_e4", "<i8"),
        ("instrument", "<u2"),  # in a journal only
        ("flags", "<u2"),
        ("quantity", "<u4"),
        ("day_volume", "<u8"),
        ("bid_e4", "<i8"),
        ("ask_e4", "<i8"),
    ]
)
_OF_TICK = [name for name in TICK.names or () if name in (RECORDED.names or ())]
GAP_ROW = np.dtype([("recording_ns", "<i8"), *[(n, GAP[n].str) for n in GAP.names or ()]])


def arrow() -> tuple[Any, Any]:
    """Return pyarrow and its Parquet. Raises UsageError where they are not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError(
            explain(
                "Parquet needs the package pyarrow, which is not installed",
                rule="recordings are Parquet files",
                cure="pip install 'tickpipe[record]'; or use CSV",
            )
        ) from None
    return pyarrow, pyarrow.parquet


# Writing -------------------------------------------------------------------------------------


def recorded(ticks: NDArray[np.void], recording_ns: int, ahead_ns: int) -> NDArray[np.void]:
    """Return TICK rows as RECORDED rows; ``ahead_ns`` is CLOCK_REALTIME − CLOCK_MONOTONIC."""
    rows = np.zeros(len(ticks), RECORDED)
    for name in _OF_TICK:
        rows[name] = ticks[name]
    rows["recording_ns"] = recording_ns
    rows["ts_recv_epoch_ns"] = ticks["ts_recv_ns"] + ahead_ns
    return rows


def days_of(rows: NDArray[np.void]) -> NDArray[np.int64]:
    """Return the day of each RECORDED row, in days since 1970 of IST.

    By the exchange's time, by that of receipt where the broker sent none.
    """
    times = np.where(rows["ts_event_ns"] > 0, rows["ts_event_ns"], rows["ts_recv_epoch_ns"])
    days: NDArray[np.int64] = (times + _IST_NS) // _DAY_NS
    return days


def day_name(day: int) -> str:
    return f"{datetime.fromtimestamp(day * 86_400, UTC):%Y-%m-%d}"


def write_journal(
    directory: Path,
    name: str,
    rows: NDArray[np.void],
    gaps: NDArray[np.void],
    instruments: Sequence[Instrument],
) -> None:
    """Write RECORDED rows and GAP rows, durable when this returns, into the journals of their days.

    ``name`` is new each time and rises. Raises OSError.
    """
    meta = {"instruments": [described(row) for row in instruments]}
    days = days_of(rows)
    for day in np.unique(days).tolist():
        folder = directory / day_name(day) / JOURNAL
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(folder / f"{name}{SUFFIX}", rows[days == day], meta)
    for row in gaps:
        day = (int(row["ended_epoch_ns"]) + _IST_NS) // _DAY_NS
        folder = directory / day_name(day) / JOURNAL
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(folder / f"{GAPS}-{name}-{int(row['seq'])}{SUFFIX}", row.reshape(1), meta)


def described(instrument: Instrument) -> dict[str, str]:
    return {
        "symbol": instrument.symbol,
        "exchange": instrument.exchange,
        "token": str(instrument.token),
        "lot_size": str(instrument.lot_size),
        "tick_size": str(instrument.tick_size),
    }


def _write(path: Path, rows: NDArray[np.void], meta: Mapping[str, Any]) -> None:
    """Write ``rows`` so that the file is there whole or not at all."""
    pyarrow, parquet = arrow()
    columns = {name: _column(rows[name]) for name in rows.dtype.names or ()}
    table = pyarrow.table(columns)
    described_by = {_META: json.dumps({"version": VERSION, **meta}).encode()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            parquet.write_table(table.replace_schema_metadata(described_by), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _column(values: NDArray[Any]) -> Any:
    return [v.decode() for v in values.tolist()] if values.dtype.kind == "S" else values.copy()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def settle(day: Path) -> int:
    """Put the journal of ``day`` into the files of its instruments; return its parts.

    Killed in between, it is done again from the start. Raises TickFileError for a broken part.
    """
    parts = journal_parts(day)
    for symbol, rows, meta in _by_symbol(part for part in parts if not _is_gaps(part)):
        _merge(day / f"{file_name(symbol)}{SUFFIX}", rows, meta)
    gaps = [_read(part)[0] for part in parts if _is_gaps(part)]
    if gaps:
        _merge(day / f"{GAPS}{SUFFIX}", np.concatenate(gaps), {})
    for part in parts:
        part.unlink()
    if (day / JOURNAL).is_dir():
        for left in (day / JOURNAL).iterdir():
            left.unlink()  # what a killed writer had not renamed
        (day / JOURNAL).rmdir()
    return len(parts)


def journal_parts(day: Path) -> list[Path]:
    """Return the whole files of the journal, oldest first."""
    return sorted(p for p in (day / JOURNAL).glob(f"*{SUFFIX}") if not p.name.startswith("."))


def _is_gaps(part: Path) -> bool:
    return part.name.startswith(f"{GAPS}-")


def _by_symbol(
    parts: Iterable[Path],
) -> Iterable[tuple[str, NDArray[np.void], Mapping[str, Any]]]:
    found: dict[str, tuple[list[NDArray[np.void]], Mapping[str, Any]]] = {}
    for part in parts:
        rows, meta = _read(part)
        for index in np.unique(rows["instrument"]).tolist():
            instrument = meta["instruments"][index]
            pieces, _ = found.setdefault(instrument["symbol"], ([], {"instrument": instrument}))
            pieces.append(rows[rows["instrument"] == index])
    for symbol, (pieces, about) in found.items():
        yield symbol, np.concatenate(pieces), about


def _merge(path: Path, rows: NDArray[np.void], meta: Mapping[str, Any]) -> None:
    """Add ``rows`` to the file at ``path``; a row that it has is not added again."""
    if path.exists():
        rows = np.concatenate([_read(path)[0].astype(rows.dtype), rows])
    order = np.lexsort((rows["seq"], rows["recording_ns"]))
    rows = rows[order]
    new = np.ones(len(rows), bool)
    new[1:] = (np.diff(rows["recording_ns"]) != 0) | (np.diff(rows["seq"].view("<i8")) != 0)
    rows = rows[new]
    if "instrument" in (rows.dtype.names or ()):
        rows["instrument"] = 0
    _write(path, rows, meta)


def file_name(symbol: str) -> str:
    return quote(symbol, safe=" &+()")


# Reading -------------------------------------------------------------------------------------


def is_recording(path: Path) -> bool:
    """Tell whether ``path`` is a Parquet file or a folder of a day."""
    return path.suffix == SUFFIX or path.is_dir()


def read_recording(path: Path, instruments: Sequence[Instrument]) -> NDArray[np.void]:
    """Return the TICK rows of a file, or of a day's folder, in the order in which they were
    recorded; seq, flags and ts_recv_ns are 0.

    Of a folder, the instruments that are configured. Raises TickFileError.
    """
    found = []
    by_symbol = {row.symbol: index for index, row in enumerate(instruments)}
    for symbol, rows in symbols_of(path).items():
        if symbol in by_symbol:
            rows["instrument"] = by_symbol[symbol]
            found.append(rows)
    if not found:
        raise _refused(
            path,
            f"no ticks of {', '.join(list(by_symbol)[:3])}",
            "name one of its instruments in [[instruments]]; `tickpipe ticks` lists them",
        )
    rows = np.concatenate(found)
    rows = rows[np.lexsort((rows["seq"], rows["recording_ns"]))]
    ticks = np.zeros(len(rows), TICK)
    for name in _OF_TICK:
        if name not in ("seq", "flags"):
            ticks[name] = rows[name]
    return ticks


def symbols_of(path: Path) -> dict[str, NDArray[np.void]]:
    """Return the RECORDED rows of each symbol; those of a journal that nobody settled too."""
    if path.is_dir():
        files = [p for p in _day(path).glob(f"*{SUFFIX}") if p.stem != GAPS]
        found = {str(m["instrument"]["symbol"]): r for r, m in map(_read, sorted(files))}
        parts = [part for part in journal_parts(_day(path)) if not _is_gaps(part)]
        for symbol, rows, _ in _by_symbol(parts):
            found[symbol] = np.concatenate([found[symbol], rows]) if symbol in found else rows
        if not found:
            raise _refused(path, "no recording in it", "name the folder of a day: YYYY-MM-DD")
        return found
    rows, meta = _read(path)
    if "instrument" not in meta:
        raise _refused(path, "a part of a journal", "name the folder of its day")
    return {str(meta["instrument"]["symbol"]): rows}


def gaps_of(path: Path) -> NDArray[np.void]:
    """Return the gaps of a day's folder as GAP_ROW rows."""
    if not path.is_dir():
        return np.zeros(0, GAP_ROW)
    day = _day(path)
    files = [p for p in (day / f"{GAPS}{SUFFIX}",) if p.exists()]
    files += [part for part in journal_parts(day) if _is_gaps(part)]
    return np.concatenate([np.zeros(0, GAP_ROW), *(_read(p)[0] for p in files)])


def _day(path: Path) -> Path:
    """Return the folder of one day: ``path``, or the only one in it."""
    days = sorted(p for p in path.iterdir() if p.is_dir() and p.name != JOURNAL)
    if not days:
        return path
    if len(days) > 1:
        names = ", ".join(day.name for day in days[:5])
        raise _refused(path, f"{len(days)} days: {names}", f"name one: {days[-1]}")
    return days[0]


def _read(path: Path) -> tuple[NDArray[np.void], Mapping[str, Any]]:
    """Return the rows of a file of ours and what it says of itself."""
    pyarrow, parquet = arrow()
    try:
        table = parquet.read_table(path)
        meta = json.loads((table.schema.metadata or {})[_META])
    except FileNotFoundError:
        raise _refused(path, "no such file", "name an existing recording") from None
    except KeyError:
        raise _refused(path, "not written by tickpipe", "name a recording of tickpipe") from None
    except (OSError, pyarrow.ArrowException, ValueError) as error:
        what = f"cannot be read: {str(error).splitlines()[0]}"
        raise _refused(path, what, "it is cut short or damaged: copy or record it again") from None
    if meta["version"] != VERSION:
        what = f"version {meta['version']}, this program reads {VERSION}"
        raise _refused(path, what, "use the program that wrote it")
    dtype = GAP_ROW if "reason" in table.column_names else RECORDED
    if tuple(table.column_names) != dtype.names:
        raise _refused(path, "other columns than a recording has", "name a recording of tickpipe")
    rows = np.zeros(len(table), dtype)
    for name in table.column_names:
        rows[name] = table[name].to_pylist() if name == "reason" else table[name].to_numpy()
    return rows, meta


def _refused(path: Path, what: str, cure: str) -> TickFileError:
    return TickFileError(
        explain(f"{path}: {what}", rule="a recording is a Parquet file that is whole", cure=cure)
    )


# From and to CSV -----------------------------------------------------------------------------


def write_recording(
    directory: Path, ticks: NDArray[np.void], instruments: Sequence[Instrument]
) -> list[Path]:
    """Write TICK rows as a recording that was made now; return the folders of its days."""
    recording_ns = time_ns()
    rows = recorded(ticks, recording_ns, 0)
    rows["seq"] = np.arange(1, len(rows) + 1)
    write_journal(directory, f"{recording_ns}-000001", rows, np.zeros(0, GAP), instruments)
    days = [directory / day_name(day) for day in np.unique(days_of(rows)).tolist()]
    for day in days:
        settle(day)
    return days
