"""What each verb of the command line does: gather settings, call one room, say what came of it.

The simulator is imported where one is started: its web server takes longer than all the rest.
"""

from __future__ import annotations

import argparse
import importlib
import io
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import TextIO, cast

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from pipeline import recording_verbs
from pipeline.backtest import backtest as run_backtest
from pipeline.brokers.confirming import CONFIRMATION, order_login, refuse_unconfirmed
from pipeline.brokers.files import complete_instruments
from pipeline.brokers.recorded.files import read_ticks, write_ticks
from pipeline.brokers.recorded.journal import check_ready
from pipeline.channels import NATIVE_MISSING, choose
from pipeline.channels.inspection import ReaderReport, inspect
from pipeline.channels.line import FEED, RECORDER, Watch
from pipeline.channels.locks import lock_is_held
from pipeline.channels.rundir import lock_path
from pipeline.display import Display
from pipeline.errors import PortInUse, TickpipeError, UsageError, explain
from pipeline.recording_verbs import date_of, last_weekday
from pipeline.records import IST, ProcessState
from pipeline.results.files import read_results, results_files
from pipeline.results.parameters import settings_rows
from pipeline.risk.day_report import day_report
from pipeline.risk.files import read_rulebook, session_days, start_notices
from pipeline.runtime import boundary
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.logs import ChildLogs, LineHandler, log_only_to
from pipeline.runtime.stopping import leave_terminal_group
from pipeline.settings import Settings, load_secrets, load_settings
from pipeline.simulator.generator import generate_day
from pipeline.strategy.loading import load_strategy
from pipeline.supervisor.process import supervise

SIMULATOR_START_SECONDS_MAX = 20.0

console = Console(markup=False, highlight=False)


# Trading -------------------------------------------------------------------------------------


def run(options: argparse.Namespace) -> ExitCode:
    settings = _settings(options)
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
        settings = _settings(options, overrides)
        return _supervise(settings, read_ticks(options.file, settings.instruments))
    return _through_simulator(options, overrides, options.speed)


def _through_simulator(
    options: argparse.Namespace, overrides: Sequence[str], speed: float | None
) -> ExitCode:
    settings = _settings(options, overrides)
    ticks = read_ticks(options.file, settings.instruments)
    with _simulator(options.file, settings, speed) as url:
        where = [
            f'feed.broker="{_simulated(settings)}"',
            f'feed.url="{url}"',
            'feed.credentials="simulator"',
        ]
        return _supervise(_settings(options, [*overrides, *where]), ticks)


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
    folder.mkdir(parents=True, exist_ok=True)
    options.results, options.file = folder, folder / "day.csv"
    settings = _settings(options)
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
    settings = _settings(options, given)
    if settings.recorder.directory is None:
        settings = _settings(options, ['recorder.directory="recordings"'])
    return _watched(settings, roles=(FEED, RECORDER))


def ticks(options: argparse.Namespace) -> ExitCode:
    return recording_verbs.ticks(options, lambda: _settings(options))


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
        _say(notice)


def backtest(options: argparse.Namespace) -> ExitCode:
    settings = _settings(options)
    ticks = read_ticks(options.file, settings.instruments)
    _check_days(settings, ticks)
    started = time.perf_counter()
    result = run_backtest(settings, ticks)
    seconds = time.perf_counter() - started
    path = result.write(settings, source=str(options.file))
    print_summary(path)
    if result.failed is not None:
        raise result.failed
    console.print(f"{len(ticks):,} ticks in {seconds:.3f} s: {len(ticks) / seconds:,.0f} ticks/s")
    return ExitCode.OK


def compare(options: argparse.Namespace) -> ExitCode:
    """Do what scripts/compare-modes does, where a checkout has it."""
    root = Path(__file__).resolve().parent.parent
    if not (root / "tests" / "perf" / "compare").is_dir():
        raise UsageError(
            explain(
                "tickpipe compare outside a checkout",
                rule="the loops that the modes are compared with are in tests/perf, which is not "
                "installed",
                cure="in a checkout of tickpipe: scripts/compare-modes",
            )
        )
    program = [sys.executable, "-P", "-m", "tests.perf.compare"]
    chosen = ["--out", str(options.out), "--runs", str(options.runs)]
    chosen += ["--quick"] * options.quick
    chosen += [] if options.json is None else ["--json", str(options.json)]
    code = subprocess.call(program + chosen, env=os.environ | {"PYTHONPATH": str(root)})
    return ExitCode.OK if code == 0 else ExitCode.FAILED


def ring(options: argparse.Namespace) -> ExitCode:
    directory = _settings(options).run_directory
    report = inspect(directory)
    owner = f"pid {report.owner}" + ("" if report.owner_alive else ", DEAD")
    console.print(
        f"{report.path}: {report.state.name.lower()}, capacity {report.capacity:,}, "
        f"epoch {report.epoch}, writer {owner}, claimed {report.claimed:,}, "
        f"published {report.published:,}",
        soft_wrap=True,
    )
    readers = Table(*ReaderReport._fields, box=None)
    for reader in report.readers:
        readers.add_row(*map(str, reader))
    console.print(readers)
    watch = Watch(directory)
    for role, beat in watch.latest().items():
        state = ProcessState(int(beat["state"][0])).name.lower()
        age_ms = (time.monotonic_ns() - int(beat["beat_ns"][0])) / 1e6
        dead = "" if lock_is_held(lock_path(directory, role)) else ", DEAD"
        console.print(f"{role}: {state}, heartbeat {age_ms:,.0f} ms ago{dead}")
    watch.close()
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


# Simulation ----------------------------------------------------------------------------------


def simulate(options: argparse.Namespace) -> ExitCode:
    from pipeline.simulator import order_faults, process, script

    settings = _settings(options)
    log_only_to(LineHandler(sys.stderr), "simulator", settings.run.log_level)
    ticks = read_ticks(options.file, settings.instruments)
    return process.run(
        ticks,
        settings.instruments,
        broker=_simulated(settings),
        port=options.port,
        speed=options.speed,
        faults=script.read_script(options.faults) if options.faults else None,
        order_faults=order_faults.read_order_faults(options.order_faults)
        if options.order_faults
        else None,
        report=options.report,
    )


def _simulated(settings: Settings) -> str:
    """Return the broker whose protocol the simulator speaks: that of the configuration."""
    return "smartapi" if settings.feed.broker == "recorded" else settings.feed.broker


@contextmanager
def _simulator(file: Path, settings: Settings, speed: float | None) -> Iterator[str]:
    """Run a simulator as a child on a free port; yield its URL; leave no child behind."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(
        target=_simulator_child, args=(file, settings, speed, theirs), name="simulator"
    )
    child.start()
    theirs.close()
    try:
        if not ours.poll(SIMULATOR_START_SECONDS_MAX):
            raise PortInUse("the simulator did not start listening; see its message above")
        yield ours.recv()
    except EOFError:
        raise TickpipeError("the simulator ended before it listened; see its message above") from (
            None
        )
    finally:
        child.terminate()
        child.join(settings.run.stop_seconds_max)
        child.kill()
        child.join()


def _simulator_child(file: Path, settings: Settings, speed: float | None, url: Pipe) -> None:
    from pipeline.simulator import process

    leave_terminal_group()
    log_only_to(LineHandler(sys.stderr), "simulator", "WARNING")
    ticks = read_ticks(file, settings.instruments)
    broker = _simulated(settings)

    def serve() -> ExitCode:
        return process.run(
            ticks,
            settings.instruments,
            broker=broker,
            port=0,
            speed=speed,
            ready=lambda port: url.send(f"ws://127.0.0.1:{port}{process.DIALECTS[broker].path}"),
            keep=True,
        )

    sys.exit(boundary.guard("simulator", serve))


# The market ----------------------------------------------------------------------------------


def calendar(options: argparse.Namespace) -> ExitCode:
    """Show a day of every segment; a date that the rulebook does not have is refused."""
    day = datetime.now(IST).date() if options.date is None else date_of("", options.date)
    console.print(day_report(read_rulebook(), day), soft_wrap=True)
    return ExitCode.OK


# Settings ------------------------------------------------------------------------------------


def check_config(options: argparse.Namespace) -> ExitCode:
    settings = _settings(options, report=_say)
    load_strategy(settings.strategy)
    _check_days(settings)
    console.print(f"{options.config} is right", soft_wrap=True)
    return ExitCode.OK


def show_config(options: argparse.Namespace) -> ExitCode:
    settings = _settings(options, report=_say)
    for name, value in settings_rows(settings):
        console.print(f"{name} = {value}", soft_wrap=True)
    return ExitCode.OK


def version(options: argparse.Namespace) -> ExitCode:
    console.print(f"tickpipe {options.number}")
    if options.verbose:
        console.print(f"channels: {_channels_in_use()}", soft_wrap=True)
        console.print(f"Python {platform.python_version()}, numpy {np.__version__}")
        console.print(f"{platform.platform()}, CPUs {sorted(os.sched_getaffinity(0))}")
    return ExitCode.OK


def _channels_in_use() -> str:
    """Say what channels.implementation = "auto" is here, and why."""
    if NATIVE_MISSING:
        return f"reference (pure Python), because {NATIVE_MISSING}"
    return f"{choose('auto').name} (C), because the extension is there"


def _say(note: str) -> None:
    console.print(f"note: {note}", soft_wrap=True)


def _keep_quiet(note: str) -> None:
    pass


def _settings(
    options: argparse.Namespace,
    overrides: Sequence[str] = (),
    report: Callable[[str], None] = _keep_quiet,
) -> Settings:
    """Load the configuration with what the command line changes of it, the verb's own last.

    The contracts of a tick file may have expired since.
    """
    changes = [*options.set]
    if getattr(options, "mode", None):
        changes.append(f'waiting.mode="{options.mode}"')
    if getattr(options, "results", None):
        changes.append(f'run.results_dir="{options.results}"')
    day = None if "file" in options else datetime.now(IST).date()
    complete = partial(complete_instruments, day=day, report=report)
    return load_settings(options.config, [*changes, *overrides], complete)


class _Stderr(io.TextIOBase):
    """Standard error as it is now: the display takes its place while it is shown."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()
