"""A run of real processes, seen by its heartbeats: waited for, killed in parts, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import numpy as np

from pipeline.channels.watch import Watch
from tests.system.conftest import Tickpipe, finish

HERE = Path(__file__).parent
STEADY_SPEED = 100  # of a steady day: 100 ticks a second for two minutes
STEADY = ("--through-simulator", "--free-running", "--speed", str(STEADY_SPEED))
BUYS_ONCE = f'strategy.use="{HERE / "strategies.py"}:BuysOnce"'
HOLD = (  # nothing closes the position but an end
    "--set", "risk.base_sl_points=200", "--set", "risk.use_trail_stop=false",
    "--set", "risk.tp_points=[1000.0]", "--set", "risk.tp_percents=[1.0]",
)  # fmt: skip


class Run:
    """A run with a look at its heartbeats."""

    def __init__(self, tickpipe: Tickpipe, process: subprocess.Popen[str]) -> None:
        self.tickpipe = tickpipe
        self.process = process
        self._watch = Watch(tickpipe.run_directory)

    def beat(self, role: str, field: str) -> int:
        rows: dict[str, np.ndarray] = self._watch.latest()
        return int(rows[role][field][0]) if role in rows else 0

    def wait_for(self, role: str, field: str, least: int) -> None:
        self.tickpipe.wait_for(
            lambda: self.beat(role, field) >= least, f"{role} to have {least} of {field}"
        )

    def wait_until_open(self) -> None:
        """Wait until risk holds a position."""
        self.wait_for("risk", "position", 1)

    def kill(self, role: str) -> None:
        os.kill(self.beat(role, "pid"), signal.SIGKILL)

    def kill_and_wait_for_another(self, role: str) -> None:
        """Kill ``role`` and wait for another one that has a heartbeat."""
        before = self.beat(role, "pid")
        os.kill(before, signal.SIGKILL)
        self.tickpipe.wait_for(
            lambda: self.beat(role, "pid") not in (0, before) and self.beat(role, "cycles") > 0,
            f"another {role}",
        )

    def stop(self) -> tuple[int, str]:
        self.process.terminate()
        return self.finish()

    def finish(self) -> tuple[int, str]:
        return finish(self.process)
