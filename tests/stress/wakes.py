"""Hand a tick back and forth between two processes that park whenever there is none.

A park lasts until the other rings, or ten seconds at most. That a slice runs out is the rescue
from a lost wake-up, and there must be none: the count of them has to be zero.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from pipeline.channels import IMPLEMENTATIONS, Implementation, choose
from pipeline.channels.waiting import Bell, Callback
from pipeline.records import TICK
from tests.perf.machine import describe_machine
from tests.rig import Processes, ticks, until
from tests.stress.reading import READ_MAX

SLICE_NS = 10 * 10**9
COUNTS = ("parks", "timeouts", "lost")
STRETCH = 1_000_000  # handoffs between two lines of output
STRETCH_SECONDS_MAX = 3_600.0


class Figures(NamedTuple):
    """What a soak came to, both sides together."""

    handoffs: int
    seconds: float
    parks: int
    rescues: int  # slices that ran out
    lost: int


class CountingBell(Bell):
    """A bell to park on that counts how often that was done and how often its slice ran out."""

    def __init__(self, bell: Bell) -> None:
        self.fences_everywhere = bell.fences_everywhere
        self._bell = bell
        self.parks = 0
        self.timeouts = 0

    def park(self, ready: Callable[[], bool], slice_ns: int = SLICE_NS) -> bool:
        rung = self._bell.park(ready, SLICE_NS)
        self.parks += 1
        self.timeouts += not rung
        return rung


def hand_over(
    channels: Implementation, directory: Path, me: str, other: str, handoffs: int
) -> Callable[[], dict[str, int]]:
    """Send a tick, park until one comes back, and so on; ``a`` begins."""

    def run() -> dict[str, int]:
        table = channels.Readers.attach(directory)
        writer = channels.RingWriter(directory / f"{me}.ring", TICK, 64, table.bells(other))
        until((directory / f"{other}.ring").exists)
        ring = channels.RingReader(directory / f"{other}.ring", TICK, table.slot(me))
        table.slot(me).take()
        until(lambda: table.slot(other).pid != 0)
        bell = CountingBell(table.bell(me))
        idle = Callback(bell, lambda: ring.ready).idle
        row = ticks(1, 1)
        for turn in range(handoffs // 2):
            if me == "a":
                writer.publish(row)
            while not len(rows := ring.read(READ_MAX)):
                idle()
            assert rows["seq"].tolist() == [turn + 1]
            if me == "b":
                writer.publish(row)
        return dict(zip(COUNTS, (bell.parks, bell.timeouts, ring.lost), strict=True))

    return run


def wakes(handoffs: int, implementation: str = "auto") -> Figures:
    """Hand ``handoffs`` ticks over; return what was counted."""
    channels, forks = choose(implementation), Processes()
    with TemporaryDirectory(prefix="tickpipe-wakes-") as directory:
        place = Path(directory)
        channels.Readers.create(place, ("a", "b")).close()
        began = time.monotonic()
        try:
            players = [
                forks.fork(hand_over(channels, place, me, other, handoffs))
                for me, other in (("a", "b"), ("b", "a"))
            ]
            sums = [player.result(STRETCH_SECONDS_MAX) for player in players]
        finally:
            forks.kill_all()
    seconds = time.monotonic() - began
    parks, rescues, lost = (sum(one[name] for one in sums) for name in COUNTS)
    return Figures(handoffs, seconds, parks, rescues, lost)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--handoffs", type=int, default=10_000_000, help="ticks (10 000 000)")
    names = ("auto", *IMPLEMENTATIONS)
    parser.add_argument("--implementation", choices=names, default="auto", help="(auto)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")


def main(options: argparse.Namespace) -> None:
    print(
        f"wakes --handoffs {options.handoffs} --implementation {options.implementation}", flush=True
    )
    total = Figures(0, 0.0, 0, 0, 0)
    while total.handoffs < options.handoffs and not total.rescues and not total.lost:
        figures = wakes(min(options.handoffs - total.handoffs, STRETCH), options.implementation)
        total = Figures(*map(sum, zip(total, figures, strict=True)))
        print(
            f"{total.handoffs:,} handoffs, {figures.handoffs / figures.seconds:,.0f}/s, "
            f"{total.parks:,} parks, {total.rescues} lost wake-ups",
            flush=True,
        )
    if options.json is not None:
        kept = {"machine": describe_machine(), "figures": total._asdict()}
        options.json.write_text(json.dumps(kept, indent=1))
    assert total.rescues == total.lost == 0, total
