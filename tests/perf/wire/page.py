"""docs/performance/wire.md, made from the numbers of docs/performance/wire.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.perf.wire.figures import AIMS

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "performance"
HEAD = """\
# The wire, measured

Written by `scripts/bench wire --publish`; the numbers are in [wire.json](wire.json). The machine,
the state it was in, the commit:

"""
METHOD = """
## How it is measured

- The brokers' own clients, KiteTicker of kiteconnect and SmartWebSocketV2 of smartapi-python, get
  the same bytes in the same run, and a ratio is taken between two figures of one run. They build
  dictionaries of every field, depth included; tickpipe makes TICK rows, and writes them into a ring
  where it says so.
- Decoding: one process, the bytes in its cache already. Decoder and peer take turns in short
  rounds, and the best of each counts.
- Ticks are decoded into rows of their own and copied into the ring then. What decoding straight
  into its slots could save at most is the line "the ring alone"; and a packet that is refused, or a
  snapshot that says nothing new, would leave a hole in what is claimed already.
- Intake: the feed process on a real WebSocket on loopback, with nobody reading its ring. The server
  sends without a pause. The rate is that between two heartbeats of the feed; its memory is sampled
  meanwhile, and the slope is a least-squares line without the first tenth.
- To the callback: 2 000 frames a second of one full packet, from the call of send until the user's
  code has been entered. The prices are those of a generated day, on which strategy and risk trade.
  The server sleeps between two frames. "bare wake-ups" reads nothing: recv
  on a socket, and one process waking another.
- Poll mode spins in two processes, with `feed.receive` = "poll" in three, and the sender needs a
  CPU too. On fewer they yield to each other, and the row is the scheduler's. CPU pressure, above,
  is the part of the time in which somebody waited for a CPU: above a few per cent the figures are
  those of a fight.

To measure on your machine: `scripts/bench wire`. It prints the same figures, and judges nothing;
`--memory-ticks 100000000` takes a long day's ticks.
"""


def write(kept: dict[str, Any]) -> None:
    """Write wire.json and wire.md."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "wire.json").write_text(json.dumps(kept, indent=1) + "\n")
    (FOLDER / "wire.md").write_text(markdown(kept))


def markdown(kept: Mapping[str, Any]) -> str:
    """Return the page."""
    figures = kept["figures"]
    parts = [HEAD, *(f"- {name}: {value}\n" for name, value in kept["machine"].items())]
    parts.append("\n## What is asked, what was measured\n\n")
    parts.append(f"Medians of {kept['runs']} runs, from the lowest to the highest.\n\n")
    parts += ["| figure | asked | measured | from, to | |\n", "|---|---|---|---|---|\n"]
    parts += _aims(figures)
    parts += ["\n## Everything\n\n", "| figure | median | from, to |\n", "|---|---|---|\n"]
    parts += [f"| {name} | {_shown(median(v))} | {_range(v)} |\n" for name, v in figures.items()]
    return "".join([*parts, METHOD])


def _aims(figures: Mapping[str, Sequence[float]]) -> Iterator[str]:
    for aim in AIMS:
        side = "≥" if aim.at_least else "≤"
        asked = f"{side} {_shown(aim.asked)} {aim.unit}".rstrip()
        if aim.figure not in figures:
            yield f"| {aim.figure} | {asked} | not measured here | | |\n"
            continue
        values, middle = figures[aim.figure], median(figures[aim.figure])
        verdict = "reached" if aim.reached(middle) else "missed"
        yield f"| {aim.figure} | {asked} | {_shown(middle)} | {_range(values)} | {verdict} |\n"


def _range(values: Sequence[float]) -> str:
    return f"{_shown(min(values))} to {_shown(max(values))}"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
