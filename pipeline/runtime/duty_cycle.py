"""The one loop of the product; poll or callback mode is the ``idle`` it is given."""

from __future__ import annotations

import time
from collections.abc import Callable

from pipeline.runtime.stopping import Stop

BEAT_INTERVAL_NS = 100_000_000


def run(
    work: Callable[[], int],
    *,
    idle: Callable[[], None],
    stop: Stop,
    beat: Callable[[int], None],
    ended: Callable[[], bool],
    beat_interval_ns: int = BEAT_INTERVAL_NS,
    clock: Callable[[], int] = time.monotonic_ns,
) -> None:
    """Call ``work`` until ``stop`` is requested or its source has ``ended``.

    ``work`` returns how much it did; ``idle`` waits after a turn without work. ``beat`` gets the
    number of turns at once, then every ``beat_interval_ns`` in a flood as in silence, and when
    the loop is left. What ``work`` raises goes to the caller, without a last beat.
    """
    cycles = 0
    due_ns = clock()
    while not stop.requested:
        cycles += 1
        if not work():
            if not ended():
                idle()
            elif not work():  # what came between the empty turn and the end is still work
                break
        now_ns = clock()
        if now_ns >= due_ns:
            due_ns = now_ns + beat_interval_ns
            beat(cycles)
            stop.check_parent()
    beat(cycles)
