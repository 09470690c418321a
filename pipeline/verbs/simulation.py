"""The verbs that stand in for a market: simulate and generate.

The simulator is imported where one is started: its web server takes longer than all the rest.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from pipeline.brokers.recorded.files import read_ticks, write_ticks
from pipeline.errors import PortInUse, TickpipeError
from pipeline.runtime import boundary
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.logs import LineHandler, log_only_to
from pipeline.runtime.stopping import leave_terminal_group
from pipeline.settings import Settings
from pipeline.simulator.generator import generate_day
from pipeline.verbs.dates import date_of, last_weekday
from pipeline.verbs.settings import settings_of
from pipeline.verbs.terminal import console

SIMULATOR_START_SECONDS_MAX = 20.0
_CTRL_C = {signal.SIGINT}


def simulate(options: argparse.Namespace) -> ExitCode:
    from pipeline.simulator.order_faults import read_order_faults
    from pipeline.simulator.process import run
    from pipeline.simulator.script import read_script

    settings = settings_of(options)
    log_only_to(LineHandler(sys.stderr), "simulator", settings.run.log_level)
    ticks = read_ticks(options.file, settings.instruments)
    return run(
        ticks,
        settings.instruments,
        broker=simulated(settings),
        port=options.port,
        speed=options.speed,
        faults=read_script(options.faults) if options.faults else None,
        order_faults=read_order_faults(options.order_faults) if options.order_faults else None,
        report=options.report,
    )


def simulated(settings: Settings) -> str:
    """Return the broker whose protocol the simulator speaks: that of the configuration."""
    return "smartapi" if settings.feed.broker == "recorded" else settings.feed.broker


@contextmanager
def simulator(file: Path, settings: Settings, speed: float | None) -> Iterator[str]:
    """Run a simulator as a child on a free port; yield its URL; leave no child behind."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(
        target=_simulator_child, args=(file, settings, speed, theirs), name="simulator"
    )
    signal.pthread_sigmask(signal.SIG_BLOCK, _CTRL_C)  # of the child, until it is out of reach
    child.start()
    theirs.close()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _CTRL_C)
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
    leave_terminal_group()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # one that came before was for the parent
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _CTRL_C)
    from pipeline.simulator.process import DIALECTS, run

    log_only_to(LineHandler(sys.stderr), "simulator", "WARNING")
    ticks = read_ticks(file, settings.instruments)
    broker = simulated(settings)

    def serve() -> ExitCode:
        return run(
            ticks,
            settings.instruments,
            broker=broker,
            port=0,
            speed=speed,
            ready=lambda port: url.send(f"ws://127.0.0.1:{port}{DIALECTS[broker].path}"),
            keep=True,
        )

    sys.exit(boundary.guard("simulator", serve))


def generate(options: argparse.Namespace) -> ExitCode:
    day = last_weekday() if options.date is None else date_of("--date ", options.date)
    ticks = generate_day(
        seed=options.seed,
        date=day,
        instruments=options.instruments,
        ticks_per_instrument=options.ticks,
    )
    symbols = [f"SYM-{n}" for n in range(1, options.instruments + 1)]
    count = write_ticks(options.file, ticks, symbols if len(symbols) > 1 else None)
    console.print(f"wrote {count:,} ticks of {day} to {options.file}", soft_wrap=True)
    if len(symbols) > 1:
        console.print(f"to play it, name {symbols[0]} to {symbols[-1]} in [[instruments]]")
    return ExitCode.OK
