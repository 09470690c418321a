from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.channels import Implementation
from pipeline.channels.layout import SLOTS_OFFSET
from pipeline.channels.readers import FILE_NAME, Readers
from pipeline.errors import QueueFull
from pipeline.records import TICK
from tests.rig import assert_intact, bell_word, say_parked, ticks, without_seq, words_of

CAPACITY = 8


class Queue:
    """A queue of eight records and both its ends."""

    def __init__(self, channels: Implementation, directory: Path, readers: Readers) -> None:
        self._channels = channels
        self.path = directory / "signals.queue"
        self.writer = channels.QueueWriter(self.path, TICK, CAPACITY, readers.bells("b"))
        self.reader = self.open_reader()
        self._put = 0

    def open_reader(self) -> Any:
        return self._channels.QueueReader(self.path, TICK)

    def put(self, count: int) -> None:
        self.writer.put(without_seq(ticks(self._put + 1, count)))
        self._put += count

    def take(self) -> list[int]:
        return seqs(self.reader.take())

    def close(self) -> None:
        self.writer.close()
        self.reader.close()


def seqs(rows: NDArray[np.void]) -> list[int]:
    assert_intact(rows)
    return [int(seq) for seq in rows["seq"]]


@pytest.fixture
def queue(channels: Implementation, directory: Path, readers: Readers) -> Iterator[Queue]:
    opened = Queue(channels, directory, readers)
    yield opened
    opened.close()


def test_everything_that_waits_is_taken_in_order_and_once(queue: Queue) -> None:
    queue.put(2)
    queue.put(1)
    assert queue.reader.waiting == 3
    assert queue.take() == [1, 2, 3]
    assert queue.reader.waiting == 0
    assert queue.take() == []


@pytest.mark.parametrize("batch", range(1, CAPACITY + 1))
def test_batches_of_every_size_wrap_around(queue: Queue, batch: int) -> None:
    got: list[int] = []
    for _ in range(3 * CAPACITY):
        queue.put(batch)
        got += queue.take()
    assert got == list(range(1, 3 * CAPACITY * batch + 1))


def test_the_queue_numbers_the_records(queue: Queue) -> None:
    rows = ticks(1, 2)
    rows["seq"] = 77
    queue.writer.put(rows)
    assert queue.take() == [1, 2]


def test_a_full_queue_takes_none_of_a_batch_and_both_sides_see_it(queue: Queue) -> None:
    queue.put(6)
    with pytest.raises(QueueFull, match=r"no room for 3 more, 6 of 8 records not taken"):
        queue.put(3)
    assert queue.reader.full_count == 1
    assert queue.take() == [1, 2, 3, 4, 5, 6]


def test_a_queue_can_be_filled_to_the_last_slot(queue: Queue) -> None:
    queue.put(3)
    queue.take()
    queue.put(CAPACITY)
    with pytest.raises(QueueFull):
        queue.put(1)
    assert queue.take() == list(range(4, 4 + CAPACITY))


def test_taking_makes_room(queue: Queue) -> None:
    queue.put(CAPACITY)
    queue.take()
    queue.put(CAPACITY)
    assert queue.take() == list(range(CAPACITY + 1, 2 * CAPACITY + 1))


def test_a_batch_that_can_never_fit_is_refused(queue: Queue) -> None:
    with pytest.raises(QueueFull, match=r"no room for 9 more, 0 of 8"):
        queue.put(CAPACITY + 1)
    assert queue.take() == []


def test_records_of_a_writer_that_died_before_it_published_are_not_taken(queue: Queue) -> None:
    queue.put(2)
    with words_of(queue.path) as words:
        words[SLOTS_OFFSET // 8 + 2 * TICK.itemsize // 8] = 3  # the third slot is being written
    assert queue.take() == [1, 2]


def test_a_reader_that_starts_again_goes_on_where_the_last_one_stopped(queue: Queue) -> None:
    queue.put(3)
    queue.take()
    queue.put(2)
    second = queue.open_reader()
    assert seqs(second.take()) == [4, 5]
    second.close()
    assert queue.take() == []


def test_what_was_taken_is_a_copy(queue: Queue) -> None:
    queue.put(CAPACITY)
    rows = queue.reader.take()
    queue.put(CAPACITY)
    assert seqs(rows) == list(range(1, CAPACITY + 1))


def test_putting_rings_the_reader_that_is_parked(queue: Queue, directory: Path) -> None:
    table = directory / FILE_NAME
    say_parked(table, 0, 1)
    queue.put(1)
    assert (bell_word(table, 0), bell_word(table, 1)) == (0, 1)


def test_a_reader_sees_that_another_writer_goes_on_in_a_new_queue(
    channels: Implementation, queue: Queue
) -> None:
    queue.put(2)
    assert not queue.reader.superseded
    second = channels.QueueWriter(queue.path, TICK, CAPACITY)
    assert queue.reader.superseded
    assert queue.take() == [1, 2], "what was put before is taken from the old one"
    second.close()
