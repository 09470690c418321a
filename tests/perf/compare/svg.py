"""Curves as inline SVG: latency over percentile, and percentiles over rate. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Point = tuple[float, float]

COLOURS = {
    "guide, polling": "#b45309",
    "guide, callback": "#ca8a04",
    "callback": "#1d4ed8",
    "adaptive": "#0e7490",
    "poll": "#15803d",
}
WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 30, 42
NINES = {0.0: "0", 50.0: "50", 90.0: "90", 99.0: "99", 99.9: "99.9", 99.99: "99.99"}


def percentile_chart(title: str, curves: Mapping[str, Sequence[Point]]) -> str:
    """Return latency (ns) over percentile; each 9 more is as far as the one before."""
    lines = {
        name: [(_nines(percent), ns / 1_000) for percent, ns in curve if percent < 100]
        for name, curve in curves.items()
    }
    ticks = [(_nines(percent), text) for percent, text in NINES.items()]
    return _chart(title, "percentile", lines, ticks)


def rate_chart(title: str, curves: Mapping[str, Sequence[Point]]) -> str:
    """Return latency (ns) over ticks a second, both logarithmic."""
    lines = {
        name: [(math.log10(rate), ns / 1_000) for rate, ns in curve]
        for name, curve in curves.items()
    }
    rates = sorted({x for line in lines.values() for x, _ in line})
    return _chart(title, "ticks/s", lines, [(x, f"{10**x:,.0f}") for x in rates])


def _nines(percent: float) -> float:
    return -math.log10(1 - percent / 100)


def _chart(
    title: str, unit: str, lines: Mapping[str, Sequence[Point]], ticks: Sequence[tuple[float, str]]
) -> str:
    points = [point for line in lines.values() for point in line]
    if not points:
        return ""
    x_max = max(x for x, _ in points) or 1.0
    x_min = min(x for x, _ in points)
    low = math.floor(math.log10(max(min(y for _, y in points), 0.01)))
    high = max(low + 1, math.ceil(math.log10(max(y for _, y in points))))

    def place(x: float, y: float) -> str:
        across = LEFT + (x - x_min) / (x_max - x_min or 1.0) * (WIDTH - LEFT - RIGHT)
        up = (math.log10(max(y, 0.01)) - low) / (high - low)
        return f"{across:.1f},{HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM):.1f}"

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<text x="{LEFT}" y="16" class="t">{escape(title)}</text>',
    ]
    for power in range(low, high + 1):
        x, y = place(x_min, 10.0**power).split(",")
        parts.append(f'<line x1="{x}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" class="g"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y}" class="y">{_microseconds(power)}</text>')
    for at, text in ticks:
        if x_min <= at <= x_max:
            x = place(at, 1.0).split(",")[0]
            parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 16}" class="x">{text}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" class="x">{unit}</text>')
    for name, line in lines.items():
        if line:
            path = " ".join(place(x, y) for x, y in line)
            parts.append(f'<polyline points="{path}" stroke="{COLOURS[name]}"/>')
    return "".join([*parts, "</svg>"])


def _microseconds(power: int) -> str:
    if power >= 6:
        return f"{10 ** (power - 6)} s"
    if power >= 3:
        return f"{10 ** (power - 3)} ms"
    return f"{10.0**power:g} µs"


def legend() -> str:
    return "".join(
        f'<span><i style="background:{colour}"></i>{escape(name)}</span>'
        for name, colour in COLOURS.items()
    )
