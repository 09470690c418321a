"""What it takes from the broker's bytes to a strategy, beside the brokers' own clients.

Three parts: decoding in one process (decoding.py), how much the feed takes from a real WebSocket
(intake.py), and how long a tick needs from the call of send to on_tick (on_tick.py). Each says at
its head what its numbers mean. The peers are kiteconnect and smartapi-python, on the same frames
in the same run; without `pip install tickpipe[peers]` their rows are left out.
"""

from __future__ import annotations

from typing import Any

from tests.perf.results import Result, collected

MEMORY_TICKS = 10_000_000


def measure(runs: int, memory_ticks: int = MEMORY_TICKS) -> Result:
    """Return the figures of ``figures.AIMS`` and what they are made of."""
    from tests.perf.wire import decoding, intake, on_tick

    parts = (decoding.measure, lambda: intake.measure(memory_ticks), on_tick.measure)
    return Result(collected(part() for _ in range(runs) for part in parts), {})


def publish(kept: dict[str, Any]) -> None:
    """Write docs/performance/wire.md and wire.json from what was measured."""
    from tests.perf.wire import page

    page.write(kept)
