"""Climb the offered rate until ticks are lost, or the strategy lags, or the writer is the limit.

For each mode, number of readers and instruments, and kind of strategy the rate doubles until a
step fails, and the knee is found between the last rate that passed and the first that did not. A
step that fails is tried again: one pause of the machine is no knee. What ends a climb:

    loss     a reader was overtaken
    lag      the strategy was --lag-max ticks behind for the median of the step's second half
    writer   the writer did not offer the rate: below it is no limit of ring or readers
    none     --rate-max was reached

Then a strategy that is far too slow reads at --slow-rate, beside one that is not. Its losses and
laps are counted by its reader, by its slot in readers.ctl, and by the strategy from what it was
told, and must be the same; received + lost must be what was published; and the writer must not
have waited. The same is checked in every step; what is wrong is a fault and ends with code 1.

--inject breaks the reader ("skip": it drops one tick in a thousand without a word) or the writer
("wait": it waits for its slowest reader), to see that it is found.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.channels import IMPLEMENTATIONS
from pipeline.records import WhenLapped
from tests.perf.machine import describe_machine
from tests.stress.knee import Climb, Run, Slow, climb, faults_of, run_slow, wrong_counts
from tests.stress.load import Load, Outcome, run_load

SHARED_MEMORY = Path("/dev/shm")
FAULTS: dict[str, dict[str, Any]] = {"skip": {"skip_every": 1_000}, "wait": {"feed_waits": True}}

# Showing -------------------------------------------------------------------------------------


def show_climb(load: Load, found: Climb) -> str:
    best = [step for step in found.steps if step.load.rate == found.knee][-1:]
    figures = ""
    if best:
        read, written = best[0].reads[0], best[0].written
        figures = (
            f"  lag {best[0].lag:>6,}  latency p50 {read.p50_ns / 1e3:>8,.0f} us  "
            f"p99 {read.p99_ns / 1e3:>9,.0f} us  writer {written.publish_max_ns / 1e3:>8,.0f} us"
        )
    ended = "none" if not found.failed_at else f"{found.ended_by} at {found.failed_at:,}"
    return (
        f"{load.mode:<8} {load.readers:>7} {load.instruments:>11,} {load.strategy:<8} "
        f"{found.knee:>12,}  {ended:<22}{figures}"
    )


HEAD = (
    f"{'mode':<8} {'readers':>7} {'instruments':>11} {'strategy':<8} {'knee':>12}  "
    f"{'ended by':<22}  at the knee"
)


def show_slow(slow: Slow) -> str:
    load, read = slow.slow.load, slow.slow.reads[0]
    agree = not wrong_counts(read, slow.slow.written.published)
    counted = "reader, slot and strategy agree" if agree else "THEY DO NOT AGREE"
    lines = [
        f"slow strategy, {load.mode}, {load.strategy}, goes on with the {load.when_lapped}: "
        f"published {slow.slow.written.published:,} = received {read.received:,} "
        f"+ lost {read.lost:,} in {read.laps:,} laps; {counted}"
    ]
    for name, outcome in (("slow", slow.slow), ("quick", slow.quick)):
        written = outcome.written
        lines.append(
            f"    beside the {name} one the writer kept {written.rate / load.rate:.1%} of "
            f"{load.rate:,}/s, blocked {written.blocked} times, publish p90 "
            f"{written.publish_p90_ns / 1e3:,.0f} us, max {written.publish_max_ns / 1e3:,.0f} us"
        )
    return "\n".join(lines)


def as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "load": asdict(outcome.load),
        "written": outcome.written._asdict(),
        "reads": [read._asdict() for read in outcome.reads],
        "lag": outcome.lag,
        "lag_max": outcome.lag_max,
    }


# The command ---------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--readers",
        type=_words("1", "2", "3"),
        default=["1", "2", "3"],
        help="reading processes, 1 to 3 (1,2,3)",
    )
    add("--instruments", type=_numbers, default=[1, 100, 3_000], help="(1,100,3000)")
    add("--mode", type=_words("poll", "callback"), default=["poll", "callback"], help="(both)")
    add("--strategy", type=_words("tick", "batch"), default=["tick", "batch"], help="(both)")
    add("--seconds", type=float, default=1.0, help="of a step (1)")
    add("--lag-max", type=int, default=4_096, help="ticks that the strategy may be behind (4096)")
    add("--rate-min", type=int, default=25_000, help="ticks/s to begin with (25000)")
    add("--rate-max", type=int, default=25_600_000, help="ticks/s to end with (25600000)")
    add("--tries", type=int, default=2, help="of a step before it counts as failed (2)")
    add("--slow-us", type=float, default=200.0, help="what the slow strategy takes (200)")
    add("--slow-rate", type=int, default=50_000, help="ticks/s offered to it (50000)")
    add("--implementation", choices=("auto", *IMPLEMENTATIONS), default="auto", help="(auto)")
    add("--inject", choices=tuple(FAULTS), help="break something, to see that it is found")
    add("--json", type=Path, metavar="FILE", help="write every step there too")


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _words(*known: str) -> Callable[[str], list[str]]:
    def words(text: str) -> list[str]:
        if strange := set(text.split(",")) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(strange)}: not of {', '.join(known)}")
        return text.split(",")

    return words


def _run_in_shared_memory(load: Load) -> Outcome:
    place = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="tickpipe-throughput-", dir=place) as directory:
        return run_load(load, Path(directory))


def main(options: argparse.Namespace, run: Run = _run_in_shared_memory) -> None:
    """Do what the options say; leave with code 1 where a fault was found."""
    machine = describe_machine() | {"load": f"{os.getloadavg()[0]:.1f}"}
    print("  ".join(f"{name}: {value}" for name, value in machine.items()))
    climbs, faults = _climb_all(options, run)
    slows = _run_all_slow(options, run)
    for slow in slows:
        faults += [f"slow strategy: {fault}" for fault in slow.faults]
    if options.json is not None:
        kept = {
            "machine": machine,
            "climbs": [found._asdict() | {"steps": _all(found.steps)} for found in climbs],
            "slow": [_all(slow) for slow in slows],
            "faults": faults,
        }
        options.json.write_text(json.dumps(kept, indent=1))
    if faults:
        sys.exit("FAULTS\n" + "\n".join(faults))
    print("no fault: every tick was received or counted as lost, and the writer never waited")


def _all(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    return [as_json(outcome) for outcome in outcomes]


def _climb_all(options: argparse.Namespace, run: Run) -> tuple[list[Climb], list[str]]:
    climbs, faults = [], []
    print(HEAD, flush=True)
    for mode, readers, instruments, strategy in itertools.product(
        options.mode, options.readers, options.instruments, options.strategy
    ):
        load = Load(
            rate=options.rate_min,
            seconds=options.seconds,
            readers=int(readers),
            instruments=instruments,
            mode=mode,
            strategy=strategy,
            implementation=options.implementation,
            **_fault(options),
        )
        found = climb(
            load, run, lag_max=options.lag_max, rate_max=options.rate_max, tries=options.tries
        )
        climbs.append(found)
        faults += [
            f"{mode}, {readers} readers, {instruments} instruments, {strategy}, "
            f"{step.load.rate:,}/s: {fault}"
            for step in found.steps
            for fault in faults_of(step)
        ]
        print(show_climb(load, found), flush=True)
    return climbs, faults


def _run_all_slow(options: argparse.Namespace, run: Run) -> list[Slow]:
    slows = []
    for mode, strategy, policy in itertools.product(
        options.mode, options.strategy, (WhenLapped.LATEST, WhenLapped.OLDEST)
    ):
        load = Load(
            rate=options.slow_rate,
            seconds=options.seconds,
            mode=mode,
            strategy=strategy,
            tick_us=options.slow_us,
            capacity=4_096,
            when_lapped=policy,
            implementation=options.implementation,
            **_fault(options),
        )
        slows.append(run_slow(load, run))
        print(show_slow(slows[-1]), flush=True)
    return slows


def _fault(options: argparse.Namespace) -> dict[str, Any]:
    return FAULTS[options.inject] if options.inject else {}
