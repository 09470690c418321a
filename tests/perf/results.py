"""What a benchmark returns: figures, one value for each run or turn, and details for its page."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple


class Result(NamedTuple):
    """Figures by name; ``details`` is anything that JSON takes."""

    figures: dict[str, list[float]]
    details: dict[str, Any]


def repeated(measure: Callable[[], dict[str, float]]) -> Callable[[int], Result]:
    """Return the benchmark that calls ``measure`` once for each run."""

    def benchmark(runs: int) -> Result:
        return Result(collected(measure() for _ in range(runs)), {})

    return benchmark


def collected(runs: Iterator[dict[str, float]]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for run in runs:
        for figure, value in run.items():
            figures.setdefault(figure, []).append(value)
    return figures


def lines(figures: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """Return a line for each figure: median, lowest, highest."""
    for figure, values in figures.items():
        median, low, high = statistics.median(values), min(values), max(values)
        yield f"{figure:<72} median {median:>14,.1f}   from {low:,.1f} to {high:,.1f}"
