"""The command as a user runs it: real processes, real shared memory, real sockets."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.cli import main
from pipeline.results.files import read_results
from pipeline.settings import Instrument
from tests.system.golden import row_of
from tests.system.simulating import Simulate, Simulator, Simulators

ROOT = Path(__file__).resolve().parent.parent.parent
GUIDE = ROOT / "configs" / "guide.toml"
WAIT_SECONDS_MAX = 60.0


@dataclass
class Tickpipe:
    """Starts ``python -m pipeline`` in an own folder and run directory."""

    folder: Path
    run_directory: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Start a verb and return the process; its output is text."""
        command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def trade(self, verb: str, *arguments: object) -> subprocess.Popen[str]:
        """Start a verb that trades, with the guide's configuration unless another is named."""
        return self.start(verb, *self._places(arguments))

    def _places(self, arguments: Sequence[object]) -> tuple[object, ...]:
        config = () if "--config" in arguments else ("--config", GUIDE)
        directory = f'channels.directory="{self.run_directory}"'
        return (*arguments, *config, "--results", self.results, "--set", directory)

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def tell(self, *arguments: object) -> tuple[int, str]:
        """Run a verb that logs nothing in this process; return its exit code and what it said."""
        said = io.StringIO()
        with chdir(self.folder), redirect_stdout(said), redirect_stderr(said):
            code = main([*map(str, arguments)])
        return code, said.getvalue()

    def run(self, verb: str, *arguments: object) -> tuple[int, str]:
        """Run a verb that trades to its end; return its exit code and everything it said.

        A backtest is what one process does, and runs in this one.
        """
        if verb == "backtest":
            return self.tell(verb, *self._places(arguments))
        return finish(self.trade(verb, *arguments))

    def trades(self) -> list[dict[str, str]]:
        """Return the trade rows of the only results file."""
        return self.results_file()[1]

    def results_file(self) -> tuple[dict[str, str], list[dict[str, str]]]:
        (path,) = self.results.glob("forward_test_results_*.csv")
        return read_results(path)

    def clear_results(self) -> None:
        """Forget the results so far."""
        for path in self.results.glob("forward_test_results_*.csv"):
            path.unlink()

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until ``condition`` holds; fail with ``what`` when it never does."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while not condition():
            assert time.monotonic() < deadline, f"waited {WAIT_SECONDS_MAX} s for {what}"
            time.sleep(0.01)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a process; return its exit code and its output."""
    output, _ = process.communicate(timeout=WAIT_SECONDS_MAX * 2)
    return process.returncode, output


@pytest.fixture
def tickpipe(tmp_path: Path) -> Iterator[Tickpipe]:
    """Return a way to run the command; afterwards nothing of it may be left."""
    run_directory = tmp_path / "shared"
    command = Tickpipe(tmp_path, run_directory)
    yield command
    for process in command.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    command.wait_for(lambda: not run_directory.exists(), f"{run_directory} to be cleared")


def for_kite(config: str) -> str:
    """Return a configuration for SmartAPI as one for Kite, with Kite's tokens."""
    config = config.replace('broker = "smartapi"', 'broker = "kite"')
    return re.sub(r'token = "(\d+)"', lambda found: f'token = "{int(found[1]) << 8 | 2}"', config)


@pytest.fixture
def kite_config(tmp_path: Path) -> Path:
    """Write the guide's configuration for Kite."""
    path = tmp_path / "kite.toml"
    path.write_text(for_kite(GUIDE.read_text()))
    return path


@pytest.fixture
def simulators() -> Iterator[Simulators]:
    """Return what starts simulators of some instruments; they are stopped after the test."""
    started: list[Simulator] = []

    def of(instruments: Sequence[Instrument]) -> Simulate:
        def start(ticks: NDArray[np.void], **options: object) -> Simulator:
            started.append(Simulator(ticks, instruments, **options))
            return started[-1]

        return start

    yield of
    for simulator in started:
        simulator.drop_clients()
        simulator.finish()


@pytest.fixture
def golden_day(shared_data: Path) -> Path:
    """Return the recorded NIFTY option day of 2025-10-01."""
    return shared_data / "nse_ticks" / "live_ticks_20251001_NIFTY_option.csv.gz"


@pytest.fixture
def golden_rows(shared_data: Path) -> list[tuple[str, ...]]:
    """Return the exits that the guide's own program exported for that day."""
    with (shared_data / "golden" / "trades_20251001.csv").open() as file:
        return [
            row_of(row | {"quantity": row["qty"], "exit_charges": row["commission"]})
            for row in csv.DictReader(file)
        ]
