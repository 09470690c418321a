"""docs/performance/ring.md, made from the numbers of docs/performance/ring.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.perf.ring.bare import C_SPIN
from tests.perf.ring.costs import WAIT_FOR_NOTHING
from tests.perf.ring.figures import AIMS, SPINNING, Aim
from tests.perf.ring.peers import Control
from tests.perf.ring.schedules import HEADLINE

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "performance"
HEAD = """\
# The ring, measured

Written by `scripts/bench ring --publish`; the numbers, with a histogram of every row, are in
[ring.json](ring.json), the plot with them in [ring.html](ring.html). The machine, the state it was
in, the commit:

"""
PROFILE = """
## Where the time goes between two processes of Python

Each part measured alone. Against the bare loop in C stand the writer's own loop in Python, the call
that publishes, and the call that waits: leaving Python, giving the GIL away and taking it back,
making the row and looking once more. What of the wait lies before the tick is there does not count,
so the parts come to more than the whole. What the ring itself does is in the first line. A peer
that sleeps in the kernel takes one wake-up, about that of the bare eventfd: its ratio is that
wake-up over the same parts.

"""
METHOD = """
## How it is measured

- Open loop: each 64-byte tick has an intended time, and its latency counts from that time to the
  moment at which the reader's receiving call has returned. A writer that is late or blocked does
  not hide it.
- Two processes, one CPU each, the same two for all peers, which take turns in random order. A ratio
  is taken within a turn; the table says its median over the turns, the lowest and the highest. The
  headline has 10 turns in each run.
- What a peer delivers is not decoded, which favours those that deliver bytes. "to on_tick" is the
  ring and the strategy's session: the time is taken in the on_tick of a strategy.
- Raw nanoseconds go into arrays and are folded into HdrHistograms afterwards. Every record is
  compared with what was sent.
- The row "control" sends nothing: its reader looks at the clock when a tick would be due. Tails
  that it has too are the machine's. CPU pressure is the part of the time in which somebody waited
  for a CPU, by the kernel's own account; above a few per cent the figures are those of a fight.
- Market open: 1 000 ticks within a millisecond, ten times, 50 ms apart. A peer that does not keep
  up shows it as latency, and as an achieved rate below the one intended.
- Throughput: the writer keeps half a ring ahead of the slowest reader at most, and nothing is lost.
  Processes are not pinned there.
- A publish is timed with the loop around it. Nobody is parked then, and the ring has one reader.

To measure on your machine: `scripts/bench ring`. It prints the same figures, and judges nothing.
"""


def write(kept: dict[str, Any]) -> None:
    """Write ring.json and ring.md."""
    FOLDER.mkdir(exist_ok=True)
    only_ring = kept | {"details": {"ring": kept["details"]["ring"]}}
    (FOLDER / "ring.json").write_text(json.dumps(only_ring, indent=1) + "\n")
    (FOLDER / "ring.md").write_text(markdown(only_ring))


def markdown(kept: Mapping[str, Any]) -> str:
    """Return the page."""
    details = kept["details"]["ring"]
    parts = [HEAD, _list(kept["machine"]), "\n## What is asked, what was measured\n\n"]
    parts.append(f"Medians of {kept['runs']} runs, from the lowest to the highest.\n\n")
    parts.append(_table(aims_table(kept["figures"])))
    parts.append("\n![Latency by percentile, and by rate](ring.png)\n")
    for schedule, found in details["schedules"].items():
        parts.append(f"\n## One way, {schedule}\n\n")
        parts.append(_disturbed(found))
        parts.append(_table(latency_table(found["peers"])))
    parts += [PROFILE, _table(profile_table(kept["figures"]))]
    parts += ["\n## What a call costs\n\n", _table(costs_table(kept["figures"]))]
    if details["missing"]:
        parts += ["\n## Left out\n\n", _list(details["missing"])]
    return "".join(parts) + METHOD


def _list(facts: Mapping[str, str]) -> str:
    return "".join(f"- {name}: {fact}\n" for name, fact in facts.items())


def _disturbed(found: Mapping[str, Any]) -> str:
    return f"CPU pressure, median over the turns: {found['cpu_wanted_by_others']:.0%}.\n\n"


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    ruled = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "".join(f"| {' | '.join(row)} |\n" for row in ruled)


def aims_table(figures: Mapping[str, list[float]]) -> list[list[str]]:
    rows = [["figure", "asked", "measured", "from, to", "reached"]]
    for aim in AIMS:
        if aim.figure not in figures:
            rows.append([aim.figure, _asked(aim), "not measured", "", ""])
            continue
        values = figures[aim.figure]
        reached = "yes" if aim.reached(values) else "**no**"
        spread = f"{number(min(values))}, {number(max(values))}"
        rows.append([aim.figure, _asked(aim), number(median(values)), spread, reached])
    return rows


def _asked(aim: Aim) -> str:
    return f"{aim.sign} {aim.bound:,} {aim.unit}"


def latency_table(peers: Mapping[str, Any]) -> list[list[str]]:
    """Return a row for each peer, the fastest first; spread is that of the runs' p50."""
    names = ["p50", "p90", "p99", "p99.9", "p99.99", "max"]
    rows = [["", *names, "p50 of the runs", "lost", "achieved"]]
    for name, found in sorted(peers.items(), key=lambda item: item[1]["ns"]["p50"]):
        p50s = [run["p50"] for run in found["runs"]]
        rows.append(
            [
                f"**{name}**" if name == SPINNING else name,
                *(duration(found["ns"][percentile]) for percentile in names),
                f"{duration(min(p50s))} to {duration(max(p50s))}",
                f"{found['lost']:,} of {found['sent']:,}",
                f"{found['achieved']:,.0f}/s",
            ]
        )
    return rows


def profile_table(figures: Mapping[str, list[float]]) -> list[list[str]]:
    """Return what the headline of the ring in C is made of, ns; empty cells where not measured."""
    parts = {
        "bare loop, C to C: the way of the cache line, two looks at the clock": _one_way(C_SPIN),
        "a loop in Python that looks at the clock until a time is due (control)": _one_way(
            Control.name
        ),
        "publish one": "ring in C: publish one, ns",
        WAIT_FOR_NOTHING.removesuffix(", ns"): f"ring in C: {WAIT_FOR_NOTHING}",
        f"measured: {SPINNING}": _one_way(SPINNING),
    }
    found = {part: median(figures[name]) for part, name in parts.items() if name in figures}
    return [["", "ns"], *([part, number(value)] for part, value in found.items())]


def _one_way(name: str) -> str:
    return f"one way at {HEADLINE}: {name}, p50, ns"


def costs_table(figures: Mapping[str, list[float]]) -> list[list[str]]:
    rows = [["", "median", "from, to"]]
    for figure, values in _costs(figures):
        spread = f"{number(min(values))}, {number(max(values))}"
        rows.append([figure, number(median(values)), spread])
    return rows


def _costs(figures: Mapping[str, list[float]]) -> Iterator[tuple[str, list[float]]]:
    for figure, values in figures.items():
        if figure.startswith(("ring in ", "1 writer")):
            yield figure, values


def duration(ns: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}" if ns < 1_000 * size else f"{ns / size:,.0f} {unit}"
    return f"{ns:.0f} ns"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
