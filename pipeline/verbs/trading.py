"""The verbs that trade or record: run, replay, demo, backtest and record."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
import time
import traceback
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO, cast

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from pipeline.backtest import backtest as run_backtest
from pipeline.brokers.confirming import CONFIRMATION, order_login, refuse_unconfirmed
from pipeline.brokers.recorded.files import read_ticks, write_ticks
from pipeline.brokers.recorded.journal import check_ready
from pipeline.channels import choose
from pipeline.channels.line import FEED, RECORDER
from pipeline.display import Display
from pipeline.errors import UsageError, explain
from pipeline.results.files import prepare_directory, read_results, results_files
from pipeline.risk.files import session_days, start_notices
from pipeline.runtime import boundary
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.logs import ChildLogs, LineHandler, log_only_to
from pipeline.settings import Settings, load_secrets
from pipeline.simulator.generator import generate_day
from pipeline.strategy.loading import load_strategy
from pipeline.supervisor.process import supervise
from pipeline.verbs.dates import last_weekday, today
from pipeline.verbs.settings import settings_of
from pipeline.verbs.simulation import simulated, simulator
from pipeline.verbs.terminal import console, say


def run(options: argparse.Namespace) -> ExitCode:
    settings = settings_of(options, day=today())
    if options.role in (None, "risk"):
        _confirm_live(settings, options.confirm_live)
    if options.role is None:
        return _supervise(settings)
    _check_days(settings)
    room = importlib.import_module(f"pipeline.{options.role}.process")
    log_only_to(LineHandler(sys.stderr), options.role, settings.run.log_level)
    more = {"days": session_days(settings)} if options.role == "feed" else {}
    return boundary.guard(options.role, lambda: room.run(settings, **more))


def _confirm_live(settings: Settings, typed: str | None) -> None:
    """Have real orders confirmed by typed words; risk takes them from the environment."""
    if not settings.orders.live:
        return
    if typed is not None:
        os.environ[CONFIRMATION] = typed
    elif CONFIRMATION not in os.environ and sys.stdin.isatty():
        console.print(
            f"REAL ORDERS: {settings.orders.gateway} at {settings.orders.url}. "
            f"Type {settings.run.name} or LIVE to go on: ",
            end="",
        )
        os.environ[CONFIRMATION] = sys.stdin.readline().strip()
    refuse_unconfirmed(settings, os.environ)


def replay(options: argparse.Namespace) -> ExitCode:
    if options.speed is not None and not options.through_simulator:
        raise UsageError(
            explain(
                f"--speed {options.speed:g} without --through-simulator",
                rule="only the simulator keeps the recording's own time",
                cure="add --through-simulator, or leave --speed out",
            )
        )
    lockstep = str(not options.free_running).lower()
    overrides = [f"channels.lockstep={lockstep}", "run.recover=false"]
    if not options.through_simulator:
        overrides += ['feed.broker="recorded"', f'feed.recording="{options.file}"']
        settings = settings_of(options, overrides)
        return _supervise(settings, read_ticks(options.file, settings.instruments))
    return _through_simulator(options, overrides, options.speed)


def _through_simulator(
    options: argparse.Namespace, overrides: Sequence[str], speed: float | None
) -> ExitCode:
    settings = settings_of(options, overrides)
    ticks = read_ticks(options.file, settings.instruments)
    with simulator(options.file, settings, speed) as url:
        where = [
            f'feed.broker="{simulated(settings)}"',
            f'feed.url="{url}"',
            'feed.credentials="simulator"',
        ]
        return _supervise(settings_of(options, [*overrides, *where]), ticks)


def demo(options: argparse.Namespace) -> ExitCode:
    """Generate a day, send it through a real WebSocket, and show what the pipeline does."""
    if not options.seconds > 0:
        raise UsageError(
            explain(
                f"--seconds {options.seconds:g}",
                rule="the day takes some time",
                cure="for example --seconds 15",
            )
        )
    folder = (options.results or Path("results")) / "demo"
    prepare_directory(folder)
    options.results, options.file = folder, folder / "day.csv"
    settings = settings_of(options)
    lot_size = settings.instruments[0].lot_size
    day = generate_day(seed=options.seed, date=last_weekday(), lot_size=lot_size)
    write_ticks(options.file, day)
    ticks = read_ticks(options.file, settings.instruments)
    console.print(f"generated {len(ticks):,} ticks in {options.file} (seed {options.seed})")
    day_s = int(ticks["ts_event_ns"][-1] - ticks["ts_event_ns"][0]) / 1e9
    # In lockstep: at this speed a millisecond is seconds of market, and the trades would differ
    # from run to run.
    lockstep = ["channels.lockstep=true"]
    return _through_simulator(options, lockstep, day_s / options.seconds)


def record(options: argparse.Namespace) -> ExitCode:
    """Run the feed and the recorder alone."""
    given = [] if options.out is None else [f'recorder.directory="{options.out}"']
    settings = settings_of(options, given, day=today())
    if settings.recorder.directory is None:
        settings = settings_of(options, ['recorder.directory="recordings"'], day=today())
    return _watched(settings, roles=(FEED, RECORDER))


def _supervise(settings: Settings, ticks: NDArray[np.void] | None = None) -> ExitCode:
    """Run the pipeline with its display and print the summary; ``ticks`` are those of a file."""
    load_strategy(settings.strategy)  # its mistakes are told before anything starts
    _check_days(settings, ticks)
    return _watched(settings, ticks)


def _watched(
    settings: Settings,
    ticks: NDArray[np.void] | None = None,
    roles: Collection[str] | None = None,
) -> ExitCode:
    if settings.recorder.directory is not None:
        check_ready(settings.recorder.directory)
    choose(settings.channels.implementation)  # likewise
    if settings.feed.broker != "recorded":
        load_secrets(settings.feed, os.environ)
    if settings.orders.gateway != "paper":
        order_login(settings, os.environ)
    prepare_directory(settings.run.results_dir)
    before = _result_files(settings)
    logs = ChildLogs(cast(TextIO, _Stderr()))
    log_only_to(logs.lines, "supervisor", settings.run.log_level)
    with ExitStack() as stack:
        stack.callback(logs.close)
        display = None
        if console.is_terminal:
            total = None if ticks is None else len(ticks)
            display = stack.enter_context(Display(settings, console, total))
        code = supervise(settings, logs=logs, on_turn=display, roles=roles)
    for path in sorted(_result_files(settings) - before):
        print_summary(path)
    return code


def _check_days(settings: Settings, ticks: NDArray[np.void] | None = None) -> None:
    for notice in start_notices(settings, ticks):
        say(notice)


def backtest(options: argparse.Namespace) -> ExitCode:
    settings = settings_of(options)
    ticks = read_ticks(options.file, settings.instruments)
    _check_days(settings, ticks)
    prepare_directory(settings.run.results_dir)
    started = time.perf_counter()
    result = run_backtest(settings, ticks)
    seconds = time.perf_counter() - started
    path = result.write(settings, source=str(options.file))
    print_summary(path)
    if result.failed is not None:
        traceback.print_exception(result.failed.__cause__)
        raise result.failed
    console.print(f"{len(ticks):,} ticks in {seconds:.3f} s: {len(ticks) / seconds:,.0f} ticks/s")
    return ExitCode.OK


def print_summary(path: Path) -> None:
    """Print the first block of a results file, settings left out, and where it is."""
    parameters, trades = read_results(path)
    table = Table(box=None, show_header=False)
    for name, value in parameters.items():
        if "." not in name:
            table.add_row(name, value)
    console.print(table)
    console.print(f"{len(trades)} trades in {path}", soft_wrap=True)


def _result_files(settings: Settings) -> set[Path]:
    return results_files(settings.run.results_dir)


class _Stderr(io.TextIOBase):
    """Standard error as it is now: the display takes its place while it is shown."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()
