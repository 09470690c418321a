"""What a soak came to: delivery, memory, latency. Pure.

A tick that was sent and not delivered is explained by an outage only where it was the last of a
connection that ended: the hole in the numbers must end where a later connection began. A hole
anywhere else is a tick that the pipeline lost.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

WARM_UP_PART = 0.25  # of the windows: memory that start-up touches late, caches, the ring itself
WINDOWS_MIN = 6  # behind the warm-up; fewer are not judged
LEAK_PERCENT_A_WINDOW = 0.4
RISING_PART_MIN = 0.8  # of all pairs of windows: memory that steps up and down does not leak
DRIFT_FACTOR_MAX = 2.0
DRIFT_NS_MIN = 200_000  # below it is the scheduler's


class Verdict(NamedTuple):
    """``ok`` None: there was too little to judge."""

    measure: str
    ok: bool | None
    text: str

    def __str__(self) -> str:
        word = {True: "ok", False: "FAULT", None: "-"}[self.ok]
        return f"{word:<6} {self.measure:<22} {self.text}"


# Delivery ------------------------------------------------------------------------------------


class Sent(Protocol):
    """The ticks that went over one connection."""

    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...
    @property
    def count(self) -> int: ...


class Delivery:
    """The numbers that ``on_tick`` saw, in the order in which it saw them."""

    def __init__(self) -> None:
        self.count = 0
        self.last = 0
        self.disorder = 0
        self.holes: list[tuple[int, int]] = []  # first and last number that are missing

    def take(self, numbers: NDArray[np.uint64]) -> None:
        if not len(numbers):
            return
        seen = np.concatenate(([self.last], numbers)).astype(np.int64)
        steps = np.diff(seen)
        self.disorder += int(np.count_nonzero(steps < 1))
        for at in np.flatnonzero(steps > 1).tolist():
            self.holes.append((int(seen[at]) + 1, int(seen[at + 1]) - 1))
        self.count += len(numbers)
        self.last = int(seen[-1])


class Account(NamedTuple):
    """Where the ticks went that were sent and not delivered."""

    sent: int
    delivered: int
    lost_with_connections: int
    never_sent: int  # played while nobody listened
    unexplained: int

    @property
    def ratio(self) -> float:
        return self.delivered / self.sent if self.sent else 0.0


def account(delivery: Delivery, connections: Sequence[Sent]) -> Account:
    """Return the account of a delivery once everything on its way has arrived."""
    starts = {connection.first for connection in connections[1:]}
    with_connections = never_sent = unexplained = 0
    for first, last in delivery.holes:
        sent = sent_between(first, last, connections)
        if last + 1 in starts:
            with_connections += sent
            never_sent += last + 1 - first - sent
        else:
            unexplained += sent or last + 1 - first
    newest = connections[-1].last if connections else 0
    unexplained += sent_between(delivery.last + 1, newest, connections)
    total = sum(connection.count for connection in connections)
    return Account(total, delivery.count, with_connections, never_sent, unexplained)


def sent_between(first: int, last: int, connections: Sequence[Sent]) -> int:
    """Return how many of the ticks ``first`` to ``last`` went over a connection."""
    return sum(max(0, min(last, c.last) - max(first, c.first) + 1) for c in connections)


def judge_delivery(delivery: Delivery, connections: Sequence[Sent]) -> Verdict:
    found = account(delivery, connections)
    broken = [c for c in connections if c.count != c.last - c.first + 1]
    adds_up = found.delivered + found.lost_with_connections + found.unexplained == found.sent
    ok = adds_up and not (found.unexplained or delivery.disorder or broken) and found.sent > 0
    text = (
        f"{found.delivered:,} of {found.sent:,} ticks sent, ratio {found.ratio:.6f}; "
        f"{found.lost_with_connections:,} lost with connections that broke, "
        f"{found.unexplained:,} unexplained, {delivery.disorder:,} out of order; "
        f"{found.never_sent:,} more were played while nobody listened"
    )
    return Verdict("delivery", ok, text)


# Memory --------------------------------------------------------------------------------------


def slope_percent(values: Sequence[float]) -> float:
    """Return the growth in one step, % of the first value: the median over all pairs."""
    steps = [(later - sooner) / (j - i) for (i, sooner), (j, later) in _pairs(values)]
    return 100 * statistics.median(steps) / values[0] if steps else 0.0


def _pairs(values: Sequence[float]) -> list[tuple[tuple[int, float], tuple[int, float]]]:
    return list(combinations(enumerate(values), 2))


def judge_memory(who: str, windows: Sequence[float]) -> Verdict:
    """Judge the memory of one life of a process, bytes, once a window."""
    settled = windows[int(len(windows) * WARM_UP_PART) :]
    if len(settled) < WINDOWS_MIN:
        text = f"{len(settled)} windows behind the warm-up; {WINDOWS_MIN} are judged"
        return Verdict(f"memory of {who}", None, text)
    percent = slope_percent(settled)
    pairs = _pairs(settled)
    rising = sum(later > sooner for (_, sooner), (_, later) in pairs) / len(pairs)
    leaks = percent > LEAK_PERCENT_A_WINDOW and rising >= RISING_PART_MIN
    text = (
        f"{settled[0] / 1e6:.1f} MB, then {settled[-1] / 1e6:.1f} MB after {len(settled) - 1} "
        f"windows: {percent:+.3f} % a window"
    )
    return Verdict(f"memory of {who}", not leaks, text)


# Latency -------------------------------------------------------------------------------------


def judge_latency(windows: Sequence[tuple[float, float]]) -> Verdict:
    """Judge p50 and p99 of each window, ns: the last quarter against the first, by medians."""
    settled = windows[int(len(windows) * WARM_UP_PART) :]
    if len(settled) < WINDOWS_MIN:
        text = f"{len(settled)} windows behind the warm-up; {WINDOWS_MIN} are judged"
        return Verdict("latency", None, text)
    part = max(2, len(settled) // 4)
    p50, p99 = (
        (statistics.median(values[:part]), statistics.median(values[-part:]))
        for values in zip(*settled, strict=True)
    )
    drifts = p50[1] > p50[0] * DRIFT_FACTOR_MAX and p50[1] - p50[0] > DRIFT_NS_MIN
    text = ", ".join(
        f"{name} {first / 1e3:,.0f} us in the first {part} windows, "
        f"{last / 1e3:,.0f} us in the last"
        for name, (first, last) in (("p50", p50), ("p99", p99))
    )
    return Verdict("latency", not drifts, text)
