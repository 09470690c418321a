"""What a soak runs: the simulator with endless days, and ``tickpipe run`` as a user starts it."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.line import FEED
from pipeline.channels.watch import Watch
from pipeline.results.files import read_results
from pipeline.runtime.stopping import STOP_REQUESTED, Stop
from pipeline.settings import Instrument, load_settings
from pipeline.simulator.generator import generate_day
from pipeline.simulator.process import run_simulator

ROOT = Path(__file__).resolve().parent.parent.parent
GUIDE = ROOT / "configs" / "guide.toml"
DAY_TICKS = 60_000
STOP_SECONDS_MAX = 60.0
MORE = """
[[instruments]]
symbol = "{symbol}"
exchange = "NFO"
token = "{token}"
product_type = "INTRADAY"
lot_size = 75
tick_size = 0.05
"""
CONFIG = GUIDE.read_text() + "".join(
    MORE.format(symbol=f"OPTION-{token}", token=token) for token in (58_964, 58_965)
)
INSTRUMENTS = 3
CHARGES = ("commission", "stt", "exchange_charges", "gst")  # none: a soak must not go broke


def recording(rate: int, seconds: float) -> tuple[NDArray[np.void], float]:
    """Return a generated day again and again, enough for ``seconds``, and the speed for ``rate``.

    The days follow each other without a night. ``day_volume`` is the number of the tick in the
    recording, 1 for the first: what the exchange calls its sequence, which a TICK does not carry.
    """
    day = generate_day(
        seed=5,
        date=date(2026, 1, 5),
        instruments=INSTRUMENTS,
        ticks_per_instrument=DAY_TICKS // INSTRUMENTS,
        lot_size=75,
    )
    span_ns = int(day["ts_event_ns"][-1] - day["ts_event_ns"][0]) + 1_000_000
    days = int(rate * seconds / len(day)) + 1
    ticks = np.tile(day, days)
    ticks["ts_event_ns"] += np.repeat(np.arange(days), len(day)) * span_ns
    ticks["day_volume"] = np.arange(1, len(ticks) + 1)
    return ticks, span_ns / 1e9 / (len(day) / rate)


class Simulator:
    """``run_simulator`` in a thread."""

    def __init__(self, ticks: NDArray[np.void], speed: float) -> None:
        self._stop = Stop()
        ports: queue.Queue[int] = queue.Queue()
        self._thread = threading.Thread(
            target=run_simulator,
            args=(ticks, _instruments()),
            kwargs={"port": 0, "speed": speed, "ready": ports.put, "stop": self._stop},
            daemon=True,
        )
        self._thread.start()
        self.port = ports.get(timeout=STOP_SECONDS_MAX)

    def close(self) -> None:
        self._stop.request(STOP_REQUESTED)
        self._thread.join()


def _instruments() -> tuple[Instrument, ...]:
    first = load_settings(GUIDE).instruments[0]
    others = [
        first.model_copy(update={"symbol": f"OPTION-{token}", "token": str(token)})
        for token in (58_964, 58_965)
    ]
    return (first, *others)


class Pipeline:
    """``tickpipe run`` and its heartbeats; counts over all lives of the feed."""

    def __init__(
        self,
        folder: Path,
        run_directory: Path,
        port: int,
        mode: str,
        parameters: dict[str, float],
    ) -> None:
        self._results = folder / "results"
        self._log = folder / "log.txt"
        self._watch = Watch(run_directory)
        self._outages: dict[int, int] = {}  # by pid of the feed
        self._pids: dict[str, int] = {}
        config = folder / "soak.toml"
        config.write_text(CONFIG)
        settings = {
            "feed.url": f'"ws://127.0.0.1:{port}/smart-stream"',
            "feed.restarts_max": "1_000_000",
            "feed.reconnect_delay_seconds": "0.1",
            "feed.healthy_seconds": "0.1",
            "channels.directory": f'"{run_directory}"',
            "channels.ring_capacity": "4096",  # it goes round soon: its pages are nobody's leak
            "capital.initial_capital": "100_000_000",
            "risk.max_positions_per_day": "1_000_000",
            "run.results_dir": f'"{self._results}"',
            "waiting.mode": f'"{mode}"',
            "strategy.use": '"tests.stress.soaked:Soaked"',
            "strategy.parameters.tape": f'"{folder / "tape"}"',
        }
        settings |= {f"risk.{name}_percent": "0" for name in CHARGES}
        settings |= {f"strategy.parameters.{name}": f"{v}" for name, v in parameters.items()}
        changes = [
            part for name, value in settings.items() for part in ("--set", f"{name}={value}")
        ]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pipeline", "run", "--config", config, *changes],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def outages(self) -> int:
        """Connections that the feeds counted as lost."""
        return sum(self._outages.values())

    @property
    def restarts(self) -> int:
        """Feeds that were started again."""
        return max(0, len(self._outages) - 1)

    def look(self) -> None:
        """Look at the heartbeats."""
        for role, row in self._watch.latest().items():
            self._pids[role] = int(row["pid"][0])
            if role == FEED:
                self._outages[self._pids[role]] = int(row["outages"][0])

    def pids(self) -> dict[str, int]:
        """Return the process of each role that has beaten."""
        return {"supervisor": self._process.pid, **self._pids}

    def kill_feed(self) -> None:
        os.kill(self._pids[FEED], signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to stop, and return its exit code."""
        self.look()
        self._process.terminate()
        return self._process.wait(STOP_SECONDS_MAX)

    def results(self) -> dict[str, str]:
        """Return the parameters of the results file; nothing where none was written."""
        files = sorted(self._results.glob("forward_test_results_*.csv"))
        return read_results(files[-1])[0] if files else {}

    def close(self) -> None:
        """Leave nothing behind, whatever happened."""
        self._watch.close()
        if self.alive:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
