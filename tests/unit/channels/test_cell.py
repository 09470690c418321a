from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.channels import Implementation
from pipeline.channels.layout import CLAIMED, PUBLISHED, SLOTS_OFFSET
from pipeline.records import TICK, positions_dtype
from tests.rig import Processes, assert_intact, ticks, until, without_seq, words_of


class Cell:
    """A cell, its writer, and readers on demand."""

    def __init__(self, channels: Implementation, directory: Path) -> None:
        self._channels = channels
        self.path = directory / "some.cell"
        self.writer = channels.CellWriter(self.path, TICK)
        self.readers = [channels.CellReader(self.path, TICK) for _ in range(2)]

    def publish(self, seq: int) -> None:
        self.writer.publish(without_seq(ticks(seq, 1)))

    def latest(self, reader: int = 0) -> int | None:
        """Return the seq of the value that ``reader`` sees, None when it has seen it."""
        row = self.readers[reader].latest()
        if row is None:
            return None
        assert row.shape == (1,)
        assert_intact(row)
        return int(row["seq"][0])

    def close(self) -> None:
        self.writer.close()
        for reader in self.readers:
            reader.close()


@pytest.fixture
def cell(channels: Implementation, directory: Path) -> Iterator[Cell]:
    opened = Cell(channels, directory)
    yield opened
    opened.close()


def test_a_new_cell_has_no_value(cell: Cell) -> None:
    assert cell.latest() is None


def test_only_the_latest_value_is_seen_and_only_once(cell: Cell) -> None:
    for seq in range(1, 11):
        cell.publish(seq)
        if seq % 3 == 0:
            assert cell.latest() == seq
            assert cell.latest() is None
    assert cell.latest() == 10


def test_readers_do_not_disturb_each_other(cell: Cell) -> None:
    cell.publish(1)
    assert cell.latest(0) == 1
    cell.publish(2)
    assert cell.latest(1) == 2
    assert cell.latest(0) == 2


def test_what_was_seen_is_a_copy(cell: Cell) -> None:
    cell.publish(1)
    row = cell.readers[0].latest()
    for seq in range(2, 8):
        cell.publish(seq)
    assert row is not None
    assert_intact(row)


@pytest.mark.parametrize("published", range(1, 6))
def test_a_writer_that_died_between_claim_and_publish_leaves_the_value_before(
    cell: Cell, published: int
) -> None:
    for seq in range(1, published + 1):
        cell.publish(seq)
    slot = SLOTS_OFFSET // 8 + published % 4 * TICK.itemsize // 8
    with words_of(cell.path) as words:
        words[CLAIMED] = published + 1
        words[slot], words[slot + 1] = published + 1, 99  # the next value, half written
    assert cell.latest() == published
    assert cell.latest() is None


def test_a_value_that_a_claim_has_reached_is_not_returned_but_the_next_one(
    cell: Cell, directory: Path, processes: Processes
) -> None:
    cell.publish(1)

    def look() -> int | None:
        (directory / "looking").touch()
        return cell.latest()

    with words_of(cell.path) as words:
        words[CLAIMED] = 5  # the first slot is being written again
        words[SLOTS_OFFSET // 8] = 99
        reader = processes.fork(look)
        until((directory / "looking").exists)
        for _ in range(1_000):
            os.sched_yield()
        for index, word in enumerate(memoryview(ticks(5, 1).tobytes()).cast("Q")):
            words[SLOTS_OFFSET // 8 + index] = word
        words[PUBLISHED] = 5
    assert reader.result() == 5


def test_a_cell_of_positions_keeps_every_instrument(
    channels: Implementation, directory: Path
) -> None:
    dtype = positions_dtype(3)
    writer = channels.CellWriter(directory / "positions.cell", dtype)
    reader = channels.CellReader(directory / "positions.cell", dtype)
    row = np.zeros(1, dtype)
    row["as_of_seq"] = 7
    row["positions"]["quantity"] = [[75, 0, -25]]
    writer.publish(row)
    seen = reader.latest()
    assert seen is not None
    assert seen["positions"]["quantity"].tolist() == [[75, 0, -25]]
    assert (int(seen["seq"][0]), int(seen["as_of_seq"][0])) == (1, 7)
    reader.close()
    writer.close()


def test_a_reader_sees_that_another_writer_goes_on_in_a_new_cell(
    channels: Implementation, cell: Cell
) -> None:
    cell.publish(1)
    reader = cell.readers[0]
    assert not reader.superseded
    second = channels.CellWriter(cell.path, TICK)
    second.publish(without_seq(ticks(7, 1)))
    assert reader.superseded
    assert cell.latest() == 1, "what it has mapped is as it was"
    fresh = channels.CellReader(cell.path, TICK)
    assert not fresh.superseded
    row = fresh.latest()
    assert row is not None
    assert row["price_e4"] == ticks(7, 1)["price_e4"]
    second.close()
    fresh.close()
