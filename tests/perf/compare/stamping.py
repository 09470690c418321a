"""What it costs to measure the latency of every tick and every order.

    python -m tests.perf.compare.stamping

Best of seven rounds in one process, with the call itself: the price of each step where nothing
disturbs it. "A batch" is what a process pays once for all ticks that it read together, so with
one tick in a batch it is the price of a tick; counting comes once in 1 024 values, or with a
heartbeat. Nothing here is a latency.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from time import monotonic_ns

import numpy as np

from pipeline.records import TICK, Stage
from pipeline.runtime.latency import LatencyHistogram, Stages

CALLS = 20_480
WAITING = 1_024


def ns(call: Callable[[], object], calls: int = CALLS) -> float:
    """Return the time of one call."""
    return min(timeit.repeat(call, number=calls, repeat=7)) / calls * 1e9


def measure() -> dict[str, float]:
    one, many = np.zeros(1, TICK), np.zeros(256, TICK)
    one["ts_recv_ns"] = many["ts_recv_ns"] = monotonic_ns() - 50_000
    stages = Stages(Stage.FEED_TO_RISK, Stage.SIGNAL_TO_RISK, Stage.SIGNAL_TO_ORDER)
    histogram = stages[Stage.FEED_TO_RISK]

    def note(rows: np.ndarray) -> None:
        histogram.add(monotonic_ns() - rows["ts_recv_ns"])

    waiting = np.full(WAITING, 50_000)

    def fill_and_count() -> None:
        histogram.add(waiting)
        histogram.latency()

    return {
        "read the clock, ns": ns(monotonic_ns),
        "a batch of 1 tick, ns": ns(lambda: note(one)),
        "a batch of 256 ticks, ns": ns(lambda: note(many), 2_048),
        "an order, ns": ns(lambda: histogram.add_one(monotonic_ns() - 5)),
        f"count {WAITING} and take percentiles, ns": ns(fill_and_count, 512),
        "a heartbeat's row of 3 stages, ns": ns(stages.row, 512),
        "memory of a stage, bytes": float(_bytes_of(histogram)),
    }


def _bytes_of(histogram: LatencyHistogram) -> int:
    return sum(value.nbytes for value in vars(histogram).values() if isinstance(value, np.ndarray))


def main() -> None:
    for what, value in measure().items():
        print(f"{what:44} {value:>10,.0f}")


if __name__ == "__main__":
    main()
