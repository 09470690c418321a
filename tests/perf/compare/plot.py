"""The picture of the README and of docs/performance, as PNG; needs matplotlib (the extra bench)."""

from __future__ import annotations

import math
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from tests.perf.compare.svg import COLOURS
from tests.perf.compare.tables import Report, latency, loads_of, ways_of

CURVES_AT = ("1,000/s", "500/s")  # the first of these that was measured


def write_png(report: Report, path: Path) -> str:
    """Write the picture; return why it was not written, "" when it was."""
    if find_spec("matplotlib") is None:
        return "matplotlib is not installed (pip install tickpipe[bench])"
    import_module("matplotlib").use("Agg")
    pyplot = import_module("matplotlib.pyplot")
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    rates = {load: _rate(load) for load in loads_of(report) if load.endswith("/s")}
    for way in ways_of(report):
        for statistic, style in (("p50", "-"), ("p99", ":")):
            values = {
                rate: latency(report, way, load, "wire to strategy", statistic)
                for load, rate in rates.items()
            }
            known = {rate: ns / 1e3 for rate, ns in values.items() if ns is not None}
            label = way if statistic == "p50" else None
            left.plot(
                known.keys(), known.values(), style, marker=".", color=COLOURS[way], label=label
            )
    left.set(xscale="log", yscale="log", xlabel="ticks/s", ylabel="µs")
    left.set_title("wire → strategy: p50, dotted p99")
    load = next(load for load in (*CURVES_AT, *loads_of(report)) if load in loads_of(report))
    for way in ways_of(report):
        right.plot(*_curve(report, way, load), color=COLOURS[way], label=way)
    right.set(yscale="log", xlabel="percentile", ylabel="µs")
    right.set_title(f"frame in hand → strategy at {load}")
    right.set_xticks([0, 1, 2, 3], ["0", "90", "99", "99.9"])
    for axes in (left, right):
        axes.grid(visible=True, which="major", alpha=0.3)
    right.legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
    return ""


def _rate(load: str) -> int:
    return int(load.removesuffix("/s").replace(",", ""))


def _curve(report: Report, way: str, load: str) -> tuple[list[float], list[float]]:
    measured = next(e for e in report["loads"] if (e["way"], e["load"]) == (way, load))
    points = [(p, ns) for p, ns in measured["curves"]["feed to strategy"] if p < 100]
    return [-math.log10(1 - p / 100) for p, _ in points], [ns / 1e3 for _, ns in points]
