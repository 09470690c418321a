"""Processes that rehearse trade as the others do.

Bare spinners need more CPUs than a small machine has, so the plan is made here by hand: in
lockstep that is slow and right.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from pipeline.backtest import backtest
from pipeline.brokers.recorded.files import read_ticks
from pipeline.channels.line import READER_NAMES, ROLES
from pipeline.channels.rundir import own_run
from pipeline.results.files import read_results, results_files
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.logs import ChildLogs
from pipeline.runtime.stopping import stop_on_signals
from pipeline.settings import Settings, load_settings
from pipeline.supervisor.plan import Plan, Seat
from pipeline.supervisor.process import _Crew
from tests.rig import Processes
from tests.rig import processes as processes
from tests.system.golden import GUIDE, write_day

TICKS = 1_500


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    day = write_day(tmp_path / "day.csv", TICKS)
    return load_settings(
        GUIDE,
        [
            'feed.broker="recorded"',
            f'feed.recording="{day}"',
            "channels.lockstep=true",
            'waiting.mode="poll"',
            f'channels.directory="{tmp_path / "run"}"',
            f'run.results_dir="{tmp_path / "results"}"',
        ],
    )


def test_a_day_through_processes_that_rehearse_gives_the_trades_of_the_backtest(
    settings: Settings, processes: Processes
) -> None:
    code, logged = processes.fork(lambda: _trade_bare(settings)).result(seconds=90)
    assert code == ExitCode.OK, logged
    assert "rehearsing failed" not in logged
    assert settings.feed.recording is not None
    day = read_ticks(settings.feed.recording, settings.instruments)
    wanted = backtest(settings, day).trades
    [path] = results_files(settings.run.results_dir)
    _, traded = read_results(path)
    assert len(wanted) > 1
    assert [row["exit_seq"] for row in traded] == [str(trade.exit_seq) for trade in wanted]


def _trade_bare(settings: Settings) -> tuple[int, str]:
    cpus = tuple(os.sched_getaffinity(0))
    spins = {role: Seat(cpus, "yield" if role == "feed" else "bare") for role in ROLES}
    stream = io.StringIO()
    logs = ChildLogs(stream)
    with own_run(settings.run_directory, READER_NAMES, print) as readers, stop_on_signals() as stop:
        crew = _Crew(settings, Plan(spins, ()), logs, readers)
        try:
            crew.start(ROLES)
            code = crew.watch(stop, None)
        finally:
            crew.kill_all()
    logs.close()
    return int(code), stream.getvalue()
