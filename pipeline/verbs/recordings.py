"""The verb that shows a tick file or a recording: ticks."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from pipeline.brokers.recorded.files import read_ticks, write_ticks
from pipeline.brokers.recorded.journal import joined, journal_parts
from pipeline.brokers.recorded.missing import said_of
from pipeline.brokers.recorded.parquet import ticks_of
from pipeline.brokers.recorded.recording import (
    day_of,
    gaps_of,
    is_recording,
    read_recording,
    symbols_of,
    write_recording,
)
from pipeline.errors import UsageError, explain
from pipeline.records import IST, PRICE_SCALE
from pipeline.runtime.exit_codes import ExitCode
from pipeline.settings import Instrument, Settings
from pipeline.verbs.settings import settings_of
from pipeline.verbs.terminal import console


def ticks(options: argparse.Namespace) -> ExitCode:
    """Show what is in a tick file or a recording, and write it in the other form."""
    path: Path = options.file
    load = partial(settings_of, options)
    if is_recording(path):
        by_symbol = symbols_of(path)
        _show(path, by_symbol)
        _say_what_is_missing(path, by_symbol)
    else:
        rows, instruments = _of_csv(path, load)
        _show(path, _split(rows, instruments))
    if options.csv is not None:
        rows, symbols = _for_csv(path, load)
        rows = rows[np.argsort(rows["ts_event_ns"], kind="stable")]  # time never goes back in a CSV
        count = write_ticks(options.csv, rows, symbols if len(symbols) > 1 else None)
        console.print(f"wrote {count:,} ticks to {options.csv}", soft_wrap=True)
    if options.parquet is not None:
        rows, instruments = _of_any(path, load)
        for day in write_recording(options.parquet, rows, instruments):
            console.print(f"wrote {day}", soft_wrap=True)
    return ExitCode.OK


Rows = NDArray[np.void]


def _for_csv(path: Path, load: Callable[[], Settings]) -> tuple[Rows, list[str]]:
    """Return the TICK rows and their symbols; a recording itself says which they are."""
    if not is_recording(path):
        rows, instruments = _of_csv(path, load)
        return rows, [row.symbol for row in instruments]
    by_symbol = symbols_of(path)
    for index, symbol in enumerate(by_symbol):
        by_symbol[symbol]["instrument"] = index
    return ticks_of(joined(list(by_symbol.values()))), list(by_symbol)


def _of_any(path: Path, load: Callable[[], Settings]) -> tuple[Rows, Sequence[Instrument]]:
    """Return the TICK rows and whose they are."""
    if not is_recording(path):
        return _of_csv(path, load)
    instruments = load().instruments
    there = symbols_of(path)
    known = [row for row in instruments if row.symbol in there]
    missing = sorted(there.keys() - {row.symbol for row in known})
    if missing:
        raise UsageError(
            explain(
                f"{path} has {', '.join(missing[:3])}, which [[instruments]] do not name",
                rule="what is written in another form is written whole",
                cure="name a configuration that has them with --config",
            )
        )
    return read_recording(path, known), known


def _of_csv(path: Path, load: Callable[[], Settings]) -> tuple[Rows, Sequence[Instrument]]:
    instruments = load().instruments
    return read_ticks(path, instruments), instruments


def _split(rows: Rows, instruments: Sequence[Instrument]) -> dict[str, Rows]:
    return {
        row.symbol: rows[rows["instrument"] == index]
        for index, row in enumerate(instruments)
        if (rows["instrument"] == index).any()
    }


def _show(path: Path, by_symbol: dict[str, Rows]) -> None:
    table = Table(
        *("symbol", "ticks", "from", "to", "lowest", "highest", "volume", "silence"), box=None
    )
    for symbol, rows in sorted(by_symbol.items()):
        table.add_row(symbol, *summary(rows))
    console.print(table)
    total = sum(map(len, by_symbol.values()))
    console.print(f"{total:,} ticks of {len(by_symbol)} instrument(s) in {path}", soft_wrap=True)


def summary(rows: Rows) -> tuple[str, ...]:
    """Return ticks, first, last, lowest, highest, volume and the longest silence for people."""
    times = rows["ts_event_ns"]
    if "ts_recv_epoch_ns" in (rows.dtype.names or ()):
        times = np.where(times > 0, times, rows["ts_recv_epoch_ns"])
    silence_s = float(np.diff(times).max(initial=0)) / 1e9
    volume = max(int(rows["day_volume"].max()), int(rows["quantity"].sum()))
    return (
        f"{len(rows):,}",
        _clock(int(times[0])),
        _clock(int(times[-1])),
        f"{int(rows['price_e4'].min()) / PRICE_SCALE:,.2f}",
        f"{int(rows['price_e4'].max()) / PRICE_SCALE:,.2f}",
        f"{volume:,}",
        f"{silence_s:,.1f} s",
    )


def _clock(epoch_ns: int) -> str:
    return f"{datetime.fromtimestamp(epoch_ns // 1_000_000_000, IST):%d %b %H:%M}"


def _say_what_is_missing(path: Path, by_symbol: dict[str, Rows]) -> None:
    if not path.is_dir():
        console.print(
            "whether anything is missing is told for the folder of the day, not for one file",
            soft_wrap=True,
        )
        return
    said, complete = said_of(path, by_symbol)
    for line in said:
        console.print(line, soft_wrap=True)
    gaps = gaps_of(path)
    seconds = float((gaps["ended_epoch_ns"] - gaps["began_epoch_ns"]).sum()) / 1e9
    console.print(f"gaps: {len(gaps)}, {seconds:,.1f} s in all")
    unsettled = bool(journal_parts(day_of(path)))
    if unsettled:
        console.print(
            "a recorder writes here now, or was killed: what it had not written is missing",
            soft_wrap=True,
        )
    if complete is False or unsettled or len(gaps):
        console.print("TICKS ARE MISSING, or may be: see above")
    elif complete is None:
        console.print("no hole is seen; without counts it is not known whether ticks were lost")
    else:
        console.print("nothing is missing")
