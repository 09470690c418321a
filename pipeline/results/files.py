"""Results files: one CSV of two blocks with a blank line between.

Parameter,Value,Formula        the run, the settings used, the figures
…

trade_id,position_id,…         the trades: the guide's 14 columns, then ours
…
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import TextIO

from pipeline.errors import SettingsError, UserError, explain
from pipeline.records import IST, PRICE_SCALE
from pipeline.results.statistics import Figure, money
from pipeline.results.trades import Trade

PARAMETER_HEADER = ("Parameter", "Value", "Formula")
_MINUTE_NS = 60 * 1_000_000_000


def results_files(folder: Path) -> set[Path]:
    """Return the results files that are in ``folder``."""
    return set(folder.glob("forward_test_results_*.csv"))


def prepare_directory(directory: Path) -> None:
    """Make ``directory`` for results and ledger. Raises SettingsError where neither can be
    written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        writable = os.access(directory, os.W_OK | os.X_OK)
        reason = "" if writable else "Permission denied"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise SettingsError(
            explain(
                f"{directory}: {reason}",
                rule="ledger and results are written into run.results_dir",
                cure="name a writable directory with --results or run.results_dir",
            )
        )


def time_text(epoch_ns: int) -> str:
    """Return an exchange time as YYYY-mm-dd HH:MM:SS.fff+05:30."""
    seconds, rest_ns = divmod(epoch_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, IST) + timedelta(milliseconds=rest_ns // 1_000_000)
    return moment.isoformat(sep=" ", timespec="milliseconds")


def _price(price_e4: int) -> str:
    text = f"{Decimal(price_e4) / PRICE_SCALE:.4f}"
    return text[:-2] if text.endswith("00") else text


def _rounded(value: Decimal, step: str) -> str:
    return str(value.quantize(Decimal(step), ROUND_HALF_UP))


def _duration(trade: Trade) -> str:
    return _rounded(Decimal(trade.exit_ns - trade.entry_ns) / _MINUTE_NS, "0.01")


def _microseconds(ns: int) -> str:
    return f"{ns / 1_000:.1f}"


COLUMNS: dict[str, Callable[[Trade], object]] = {
    "trade_id": lambda t: t.trade_id,
    "position_id": lambda t: t.position_id,
    "symbol": lambda t: t.symbol,
    "entry_time": lambda t: time_text(t.entry_ns),
    "exit_time": lambda t: time_text(t.exit_ns),
    "entry_price": lambda t: _price(t.entry_price_e4),
    "exit_price": lambda t: _price(t.exit_price_e4),
    "quantity": lambda t: t.quantity,
    "gross_pnl": lambda t: money(t.gross_pnl),
    "commission": lambda t: money(t.charges),
    "net_pnl": lambda t: money(t.net_pnl),
    "exit_reason": lambda t: t.exit_reason,
    "duration_minutes": _duration,
    "return_percent": lambda t: _rounded(t.return_percent, "0.0001"),
    "side": lambda t: t.side,
    "product": lambda t: t.product,
    "entry_charges": lambda t: money(t.entry_charges),
    "exit_charges": lambda t: money(t.exit_charges),
    "slippage": lambda t: money(t.slippage),
    "mae": lambda t: money(t.mae),
    "mfe": lambda t: money(t.mfe),
    "entry_seq": lambda t: t.entry_seq,
    "exit_seq": lambda t: t.exit_seq,
    "entry_order_id": lambda t: t.entry_order_id,
    "exit_order_id": lambda t: t.exit_order_id,
    "tick_to_signal_us": lambda t: _microseconds(t.tick_to_signal_ns),
    "signal_to_order_us": lambda t: _microseconds(t.signal_to_order_ns),
}


def write_results(
    directory: Path,
    *,
    trades: Sequence[Trade],
    figures: Sequence[Figure],
    parameters: Iterable[tuple[str, str]],
    stamp: datetime,
) -> Path:
    """Write forward_test_results_<stamp>.csv into ``directory`` and return its path.

    The file appears whole or not at all; a name that is taken gets _2, _3, … Raises UserError
    when it cannot be written.
    """
    temporary = directory / f".results.{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                _write(file, trades, figures, parameters)
                file.flush()
                os.fsync(file.fileno())
            return _move(temporary, directory, f"forward_test_results_{stamp:%Y%m%d_%H%M%S}")
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            explain(
                f"{directory}: {error.strerror}",
                rule="results are written into run.results_dir",
                cure="name a writable directory; the ledger has the same trades",
            )
        ) from None


def _write(
    file: TextIO,
    trades: Sequence[Trade],
    figures: Sequence[Figure],
    parameters: Iterable[tuple[str, str]],
) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(PARAMETER_HEADER)
    writer.writerows((name, value, "") for name, value in parameters)
    writer.writerows(figures)
    writer.writerow(())
    writer.writerow(COLUMNS)
    writer.writerows([show(trade) for show in COLUMNS.values()] for trade in trades)


def _move(temporary: Path, directory: Path, stem: str) -> Path:
    """Give the file the first free name: reserved by creating it, so nothing is overwritten."""
    number = 1
    while True:
        path = directory / (f"{stem}.csv" if number == 1 else f"{stem}_{number}.csv")
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            number += 1
            continue
        os.replace(temporary, path)
        return path


def read_results(path: Path) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return the first block as name -> value and the trades as column -> text.

    Raises UserError for a file that cannot be read or lacks the two blocks.
    """
    rows = _read(path)
    if not rows or tuple(rows[0]) != PARAMETER_HEADER or [] not in rows:
        raise UserError(
            explain(
                f"{path}: not a results file",
                rule=f"its first line is {','.join(PARAMETER_HEADER)}, then a blank one follows",
                cure="name a forward_test_results_….csv that tickpipe wrote",
            )
        )
    blank = rows.index([])
    header = rows[blank + 1]
    parameters = {row[0]: row[1] for row in rows[1:blank]}
    return parameters, [dict(zip(header, row, strict=True)) for row in rows[blank + 2 :]]


def _read(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            explain(
                f"{path}: {error}",
                rule="a results file is readable CSV in UTF-8",
                cure="name a forward_test_results_….csv that tickpipe wrote",
            )
        ) from None
