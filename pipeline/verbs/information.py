"""The verbs that tell about the market and this machine: calendar, version and compare."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys

import numpy as np

from pipeline.channels import NATIVE_MISSING, choose
from pipeline.errors import UsageError, explain
from pipeline.risk.day_report import day_report
from pipeline.risk.files import read_rulebook
from pipeline.runtime.exit_codes import ExitCode
from pipeline.verbs.dates import date_of, today
from pipeline.verbs.settings import CHECKOUT
from pipeline.verbs.terminal import console


def calendar(options: argparse.Namespace) -> ExitCode:
    """Show a day of every segment; a date that the rulebook does not have is refused."""
    day = today() if options.date is None else date_of("", options.date)
    console.print(day_report(read_rulebook(), day), soft_wrap=True)
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


def compare(options: argparse.Namespace) -> ExitCode:
    """Do what scripts/compare-modes does, where a checkout has it."""
    if not (CHECKOUT / "tests" / "perf" / "compare").is_dir():
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
    code = subprocess.call(program + chosen, env=os.environ | {"PYTHONPATH": str(CHECKOUT)})
    return ExitCode.OK if code == 0 else ExitCode.FAILED
