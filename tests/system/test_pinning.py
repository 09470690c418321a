"""Each process runs on the CPUs of its settings, and a plan that cannot work is refused."""

from __future__ import annotations

import os
from collections.abc import Callable

import psutil
import pytest

from pipeline.runtime.exit_codes import ExitCode
from tests.system.conftest import Tickpipe
from tests.system.golden import write_day, write_steady_day
from tests.system.running import STEADY, Run

ALLOWED = sorted(os.sched_getaffinity(0))
ROLES = ("feed", "strategy", "risk")


@pytest.fixture
def start(tickpipe: Tickpipe) -> Callable[..., Run]:
    def start(*options: object) -> Run:
        day = write_steady_day(tickpipe.folder / "day.csv")
        run = Run(tickpipe, tickpipe.trade("replay", day, *STEADY, *options))
        tickpipe.wait_for(lambda: run.beat("risk", "ticks") > 0, "the run to trade")
        return run

    return start


def affinity(run: Run, role: str) -> list[int]:
    return sorted(psutil.Process(run.beat(role, "pid")).cpu_affinity())


def test_processes_run_where_the_settings_say(start: Callable[..., Run]) -> None:
    first, last = ALLOWED[0], ALLOWED[-1]
    wanted = {"feed": [first], "strategy": [last], "risk": [first]}
    options = [
        part for role, cpus in wanted.items() for part in ("--set", f"pinning.{role}={cpus}")
    ]
    run = start(*options)
    assert {role: affinity(run, role) for role in ROLES} == wanted


def test_without_settings_each_process_gets_one_cpu(start: Callable[..., Run]) -> None:
    run = start()
    assert all(len(affinity(run, role)) == 1 for role in ROLES)


def test_a_cpu_that_is_not_there_is_refused(tickpipe: Tickpipe) -> None:
    day = write_day(tickpipe.folder / "day.csv", ticks=100)
    code, output = tickpipe.run("replay", day, "--set", "pinning.strategy=[4095]")
    assert code == ExitCode.BAD_SETTINGS, output
    assert "4095" in output


@pytest.mark.skipif(len(ALLOWED) > 2, reason="needs fewer than 3 CPUs to be too few")
def test_more_bare_spinners_than_cores_allow_are_refused(tickpipe: Tickpipe) -> None:
    day = write_day(tickpipe.folder / "day.csv", ticks=100)
    options = ("--mode", "poll", "--free-running", "--set", 'waiting.spin="bare"')
    code, output = tickpipe.run("replay", day, *options)
    assert code == ExitCode.BAD_SETTINGS, output
    assert "2 spinners need 3 CPUs" in output
