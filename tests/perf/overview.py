"""docs/performance.md, made from docs/performance/bench.json: every benchmark without a page of
its own, and where the pages of the others are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs"
STORED, PAGE = DOCS / "performance" / "bench.json", DOCS / "performance.md"

HEAD = """\
# Performance

Written by `scripts/bench backtest replay orders rehearsal recording receive --publish`; the numbers
are in [performance/bench.json](performance/bench.json). These have pages of their own:

- [performance/modes.md](performance/modes.md): poll, callback and adaptive mode beside the loops of
  the guide, from the wire to the order; what measuring costs; which mode to choose.
- [performance/ring.md](performance/ring.md): the ring beside other ways between two processes.
- [performance/wire.md](performance/wire.md): from the broker's bytes to the strategy, beside the
  brokers' own clients.

Nothing here says how late a tick is on your machine. Every run measures that itself, whole days
long, and shows it live and in the rows "Latency …" of its results: p50, p90, p99, p99.9 and maximum
of each stage.

Medians, with the lowest and the highest run. Do not compare a figure with one of another run or
another machine: only what one call of `scripts/bench` measured side by side is a comparison. Above
a few per cent of CPU pressure the figures are those of a fight for the CPU.
"""
TEXTS = {
    "backtest": """\
## Trading a day in one process

A recorded NIFTY option of 32 591 ticks; where that recording is absent, a generated day of the same
length. Every tick is handed to the Python code that trades live: do not compare it with a
vectorised backtest.
""",
    "replay": """\
## Trading a day through the processes, in lockstep

The same day. A tick waits for three processes in turn, so the rate is that of a round trip, not of
the ring. Where strategy and risk have no CPU each, poll mode yields between two looks.
""",
    "orders": """\
## What an order costs

*Signal → order*: a signal is in risk's hands until its order is handed to the gateway. *Tick →
exit order*: the same from a tick that hits the stop. Calls in one process, each after the whole
work on the order before it: do not compare them with a latency between processes. With the ledger
in a file the row is on the disk before the order leaves (why:
[decision 0007](decisions/0007-the-ledger-commits-before-the-order-leaves.md)); a file of the
system's temporary folder says nothing about another disk.

*Of it* is where the time goes: what each part takes when it is called again and again, and how many
calls of functions lie on the way. It is Python from end to end, and a call costs what it costs.

*Flatten in a flood*: from the request to the exit order's leaving, with a million ticks a second
offered, the strategy stopped (SIGSTOP) and a position open, through real processes and a socket.
""",
    "rehearsal": """\
## After a pause, and rehearsed

Ticks and orders are rare on the scale of a CPU. *Rested* is what one takes after 10 ms without any,
though the process did nothing but spin on its CPU: the caches have other things by then.
*Rehearsed* is the same in a process that walks the way again and again meanwhile, as every bare
spinner does ([decision 0012](decisions/0012-a-bare-spinner-rehearses.md)). What comes during a
rehearsal waits for its end, and that is counted.
""",
    "recording": """\
## What recording costs

Every part and every file is synced to the disk of the system's temporary folder.
""",
    "receive": """\
## From the socket to the feed's session

Frames of 186 bytes over loopback, 2 000 a second, from the moment of sending, not decoded. The best
of short rounds that take turns.
""",
}
FOOT = """
## To measure

`scripts/bench` measures everything, `scripts/bench orders` one of them; `--json out.json` keeps the
numbers. What single decisions rest on is measured by `tests/perf/bells.py`, `tests/perf/ledger.py`,
`tests/perf/logs_after_a_kill.py` and `tests/perf/steps.py`.
"""


def publish(kept: Mapping[str, Any], name: str) -> None:
    """Put what the benchmark ``name`` measured into bench.json, and write the page anew."""
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    figures = {figure: kept["figures"][figure] for figure in kept["of"][name]}
    stored[name] = {"machine": kept["machine"], "runs": kept["runs"], "figures": figures}
    STORED.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(stored), encoding="utf-8")


def page(stored: Mapping[str, Any]) -> str:
    """Return the page that ``stored`` makes."""
    sections = [
        "\n" + TEXTS[name] + "\n" + _table(stored[name]) for name in TEXTS if name in stored
    ]
    return "".join([HEAD, *sections, FOOT])


def _table(measured: Mapping[str, Any]) -> str:
    machine, runs = measured["machine"], measured["runs"]
    told = ("cpu", "cores", "kernel", "python", "load", "cpu pressure meanwhile", "commit", "date")
    lines = [f"{runs} runs; " + ", ".join(f"{name}: {machine[name]}" for name in told), ""]
    lines += ["| figure | median | from, to |", "|---|---:|---:|", *_rows(measured["figures"])]
    return "\n".join(lines) + "\n"


def _rows(figures: Mapping[str, Sequence[float]]) -> Iterator[str]:
    for name, values in figures.items():
        shown = _shown(median(values)), _shown(min(values)), _shown(max(values))
        yield f"| {name} | {shown[0]} | {shown[1]}, {shown[2]} |"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
