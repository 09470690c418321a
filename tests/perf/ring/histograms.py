"""Latencies as HdrHistograms: folded after the run, kept whole, read as percentiles."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "p99.99": 99.99, "max": 100.0}
HIGHEST_NS = 600_000_000_000
DIGITS = 3  # a value is off by a thousandth at most


def fold(latencies_ns: Iterable[NDArray[np.int64]]) -> HdrHistogram:
    """Return all of ``latencies_ns`` as one histogram; what is below 1 ns counts as 1 ns."""
    histogram = HdrHistogram(1, HIGHEST_NS, DIGITS)
    for latencies in latencies_ns:
        values, counts = np.unique(np.maximum(latencies, 1), return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            assert histogram.record_value(value, count), f"{value} ns"
    return histogram


def percentiles(histogram: HdrHistogram) -> dict[str, int]:
    """Return the percentiles in ns; 0 where nothing was recorded."""
    return {
        name: int(histogram.get_value_at_percentile(percent))
        for name, percent in PERCENTILES.items()
    }


def encode(histogram: HdrHistogram) -> str:
    """Return it in the interchange format of HdrHistogram (V2, compressed, base64)."""
    return str(histogram.encode().decode())


def decode(text: str) -> HdrHistogram:
    return HdrHistogram.decode(text)


def curve(histogram: HdrHistogram) -> list[tuple[float, int]]:
    """Return (percentile, ns) pairs from 0 to 100, denser towards the end."""
    points = (
        (item.percentile_level_iterated_to, item.value_iterated_to)
        for item in histogram.get_percentile_iterator(5)
    )
    return [(float(percent), int(value)) for percent, value in points]
