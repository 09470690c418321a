"""The ring beside other ways between two processes, and what it costs.

One way, open loop: the writer publishes a 64-byte tick at each intended time, and the reader takes
the time when its receiving call has returned. The latency counts from the intended time, so that a
writer that is late or blocked does not hide it. Every peer has the same times, record, processes
and CPUs, and they take turns. What a peer delivers is not decoded, which favours those that
deliver bytes; "to on_tick" is the ring and the strategy's session. The row "control" has no
channel: it is what the machine did to a process that only looks at the clock.

The tails are the machine's where the control has them too. Not to be compared with a ping-pong
halved, nor with figures of another machine.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from pipeline.errors import explain
from tests.perf.results import Result, collected


def measure(runs: int) -> Result:
    """Return the figures of ``figures.AIMS`` and everything that ``publish`` takes."""
    _need("hdrh")
    from tests.perf.ring import figures
    from tests.perf.ring.costs import costs
    from tests.perf.ring.one_way import OneWay
    from tests.perf.ring.throughput import throughput

    found = collected({**costs(), **throughput()} for _ in range(runs))
    one_way = OneWay(runs)
    one_way.measure()
    found |= figures.of(one_way)
    return Result(found, one_way.describe())


def publish(kept: dict[str, Any]) -> None:
    """Write docs/performance/ring.* from what was measured."""
    _need("hdrh")
    _need("matplotlib")
    from tests.perf.ring import page, plot

    page.write(kept)
    plot.write(kept)


def _need(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        sys.exit(
            explain(
                f"the package {package} is not installed",
                rule="the ring's benchmark needs the extra tickpipe[bench]",
                cure="scripts/bench installs it, see why pip refused above",
            )
        )
