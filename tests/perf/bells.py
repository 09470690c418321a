"""Why a reader parks the way it does: bits that are lost, and a wake-up that is missed.

    python -m tests.perf.bells [SECONDS]

Two processes on two CPUs do what two readers, or a reader and a writer, do, as fast as they can.
A number here says that something happens under a load that no run has; it is not the chance of a
missed wake-up in a run. Busy CPUs hide it: the two must run at the same time.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
import timeit
from collections.abc import Callable

from pipeline.channels.waiting import fence

TURNS = 1_000  # updates between two looks at the clock
X, Y, GO, DONE, SEEN, STOP = range(0, 96, 16)  # words, each on a cache line pair of its own


def shared_words() -> memoryview:
    return memoryview(mmap.mmap(-1, 4_096)).cast("Q")


def fork_on_other_cpu() -> int:
    """Fork, put the two processes on two CPUs, and return what fork did."""
    cpus = sorted(os.sched_getaffinity(0))
    pid = os.fork()
    os.sched_setaffinity(0, {cpus[0] if pid else cpus[-1]})
    return pid


def own_updates_lost(update: Callable[[memoryview, int], int], seconds: float) -> tuple[int, int]:
    """Return the updates of two processes, and how many were gone when looked for at once."""
    words, end = shared_words(), time.monotonic() + seconds
    pid = fork_on_other_cpu()
    updates = lost = 0
    while time.monotonic() < end:
        lost += update(words, 0 if pid else 1)
        updates += TURNS
    if pid == 0:
        words[DONE], words[SEEN] = updates, lost
        os._exit(0)
    os.waitpid(pid, 0)
    return updates + words[DONE], lost + words[SEEN]


def set_own_bit(words: memoryview, index: int) -> int:
    mine, lost = 1 << index, 0
    for _ in range(TURNS):
        words[X] |= mine
        lost += not words[X] & mine
        words[X] &= ~mine
    return lost


def set_own_byte(words: memoryview, index: int) -> int:
    own, lost = words.cast("B"), 0
    for _ in range(TURNS):
        own[index] = 1
        lost += own[index] != 1
        own[index] = 0
    return lost


def plain(words: memoryview, own: int, other: int) -> int:
    words[own] = 1
    return int(words[other])


def fenced(words: memoryview, own: int, other: int) -> int:
    words[own] = 1
    fence()
    return int(words[other])


def wake_up_missed(look: Callable[[memoryview, int, int], int], seconds: float) -> tuple[int, int]:
    """Return rounds, and in how many both sides stored 1 and then read the other's old 0."""
    words = shared_words()
    pid = fork_on_other_cpu()
    if pid == 0:
        _other_side(words, look)
    rounds = missed = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rounds += 1
        words[X] = words[Y] = 0
        words[GO] = rounds
        for _ in range(rounds % 7):  # the other side needs a moment to see it
            pass
        seen = look(words, X, Y)
        while words[DONE] < rounds:
            pass
        missed += seen == words[SEEN] == 0
    words[STOP] = 1
    os.waitpid(pid, 0)
    return rounds, missed


def _other_side(words: memoryview, look: Callable[[memoryview, int, int], int]) -> None:
    rounds = 0
    while True:
        rounds += 1
        while words[GO] < rounds:
            if words[STOP]:
                os._exit(0)
        words[SEEN] = look(words, Y, X)
        words[DONE] = rounds


def main() -> None:
    everywhere = os.sched_getaffinity(0)
    if len(everywhere) < 2:
        sys.exit("two processes that run at the same time need two CPUs")
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    for update in (set_own_bit, set_own_byte):
        updates, lost = own_updates_lost(update, seconds)
        print(f"{update.__name__:14} {lost:>8,} of {updates:,} updates lost")
        os.sched_setaffinity(0, everywhere)
    for look in (plain, fenced):
        rounds, missed = wake_up_missed(look, seconds)
        print(f"{look.__name__:14} {missed:>8,} of {rounds:,} rounds missed")
        os.sched_setaffinity(0, everywhere)
    count = 1_000_000
    print(f"{'fence()':14} {timeit.timeit(fence, number=count) / count * 1e9:>8.0f} ns")


if __name__ == "__main__":
    main()
