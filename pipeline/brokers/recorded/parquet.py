"""One Parquet file of a recording: its columns, and how it is written whole and read back.

What a file says of itself stands under ``tickpipe`` in its schema's metadata, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import TickFileError, UsageError, explain
from pipeline.records import DEPTH, GAP, LEVELS, TICK

SUFFIX = ".parquet"
VERSION = "1"
_META = b"tickpipe"

# Whose seqs they are comes first: when that recorder started, epoch. Then the fields of the
# record; ts_recv_epoch_ns is ts_recv_ns by CLOCK_REALTIME; instrument is in a journal only.
_HEAD = [("recording_ns", "<i8"), ("seq", "<u8")]
_TIMES = [("ts_event_ns", "<i8"), ("ts_recv_epoch_ns", "<i8")]
RECORDED_TICK = np.dtype(
    [
        *_HEAD,
        *_TIMES,
        ("price_e4", "<i8"),
        ("instrument", "<u2"),
        ("flags", "<u2"),
        ("quantity", "<u4"),
        ("day_volume", "<u8"),
        ("bid_e4", "<i8"),
        ("ask_e4", "<i8"),
    ]
)
_OF_LEVELS = [name for name in DEPTH.names or () if DEPTH[name].shape == (LEVELS,)]


def _flat(name: str) -> list[str]:
    """Return the columns of a field of five levels, best first: bid_e4_1 to bid_e4_5."""
    return [f"{name}_{level}" for level in range(1, LEVELS + 1)]


RECORDED_DEPTH = np.dtype(
    [
        *_HEAD,
        ("tick_seq", "<u8"),
        *_TIMES,
        ("instrument", "<u2"),
        *(
            (f"{name}_{n}", DEPTH[name].base.str)
            for name in _OF_LEVELS
            for n in range(1, LEVELS + 1)
        ),
    ]
)
RECORDED_GAP = np.dtype(
    [_HEAD[0], *((name, GAP[name].str) for name in GAP.names or () if name != "reserved")]
)
KINDS = {"ticks": RECORDED_TICK, "depth": RECORDED_DEPTH, "gaps": RECORDED_GAP}

Rows = NDArray[np.void]


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
                cure=f"{sys.executable} -m pip install pyarrow; or record nothing, and use CSV",
            )
        ) from None
    return pyarrow, pyarrow.parquet


def recorded(kind: str, rows: Rows, recording_ns: int, ahead_ns: int = 0) -> Rows:
    """Return TICK, DEPTH or GAP rows as rows of a file; ``ahead_ns`` is CLOCK_REALTIME −
    CLOCK_MONOTONIC."""
    result = np.zeros(len(rows), KINDS[kind])
    for name in result.dtype.names or ():
        if name in (rows.dtype.names or ()):
            result[name] = rows[name]
    if kind == "depth":
        for name in _OF_LEVELS:
            for level, column in enumerate(_flat(name)):
                result[column] = rows[name][:, level]
    if kind != "gaps":
        result["ts_recv_epoch_ns"] = rows["ts_recv_ns"] + ahead_ns
    result["recording_ns"] = recording_ns
    return result


def ticks_of(rows: Rows) -> Rows:
    """Return RECORDED_TICK rows as TICK rows; seq, flags and ts_recv_ns are 0.

    The time of receipt is the tick's time where the broker sent none.
    """
    ticks = np.zeros(len(rows), TICK)
    for name in TICK.names or ():
        if name in (rows.dtype.names or ()) and name not in ("seq", "flags"):
            ticks[name] = rows[name]
    ticks["ts_event_ns"] = times_of(rows)
    return ticks


def times_of(rows: Rows) -> NDArray[np.int64]:
    """Return the exchange's time of RECORDED rows, that of receipt where the broker sent none."""
    times: NDArray[np.int64] = np.where(
        rows["ts_event_ns"] > 0, rows["ts_event_ns"], rows["ts_recv_epoch_ns"]
    )
    return times


def write_file(path: Path, kind: str, rows: Rows, about: Mapping[str, Any]) -> None:
    """Write ``rows`` so that the file is there whole and durable, or not at all.

    The column ``instrument`` is left out where ``about`` names the only one. Raises OSError.
    """
    pyarrow, parquet = arrow()
    columns = {name: _column(rows[name]) for name in _columns(kind, about)}
    meta = {_META: json.dumps({"version": VERSION, "kind": kind, **about}).encode()}
    table = pyarrow.table(columns).replace_schema_metadata(meta)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            parquet.write_table(table, file, write_page_checksum=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _columns(kind: str, about: Mapping[str, Any]) -> tuple[str, ...]:
    names = KINDS[kind].names or ()
    return tuple(name for name in names if name != "instrument" or "instrument" not in about)


def _column(values: NDArray[Any]) -> Any:
    return [v.decode() for v in values.tolist()] if values.dtype.kind == "S" else values.copy()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_file(path: Path) -> tuple[Rows, Mapping[str, Any]]:
    """Return the rows of a file of a recording and what it says of itself.

    Raises TickFileError for a file that is damaged, not of a recording, or of another version.
    """
    about = read_about(path)
    _, parquet = arrow()
    table = _unless_damaged(
        path,
        lambda: parquet.read_table(path, partitioning=None, page_checksum_verification=True),
    )
    _check_columns(path, table, about)
    rows = np.zeros(len(table), KINDS[about["kind"]])
    for name in table.column_names:
        rows[name] = _unless_damaged(path, lambda: _values(table[name]))  # noqa: B023
    return rows, about


def _values(column: Any) -> Any:
    pyarrow, _ = arrow()
    return column.to_pylist() if column.type == pyarrow.string() else column.to_numpy()


def _check_columns(path: Path, table: Any, about: Mapping[str, Any]) -> None:
    pyarrow, _ = arrow()
    cure = "name a recording of tickpipe"
    if tuple(table.column_names) != _columns(about["kind"], about):
        raise refused(path, "other columns than a recording has", cure)
    for name in table.column_names:
        field = KINDS[about["kind"]][name]
        wanted = pyarrow.string() if field.kind == "S" else pyarrow.from_numpy_dtype(field)
        if table[name].type != wanted:
            raise refused(path, f"column {name} is {table[name].type}, not {wanted}", cure)
        if table[name].null_count:
            raise refused(path, f"column {name} has {table[name].null_count} empty value(s)", cure)


def read_about(path: Path) -> Mapping[str, Any]:
    """Return what a file says of itself; the errors are those of ``read_file``."""
    _, parquet = arrow()
    metadata = _unless_damaged(path, lambda: parquet.read_schema(path)).metadata or {}
    if _META not in metadata:
        raise refused(path, "not written by tickpipe", "name a recording of tickpipe")
    about: Mapping[str, Any] = _unless_damaged(path, lambda: json.loads(metadata[_META]))
    if not isinstance(about, dict) or not {"version", "kind"} <= about.keys():
        raise _unclear(path, "version and kind")
    if about["version"] != VERSION:
        what = f"version {about['version']}, this program reads {VERSION}"
        raise refused(path, what, "use the program that wrote it")
    if about["kind"] not in KINDS:
        raise _unclear(path, f"a kind of {', '.join(KINDS)}")
    _check_whose(path, about)
    return about


def _check_whose(path: Path, about: Mapping[str, Any]) -> None:
    """Refuse a file that does not say whose rows it has; gaps are of all."""
    if about["kind"] == "gaps":
        return
    if "instrument" in about:
        described = [about["instrument"]]
    elif "instruments" in about and isinstance(about["instruments"], dict):
        described = list(about["instruments"].values())
    else:
        raise _unclear(path, "its instrument")
    for one in described:
        if not (isinstance(one, dict) and "symbol" in one and isinstance(one["symbol"], str)):
            raise _unclear(path, "the symbol of its instrument")
        if "instruments" in about and not ("rows" in one and isinstance(one["rows"], int)):
            raise _unclear(path, "how many rows each instrument has")


def _unclear(path: Path, what: str) -> TickFileError:
    what = f"its metadata do not say {what}"
    return refused(path, what, "name a recording of tickpipe, or record it again")


def _unless_damaged(path: Path, read: Callable[[], Any]) -> Any:
    pyarrow, _ = arrow()
    try:
        return read()
    except FileNotFoundError:
        raise refused(path, "no such file", "name an existing recording") from None
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        what = f"cannot be read: {str(error).splitlines()[0]}"
        cure = "it is cut short or damaged: copy or record it again, or move it away"
        raise refused(path, what, cure) from None


def refused(path: Path, what: str, cure: str) -> TickFileError:
    return TickFileError(
        explain(f"{path}: {what}", rule="a recording is a Parquet file that is whole", cure=cure)
    )
