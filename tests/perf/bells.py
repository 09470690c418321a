"""Why a reader parks the way it does: bits that are lost, and a wake-up that is missed.

    python -m tests.perf.bells [SECONDS]

Two processes do what a reader and a writer (or two readers) do, as fast as they can. A number
here says that something happens and about how often under this load, which no run has; it is
not the chance of a missed wake-up in a run. On one CPU the third one never happens.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
import timeit
from collections.abc import Callable

from pipeline.channels.waiting import fence

UPDATES = 300_000
X, Y, GO, DONE, SEEN, STOP = range(0, 96, 16)  # words, each on a cache line pair of its own


def shared_words() -> memoryview:
    return memoryview(mmap.mmap(-1, 4_096)).cast("Q")


def own_update_lost(update: Callable[[memoryview, int], int]) -> int:
    """Return how often one of two processes did not find its own update right after it."""
    words = shared_words()
    pid = os.fork()
    words[GO if pid else DONE] = update(words, 0 if pid else 1)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return int(words[GO] + words[DONE])


def set_own_bit(words: memoryview, index: int) -> int:
    mine, lost = 1 << index, 0
    for _ in range(UPDATES):
        words[X] |= mine
        lost += not words[X] & mine
        words[X] &= ~mine
    return lost


def set_own_byte(words: memoryview, index: int) -> int:
    own, lost = words.cast("B"), 0
    for _ in range(UPDATES):
        own[index] = 1
        lost += own[index] != 1
        own[index] = 0
    return lost


def wake_up_missed(between: Callable[[], None], seconds: float) -> tuple[int, int]:
    """Return rounds, and in how many both sides stored 1 and then read the other's old 0."""
    words = shared_words()
    first, last = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    pid = os.fork()
    os.sched_setaffinity(0, {first if pid else last})
    if pid == 0:
        _other_side(words, between)
    rounds = missed = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rounds += 1
        words[X] = words[Y] = 0
        words[GO] = rounds
        for _ in range(rounds % 7):  # the other side needs a moment to see it
            pass
        words[X] = 1
        between()
        seen = words[Y]
        while words[DONE] < rounds:
            pass
        missed += seen == words[SEEN] == 0
    words[STOP] = 1
    os.waitpid(pid, 0)
    return rounds, missed


def _other_side(words: memoryview, between: Callable[[], None]) -> None:
    rounds = 0
    while True:
        rounds += 1
        while words[GO] < rounds:
            if words[STOP]:
                os._exit(0)
        words[Y] = 1
        between()
        words[SEEN] = words[X]
        words[DONE] = rounds


def no_fence() -> None:
    pass


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    for name, update in (("bit of a shared word", set_own_bit), ("own byte", set_own_byte)):
        lost = own_update_lost(update)
        print(f"{name:24} {lost:>8,} of {2 * UPDATES:,} updates lost")
    for between in (no_fence, fence):
        rounds, missed = wake_up_missed(between, seconds)
        print(f"{between.__name__:24} {missed:>8,} of {rounds:,} rounds missed")
    count = 1_000_000
    for call in (no_fence, fence):
        print(f"{call.__name__:24} {timeit.timeit(call, number=count) / count * 1e9:>8.0f} ns")


if __name__ == "__main__":
    main()
