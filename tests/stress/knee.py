"""What a step of the throughput stress came to, and the climb that finds the knee. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from tests.stress.load import Load, Outcome, Read, Written

RATE_KEPT_MIN = 0.95  # of the offered rate; below it the writer is the limit
BLOCKED_PERCENT_MAX = 1
PUBLISH_P90_NS_MAX = 1_000_000  # a call takes microseconds; one that waits takes the reader's time

Run = Callable[[Load], Outcome]


# Judging -------------------------------------------------------------------------------------


def limit_of(outcome: Outcome, lag_max: int) -> str:
    """Return what the step failed of, "" where it passed."""
    if outcome.lost:
        return "loss"
    if outcome.lag > lag_max:
        return "lag"
    return "writer" if outcome.written.rate < RATE_KEPT_MIN * outcome.load.rate else ""


def faults_of(outcome: Outcome) -> list[str]:
    """Return what must never be, whatever the load."""
    found = [f for read in outcome.reads for f in wrong_counts(read, outcome.written.published)]
    return found + _waiting(outcome.written)


def wrong_counts(read: Read, published: int) -> list[str]:
    missing = published - read.received - read.lost
    checks = {
        f"received {read.received:,} and lost {read.lost:,} of {published:,}: "
        f"{missing:,} are missing": missing,
        f"{read.holes:,} holes in the seqs that no gap explains": read.holes,
        f"was told of {read.told_lost:,} lost in {read.told_laps:,} laps, its reader counted "
        f"{read.lost:,} in {read.laps:,}": (read.told_lost, read.told_laps)
        != (read.lost, read.laps),
        f"its slot says {read.slot_lost:,} lost in {read.slot_laps:,} laps, its reader counted "
        f"{read.lost:,} in {read.laps:,}": (read.slot_lost, read.slot_laps)
        != (read.lost, read.laps),
        f"the strategy failed {read.failures:,} times": read.failures,
    }
    return [f"{read.name}: {what}" for what, wrong in checks.items() if wrong]


def _waiting(written: Written) -> list[str]:
    if written.blocked * 100 > written.calls * BLOCKED_PERCENT_MAX:
        return [f"the writer gave up its CPU {written.blocked:,} times in {written.calls:,} calls"]
    if written.publish_p90_ns > PUBLISH_P90_NS_MAX:
        return [f"one publish in ten took longer than {written.publish_p90_ns / 1e6:,.1f} ms"]
    return []


# Climbing ------------------------------------------------------------------------------------


class Climb(NamedTuple):
    """The steps of one climb and where it ended."""

    steps: tuple[Outcome, ...]
    knee: int  # the highest rate that passed, ticks/s; 0 = none did
    failed_at: int  # the lowest that did not; 0 = none did not
    ended_by: str


def climb(
    load: Load, run: Run, *, lag_max: int, rate_max: int, tries: int = 2, refine: int = 3
) -> Climb:
    """Climb from ``load.rate`` in doublings, then halve the gap between good and bad."""
    steps: list[Outcome] = []

    def attempt(rate: int) -> str:
        why = ""
        for _ in range(tries):
            steps.append(run(replace(load, rate=rate)))
            why = limit_of(steps[-1], lag_max)
            if not why:
                break
        return why

    good, bad, ended_by, rate = 0, 0, "none", load.rate
    while not bad and rate <= rate_max:
        if why := attempt(rate):
            bad, ended_by = rate, why
        else:
            good, rate = rate, 2 * rate
    for _ in range(refine if bad else 0):
        middle = (good + bad) // 2
        if why := attempt(middle):
            bad, ended_by = middle, why
        else:
            good = middle
    return Climb(tuple(steps), good, bad, ended_by)


class Slow(NamedTuple):
    """A strategy that is too slow, and a quick one at the same rate."""

    slow: Outcome
    quick: Outcome

    @property
    def faults(self) -> list[str]:
        never = [] if self.slow.reads[0].laps else ["the slow strategy was never overtaken"]
        return faults_of(self.slow) + faults_of(self.quick) + never


def run_slow(load: Load, run: Run) -> Slow:
    return Slow(run(load), run(replace(load, tick_us=0.0)))
