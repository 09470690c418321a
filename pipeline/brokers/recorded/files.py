"""Tick files: CSV, plain or .gz, one line per tick.

    timestamp,price,volume[,symbol]
    2025-10-01 09:15:18+05:30,235.85,75

columns.py says what the columns hold. Time never goes back within a file. Values repeat from
line to line, so each distinct text is parsed once.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.recorded.columns import (
    COLUMNS,
    SYMBOL_COLUMN,
    BadValue,
    Parsed,
    default_symbols,
    epoch_ns,
    lines_of,
    price_e4_of,
    shown,
    symbol_parser,
    volume_of,
    went_back,
    wrong_column_count,
)
from pipeline.brokers.recorded.recording import is_recording, read_recording
from pipeline.errors import TickFileError, explain
from pipeline.records import TICK
from pipeline.settings import Instrument

# Reading -------------------------------------------------------------------------------------


def read_ticks(path: Path, instruments: Sequence[Instrument]) -> NDArray[np.void]:
    """Return the TICK rows of the file, in its order; seq and ts_recv_ns are 0.

    Without a symbol column every line belongs to the only instrument. ``day_volume`` is the
    running sum of each instrument's volume. Raises TickFileError with file, line and value.
    A Parquet file or a day's folder of a recorder is read too, see recording.py.
    """
    if is_recording(path):
        return read_recording(path, instruments)
    with _opened(path) as lines:
        header = next(lines, "")
        columns = _columns(path, header, instruments)
        ticks = _rows(path, lines, columns, instruments)
    if not len(ticks):
        raise TickFileError(
            explain(
                f"{path}: line 1: there is a header and no tick",
                rule="a tick file has at least one tick",
                cure="record again, or make one with `tickpipe generate`",
            )
        )
    ticks["day_volume"] = running_volume(ticks["instrument"], ticks["quantity"])
    return ticks


def running_volume(
    instrument: NDArray[np.uint16], quantity: NDArray[np.uint32]
) -> NDArray[np.uint64]:
    """Return for each row the sum of its instrument's quantities up to and with it."""
    order = np.argsort(instrument, kind="stable")
    sums = np.cumsum(quantity[order], dtype=np.uint64)
    starts = np.flatnonzero(np.diff(instrument[order], prepend=-1))
    before = np.repeat(
        sums[starts] - quantity[order][starts], np.diff(np.append(starts, len(order)))
    )
    result = np.empty(len(order), np.uint64)
    result[order] = sums - before
    return result


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[str]]:
    """Give the lines of ``path``; what the operating system or gzip refuses is a TickFileError."""
    try:
        with (
            path.open("rb") as raw,
            gzip.open(raw) if path.suffix == ".gz" else raw as plain,
            # Bytes that are not UTF-8 stay visible and fail as the value that they stand in.
            io.TextIOWrapper(plain, encoding="utf-8-sig", errors="backslashreplace") as lines,
        ):
            yield lines
    except FileNotFoundError:
        raise _file_error(path, "no such file", "name an existing tick file") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _file_error(
            path, f"the .gz is broken or cut short: {error}", "copy or record it again"
        ) from None
    except OSError as error:
        raise _file_error(path, f"{error.strerror}", "name a readable file") from None


def _file_error(path: Path, what: str, cure: str) -> TickFileError:
    return TickFileError(
        explain(f"{path}: {what}", rule="a tick file is a readable CSV, plain or .gz", cure=cure)
    )


def _columns(path: Path, header: str, instruments: Sequence[Instrument]) -> int:
    """Return how many columns the file has."""
    names = tuple(header.rstrip("\n").split(","))
    if names not in (COLUMNS, (*COLUMNS, SYMBOL_COLUMN)):
        what = f"the header is {shown(header)}" if header else "the file is empty"
        raise TickFileError(
            explain(
                f"{path}: line 1: {what}",
                rule=f"the first line is {','.join(COLUMNS)} or the same with ,{SYMBOL_COLUMN}",
                cure="write that line above the first tick",
            )
        )
    if len(instruments) > 1 and len(names) == len(COLUMNS):
        raise TickFileError(
            explain(
                f"{path}: line 1: {len(instruments)} instruments are configured and the file "
                f"has no {SYMBOL_COLUMN} column",
                rule="a file for several instruments says which one each tick belongs to",
                cure="add the column, or configure one instrument",
            )
        )
    return len(names)


def _rows(
    path: Path, lines: Iterator[str], columns: int, instruments: Sequence[Instrument]
) -> NDArray[np.void]:
    """Parse the lines after the header. One loop, because a day has 10⁴ to 10⁶ of them."""
    prices, volumes = Parsed(price_e4_of), Parsed(volume_of)
    symbols = Parsed(symbol_parser(instruments))
    times_ns: list[int] = []
    values: tuple[list[int], list[int], list[int]] = ([], [], [])
    add_time, (add_price, add_volume, add_symbol) = times_ns.append, (v.append for v in values)
    last_text, last_ns, symbol = "", 0, instruments[0].symbol
    try:
        for line in lines:
            fields = line.rstrip("\n").split(",")
            if len(fields) != columns:
                raise wrong_column_count(len(fields), columns, line)
            text = fields[0]
            if text != last_text:
                time_ns = epoch_ns(text)
                if time_ns < last_ns:
                    raise went_back(text, last_text)
                last_text, last_ns = text, time_ns
            add_price(prices[fields[1]])
            add_volume(volumes[fields[2]])
            add_symbol(symbols[fields[3] if columns > 3 else symbol])
            add_time(last_ns)  # last: the count of times is the count of good lines
    except BadValue as bad:
        number = len(times_ns) + 2
        raise TickFileError(
            explain(f"{path}: line {number}: {bad.what}", rule=bad.rule, cure=bad.cure)
        ) from None
    ticks = np.zeros(len(times_ns), TICK)
    ticks["ts_event_ns"] = times_ns
    for name, column in zip(("price_e4", "quantity", "instrument"), values, strict=True):
        ticks[name] = column
    return ticks


# Writing -------------------------------------------------------------------------------------


def write_ticks(path: Path, ticks: NDArray[np.void], symbols: Sequence[str] | None = None) -> int:
    """Write TICK rows so that ``read_ticks`` gives them back; return how many.

    ``symbols`` names the instruments, SYM-1, SYM-2, … unless given; with several there is a
    symbol column. A name in .gz is compressed. The file appears whole or not at all, and the
    same rows give the same bytes. Raises TickFileError when it cannot be written.
    """
    if symbols is None:
        symbols = default_symbols(int(ticks["instrument"].max(initial=0)) + 1)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with _removed(temporary), temporary.open("wb") as raw:
            with _text_writer(raw, path.suffix == ".gz") as out:
                out.writelines(lines_of(ticks, symbols))
            temporary.replace(path)
    except OSError as error:
        raise TickFileError(
            explain(
                f"{path}: {error.strerror}",
                rule="a tick file is written beside its final name, then renamed",
                cure="name a file in an existing, writable directory",
            )
        ) from None
    return len(ticks)


@contextmanager
def _removed(temporary: Path) -> Iterator[None]:
    """Leave no temporary file behind, whatever happens."""
    try:
        yield
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _text_writer(raw: BinaryIO, compressed: bool) -> Iterator[TextIO]:
    if not compressed:
        with io.TextIOWrapper(raw, encoding="utf-8", newline="\n") as out:
            yield out
        return
    # Neither name nor time in the header: the same ticks give the same bytes.
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as out,
    ):
        yield out
