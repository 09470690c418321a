"""What a strategy wrote down (``HoldsAndWritesDown``), beside the day that was played."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.simulator.report import Report, Way


class Tape:
    """Numbers of ticks by instrument, 1 for the first of the day, and where the gaps were.

    A tick is known by its instrument and its day volume.
    """

    def __init__(self, path: Path, day: NDArray[np.void]) -> None:
        self._instrument_of = day["instrument"].tolist()
        names = zip(self._instrument_of, day["day_volume"].tolist(), strict=True)
        numbers = {name: number for number, name in enumerate(names, 1)}
        instruments = sorted(set(self._instrument_of))
        self.seqs: list[int] = []
        self.ticks: dict[int, list[int]] = {instrument: [] for instrument in instruments}
        self.gaps: dict[int, set[int]] = {instrument: set() for instrument in instruments}
        for line in path.read_text().splitlines():
            kind, *values = line.split(",")
            if kind == "tick":
                seq, instrument, volume = map(int, values)
                self.seqs.append(seq)
                self.ticks[instrument].append(numbers[instrument, volume])
            else:  # before the next tick of each of these instruments; none named = of all
                for instrument in map(int, values[2:]) if values[2] else instruments:
                    self.gaps[instrument].add(len(self.ticks[instrument]))

    def has(self, number: int) -> bool:
        ticks = self.ticks[self._instrument_of[number - 1]]
        place = bisect_left(ticks, number)
        return place < len(ticks) and ticks[place] == number

    def is_in_gap(self, number: int) -> bool:
        """Whether the strategy was told of a gap where tick ``number`` would have been."""
        instrument = self._instrument_of[number - 1]
        return bisect_left(self.ticks[instrument], number) in self.gaps[instrument]

    def has_gap_at(self, number: int, instrument: int) -> bool:
        """Whether ``instrument`` had a gap between its last tick before ``number`` and the next.

        The next may be the newest tick before ``number`` again, where that one had been lost.
        """
        ticks, count = self.ticks[instrument], len(self.ticks)
        bounds = ([0, *ticks][place : place + 2] for place in self.gaps[instrument])
        return any(found[0] < number <= found[-1] + count for found in bounds if len(found) == 2)


def assert_nothing_came_twice_or_out_of_order(tape: Tape) -> None:
    assert tape.seqs == list(range(1, len(tape.seqs) + 1))
    for numbers in tape.ticks.values():
        assert all(before < after for before, after in pairwise(numbers))


def assert_every_tick_is_on_the_ring_or_in_a_gap(
    tape: Tape, report: Report, numbers: list[int]
) -> None:
    """Of the ticks ``numbers``. One that came behind a newer one is dropped, by its sequence."""
    deliveries = report.deliveries()
    late = set(deliveries["tick"][deliveries["way"] == Way.LATE].tolist())
    lost = [number for number in numbers if not tape.has(number) and number not in late]
    assert [number for number in lost if not tape.is_in_gap(number)] == []
    for row in deliveries[np.isin(deliveries["tick"], lost)]:  # what was read is on the ring
        assert row["frame"] > report.connections[row["connection"] - 1].proven, row
