"""One Parquet file of a recording: its columns, and how it is written whole and read back.

What a file says of itself stands under ``tickpipe`` in its schema's metadata, as JSON.
"""

from __future__ import annotations

import json
import os
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
                cure="pip install 'tickpipe[record]'; or record nothing, and use CSV",
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

    A tick without the exchange's time has that of its receipt.
    """
    ticks = np.zeros(len(rows), TICK)
    for name in TICK.names or ():
        if name in (rows.dtype.names or ()) and name not in ("seq", "flags"):
            ticks[name] = rows[name]
    untimed = ticks["ts_event_ns"] == 0
    ticks["ts_event_ns"][untimed] = rows["ts_recv_epoch_ns"][untimed]
    return ticks


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
    kind = about["kind"]
    if tuple(table.column_names) != _columns(kind, about):
        raise refused(path, "other columns than a recording has", "name a recording of tickpipe")
    rows = np.zeros(len(table), KINDS[kind])
    for name in table.column_names:
        _check_column(path, kind, name, table[name])
        rows[name] = table[name].to_pylist() if name == "reason" else table[name].to_numpy()
    if kind == "ticks" and len(rows) and rows["price_e4"].min() <= 0:
        what = f"price_e4 {rows['price_e4'].min()} is not above 0"
        raise refused(path, what, "it is damaged, or was not written by tickpipe")
    return rows, about


def _check_column(path: Path, kind: str, name: str, column: Any) -> None:
    pyarrow, _ = arrow()
    number = KINDS[kind][name]
    expected = pyarrow.string() if number.kind == "S" else pyarrow.from_numpy_dtype(number)
    if column.type != expected or column.null_count:
        what = f"column {name} is {column.type} with {column.null_count} nulls, not {expected}"
        raise refused(path, what, "name a recording of tickpipe")


def read_about(path: Path) -> Mapping[str, Any]:
    """Return what a file says of itself; the errors are those of ``read_file``."""
    _, parquet = arrow()
    metadata = _unless_damaged(path, lambda: parquet.read_schema(path)).metadata or {}
    if _META not in metadata:
        raise refused(path, "not written by tickpipe", "name a recording of tickpipe")
    about: Mapping[str, Any] = _unless_damaged(path, lambda: json.loads(metadata[_META]))
    if not isinstance(about, dict) or "version" not in about:
        raise refused(path, "it says no version", "name a recording of tickpipe")
    if about["version"] != VERSION:
        what = f"version {about['version']}, this program reads {VERSION}"
        raise refused(path, what, "use the program that wrote it")
    if "kind" not in about or about["kind"] not in KINDS:
        raise refused(path, "it says no kind that there is", "name a recording of tickpipe")
    return about


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
