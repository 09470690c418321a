"""The latency of every peer on every schedule, in turns, and what the turns have in common.

A *run* is one turn of every peer on every schedule, in a random order that is the same each time
the benchmark is started. A ratio is taken within a turn, between two peers that ran within the
same seconds, and its median and spread over the turns are told.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.perf.machine import Disturbance
from tests.perf.ring.bare import loops
from tests.perf.ring.histograms import encode, fold, percentiles
from tests.perf.ring.pair import Outcome, Pair, Peer
from tests.perf.ring.peers import peers
from tests.perf.ring.rings import rings
from tests.perf.ring.schedules import RECORDS_MAX, SCHEDULES, Schedule


def all_peers() -> list[Peer]:
    return [*rings(), *loops(), *peers()]


class OneWay:
    """What was measured: for each schedule and peer, its turns."""

    def __init__(self, runs: int) -> None:
        self._runs = runs
        self._turns: dict[str, dict[str, list[Outcome]]] = {}
        self._disturbed: dict[str, list[float]] = {}
        self.names: list[str] = []
        self.missing = {peer.name: peer.missing() for peer in all_peers() if peer.missing()}

    def measure(self, schedules: Sequence[Schedule] = SCHEDULES) -> None:
        """Run every peer that is there. Needs two CPUs."""
        present = [peer for peer in all_peers() if not peer.missing()]
        self.names = [peer.name for peer in present]
        order = random.Random(1)
        with (
            tempfile.TemporaryDirectory(prefix="tickpipe-bench-", dir="/dev/shm") as folder,
            Pair(present, Path(folder), RECORDS_MAX) as pair,
        ):
            for schedule, peer in _turns(self._runs, schedules, present, order):
                disturbance = Disturbance()
                outcome = pair.run(peer, schedule.offsets_ns)
                self._disturbed.setdefault(schedule.name, []).append(disturbance.part())
                peers_of = self._turns.setdefault(schedule.name, {})
                peers_of.setdefault(peer.name, []).append(outcome)

    def p50s(self, schedule: str, peer: str) -> NDArray[np.float64]:
        """Return the median latency of each turn, ns."""
        turns = self._turns[schedule][peer]
        return np.array([np.median(turn.latency_ns) for turn in turns])

    def ratios(self, schedule: str, peer: str, to: str) -> NDArray[np.float64]:
        """Return how many times as long as ``to`` it took, turn by turn."""
        return self.p50s(schedule, peer) / self.p50s(schedule, to)

    def describe(self) -> dict[str, Any]:
        """Return everything, as JSON takes it."""
        return {
            "missing": self.missing,
            "schedules": {name: self._describe(name) for name in self._turns},
        }

    def _describe(self, schedule: str) -> dict[str, Any]:
        found = self._turns[schedule]
        return {
            "cpu_wanted_by_others": round(float(np.median(self._disturbed[schedule])), 4),
            "peers": {name: _describe(turns, self._runs) for name, turns in found.items()},
        }


def _turns(
    runs: int, schedules: Sequence[Schedule], present: list[Peer], order: random.Random
) -> Iterator[tuple[Schedule, Peer]]:
    for _ in range(runs):
        for schedule in schedules:
            for _ in range(schedule.turns):
                for peer in order.sample(present, len(present)):
                    yield schedule, peer


def _describe(turns: list[Outcome], runs: int) -> dict[str, Any]:
    """Return the percentiles of all turns together, of each run, and the histogram of all."""
    in_a_run = len(turns) // runs
    by_run = [turns[first : first + in_a_run] for first in range(0, len(turns), in_a_run)]
    whole = fold(turn.latency_ns for turn in turns)
    return {
        "sent": sum(turn.sent for turn in turns),
        "lost": sum(turn.lost for turn in turns),
        "achieved": round(float(np.median([turn.achieved for turn in turns])), 1),
        "ns": percentiles(whole),
        "runs": [percentiles(fold(turn.latency_ns for turn in run)) for run in by_run],
        "histogram": encode(whole),
    }


def possible() -> str:
    """Return why two processes cannot run at the same time here, "" where they can."""
    return "" if len(os.sched_getaffinity(0)) > 1 else "one CPU only"
