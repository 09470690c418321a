"""docs/performance/ring.png and ring.html: latency by percentile, and its median by rate."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.perf.ring.histograms import curve, decode
from tests.perf.ring.page import FOLDER, aims_table, costs_table, latency_table
from tests.perf.ring.schedules import HEADLINE

RATES = ("1 k/s", HEADLINE, "100 k/s", "1 M/s")
NINES = (0.0, 90.0, 99.0, 99.9, 99.99)
GROUPS = (  # by the start of a name: a colour map, and the part of it that is used
    ("ring in C", "Blues_r", 0.1, 0.5),
    ("ring in Python", "Greens_r", 0.2, 0.6),
    ("C to C", "Greys_r", 0.0, 0.6),
    ("", "Set1", 0.0, 1.0),
)
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0;font-size:13px}
td,th{padding:.2rem .6rem;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}
svg{max-width:100%;height:auto}
"""


def write(kept: Mapping[str, Any]) -> None:
    """Write ring.png and ring.html."""
    schedules = kept["details"]["ring"]["schedules"]
    figure = draw(schedules)
    figure.savefig(FOLDER / "ring.png", dpi=110)
    (FOLDER / "ring.html").write_text(as_html(kept, _svg(figure)))
    plt.close(figure)


def draw(schedules: Mapping[str, Any]) -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 6.2), sharey=True)
    colours = _colours(list(schedules[HEADLINE]["peers"]))
    _percentiles(left, schedules[HEADLINE]["peers"], colours)
    _rates(right, schedules, colours)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=5, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    return figure


def _colours(names: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for prefix, colours, first, last in GROUPS:
        group = [name for name in sorted(names) if name.startswith(prefix) and name not in found]
        places = np.linspace(first, last, len(group))
        found |= dict(zip(group, matplotlib.colormaps[colours](places), strict=True))
    return found


def _percentiles(axes: Axes, peers: Mapping[str, Any], colours: Mapping[str, Any]) -> None:
    for name, found in peers.items():
        points = [point for point in curve(decode(found["histogram"])) if point[0] <= NINES[-1]]
        x = [100 / (100 - percent) for percent, _ in points]
        style = ":" if name.startswith("control") else "-"
        axes.plot(x, [ns for _, ns in points], style, color=colours[name], label=name, lw=1.4)
    axes.set(xscale="log", yscale="log", xlabel="percentile", title=f"One way at {HEADLINE}")
    axes.set_xticks([100 / (100 - p) for p in NINES], [f"{p:g}" for p in NINES])
    axes.set_yticks([10.0**n for n in range(2, 10)])
    axes.set_yticklabels(["100 ns", "1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s"])
    axes.grid(alpha=0.3)


def _rates(axes: Axes, schedules: Mapping[str, Any], colours: Mapping[str, Any]) -> None:
    rates = [rate for rate in RATES if rate in schedules]
    for name, colour in colours.items():
        p50s = [schedules[rate]["peers"][name]["ns"]["p50"] for rate in rates]
        style = ":" if name.startswith("control") else "-"
        axes.plot(range(len(rates)), p50s, style, marker="o", ms=3, color=colour, lw=1.2)
    axes.set_xticks(range(len(rates)), rates)
    axes.set(xlabel="ticks intended", title="p50 by rate")
    axes.grid(alpha=0.3)


def _svg(figure: Figure) -> str:
    """Return it as SVG with text as text, without the head that XML wants."""
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ring"}):
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue().partition("<svg")[1] + out.getvalue().partition("<svg")[2]


def as_html(kept: Mapping[str, Any], svg: str) -> str:
    """Return one page that needs nothing else."""
    machine = "".join(
        f"<li>{html.escape(name)}: {html.escape(fact)}</li>"
        for name, fact in kept["machine"].items()
    )
    tables = [("What is asked, what was measured", aims_table(kept["figures"]))]
    for schedule, found in kept["details"]["ring"]["schedules"].items():
        tables.append((f"One way, {schedule}", latency_table(found["peers"])))
    tables.append(("What a call costs", costs_table(kept["figures"])))
    body = "".join(f"<h2>{html.escape(title)}</h2>{_table(rows)}" for title, rows in tables)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>The ring, measured</title>'
        f"<style>{STYLE}</style><h1>The ring, measured</h1><ul>{machine}</ul>{svg}{body}</html>\n"
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = ([html.escape(cell.replace("**", "")) for cell in row] for row in rows)
    titles = "".join(f"<th>{cell}</th>" for cell in head)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in body)
    return f"<table><tr>{titles}</tr>{lines}</table>"
