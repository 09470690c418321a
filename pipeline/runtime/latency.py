"""Latencies of a whole day: raw nanoseconds on the tick path, counted into buckets off it.

A value waits as it is, which is one copy; when 1 024 wait, or somebody asks, they are counted
into fixed buckets together. A bucket is 1/128 of its power of two wide: below 256 ns the count is
exact, above it a percentile is at most 0.8 % too high and never too low. 58 kB for each stage,
however long the day.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.records import LATENCY, Stage

_WAITING_MAX = 1_024
_BITS = 7
_WIDTH = 1 << _BITS  # buckets in a power of two
_BUCKETS = (64 - _BITS) * _WIDTH  # up to the largest int64

_PERCENTILES = ("50", "90", "99", "99.9")
_THOUSANDTHS = (500, 900, 990, 999)


class Latency(NamedTuple):
    """What a stage came to, ns; all 0 when nothing was measured. In the order of LATENCY."""

    samples: int
    p50_ns: int
    p90_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int

    def __str__(self) -> str:
        if not self.samples:
            return "n/a (nothing measured)"
        shown = [f"p{p} {ns / 1_000:,.1f}" for p, ns in zip(_PERCENTILES, self[1:], strict=False)]
        return f"{', '.join(shown)}, max {self.max_ns / 1_000:,.1f} us of {self.samples:,}"


assert Latency._fields == LATENCY.names

NOTHING = Latency(0, 0, 0, 0, 0, 0)


class LatencyHistogram:
    """Every latency ever added, in buckets."""

    def __init__(self) -> None:
        self._waiting = np.zeros(_WAITING_MAX, np.int64)
        self._at = 0  # where the next one waits
        self._buckets = np.zeros(_BUCKETS, np.int64)
        self._used = 0  # no bucket behind these many has one
        self._counted = 0
        self._max_ns = 0
        self._latest = NOTHING

    @property
    def count(self) -> int:
        """How many were added."""
        return self._counted + self._at

    def add_one(self, ns: int) -> None:
        """Add one latency; one below 0 counts as 0."""
        if self._at == _WAITING_MAX:
            self._count_waiting()
        self._waiting[self._at] = ns
        self._at += 1

    def add(self, values_ns: NDArray[np.int64]) -> None:
        """Add a batch, shape (n,); those below 0 count as 0."""
        after = self._at + len(values_ns)
        if after > _WAITING_MAX:
            self._add_and_count(values_ns)
            return
        self._waiting[self._at : after] = values_ns
        self._at = after

    def _add_and_count(self, values_ns: NDArray[np.int64]) -> None:
        for start in range(0, len(values_ns), _WAITING_MAX):
            self._count_waiting()
            self.add(values_ns[start : start + _WAITING_MAX])

    def latency(self) -> Latency:
        """Return what all of them come to: percentiles by nearest rank, the maximum exact."""
        if self._latest.samples != self.count:
            self._count_waiting()
            self._latest = self._reckon()
        return self._latest

    def _reckon(self) -> Latency:
        ranks = [-(-self._counted * part // 1_000) for part in _THOUSANDTHS]
        at = self._buckets[: self._used].cumsum().searchsorted(ranks)
        p50, p90, p99, p999 = (min(_highest_in(one), self._max_ns) for one in at.tolist())
        return Latency(self._counted, p50, p90, p99, p999, self._max_ns)

    def _count_waiting(self) -> None:
        values = self._waiting[: self._at]
        if not len(values):
            return
        np.maximum(values, 0, out=values)
        buckets = _bucket_of(values)
        np.add.at(self._buckets, buckets, 1)
        self._max_ns = max(self._max_ns, int(values.max()))
        self._used = max(self._used, int(buckets.max()) + 1)
        self._counted += self._at
        self._at = 0

    def __repr__(self) -> str:
        return f"<LatencyHistogram {self.latency()}>"


def _bucket_of(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bucket of each value, which is 0 or more: the leading 8 bits, and how many
    follow."""
    shifts: NDArray[np.int64] = np.frexp(values.astype(np.float64))[1].astype(np.int64)
    np.maximum(shifts - (_BITS + 1), 0, out=shifts)
    buckets: NDArray[np.int64] = (shifts << _BITS) + (values >> shifts)
    return buckets


def _highest_in(bucket: int) -> int:
    """Return the largest value of the bucket."""
    shift = max((bucket >> _BITS) - 1, 0)
    return ((bucket - (shift << _BITS) + 1) << shift) - 1


class Stages:
    """The stages that one process measures."""

    def __init__(self, *stages: Stage) -> None:
        self._histograms = {stage: LatencyHistogram() for stage in stages}

    def __getitem__(self, stage: Stage) -> LatencyHistogram:
        return self._histograms[stage]

    def latencies(self) -> dict[Stage, Latency]:
        """Return what each stage has come to."""
        return {stage: histogram.latency() for stage, histogram in self._histograms.items()}

    def row(self) -> NDArray[np.void]:
        """Return the heartbeat's ``latency``, shape ``(len(Stage),)``; 0 where another measures."""
        row = np.zeros(len(Stage), LATENCY)
        for stage, latency in self.latencies().items():
            row[stage] = tuple(latency)
        return row


def measured(beats: Iterable[NDArray[np.void]]) -> dict[Stage, Latency]:
    """Return what every stage has come to by the heartbeats of a run, each of shape ``(1,)``."""
    latencies = dict.fromkeys(Stage, NOTHING)
    for beat in beats:
        rows = beat["latency"][0].tolist()
        latencies |= {stage: Latency._make(rows[stage]) for stage in Stage if rows[stage][0]}
    return latencies
