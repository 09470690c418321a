"""What is asked of the ring, and the figures that answer it."""

from __future__ import annotations

import operator
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from tests.perf.ring.bare import C_FUTEX, C_SPIN
from tests.perf.ring.schedules import HEADLINE

if TYPE_CHECKING:
    from tests.perf.ring.one_way import OneWay

SPINNING, PARKED = "ring in C, spinning", "ring in C, parked"
SLOWER = ("iceoryx2, spinning", "faster-fifo", "multiprocessing.Pipe", "pyzmq, ipc")
COMPARE = {"≤": operator.le, "≥": operator.ge}


class Aim(NamedTuple):
    """What one figure should be at least or at most, by its median."""

    figure: str
    sign: str
    bound: float
    unit: str

    def reached(self, values: list[float]) -> bool:
        return bool(COMPARE[self.sign](median(values), self.bound))


def _times(one: str, other: str) -> str:
    return f"p50 of {one} ÷ {other}"


AIMS = (
    Aim(_times(SPINNING, C_SPIN), "≤", 3, "×"),
    Aim(_times("iceoryx2, spinning", SPINNING), "≥", 5, "×"),
    *(Aim(_times(name, SPINNING), "≥", 50, "×") for name in SLOWER[1:]),
    Aim(_times(PARKED, C_FUTEX), "≤", 1.15, "×"),
    Aim("ring in C: publish one, ns", "≤", 150, "ns"),
    Aim("ring in C: publish 64, ns a tick", "≤", 15, "ns"),
    Aim("1 writer, 2 readers in batches, ticks/s", "≥", 5_000_000, "ticks/s"),
    Aim("1 writer, 1 reader, StrategySession.on_ticks, ticks/s", "≥", 1_000_000, "ticks/s"),
    Aim("1 writer, 1 reader, for row in rows, ticks/s", "≥", 1_000_000, "ticks/s"),
    Aim("ring in C: idle reader, parked, % CPU", "≤", 1, "%"),
)


def of(one_way: OneWay) -> dict[str, list[float]]:
    """Return the medians and ratios of the headline, one value for each turn."""
    found = {
        f"one way at {HEADLINE}: {name}, p50, ns": one_way.p50s(HEADLINE, name).tolist()
        for name in one_way.names
    }
    pairs = [(SPINNING, C_SPIN), *((name, SPINNING) for name in SLOWER), (PARKED, C_FUTEX)]
    for one, other in pairs:
        if {one, other} <= set(one_way.names):
            found[_times(one, other)] = one_way.ratios(HEADLINE, one, other).tolist()
    return found
