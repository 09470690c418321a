"""What a feed that takes over knows of the ticks before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.channels.layout import PUBLISHED, Kind
from pipeline.channels.newest import create_newest
from pipeline.channels.ring import RingWriter
from pipeline.channels.segment import attach_segment
from pipeline.records import TICK

COUNT, CAPACITY = 3, 8
Take = Callable[[], "Feed"]


def tick(instrument: int, price: int, recv_ns: int) -> NDArray[np.void]:
    row = np.zeros(1, TICK)
    row["instrument"], row["price_e4"], row["ts_recv_ns"] = instrument, price, recv_ns
    return row


class Feed:
    """Writes a ring and the table as the feed does: noted first, then published."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "ticks.ring"
        self.table = create_newest(directory, self.path, COUNT)
        self.ring = RingWriter(self.path, TICK, CAPACITY)

    def note(self, row: NDArray[np.void], sequence: int = 0) -> NDArray[np.void]:
        self.table.slots[row["instrument"]] = row
        self.table.slots["seq"][row["instrument"]] = sequence
        return row

    def publish(self, row: NDArray[np.void], sequence: int = 0) -> None:
        self.ring.publish(self.note(row, sequence))

    @property
    def prices(self) -> list[int]:
        prices: list[int] = self.table.slots["price_e4"][:COUNT].tolist()
        return prices

    def close(self) -> None:
        self.table.close()
        self.ring.close()


@pytest.fixture
def take_over(tmp_path: Path) -> Iterator[Take]:
    """Return what starts the next feed; those before it say nothing any more, as if killed."""
    feeds: list[Feed] = []

    def start() -> Feed:
        feeds.append(Feed(tmp_path))
        return feeds[-1]

    yield start
    for feed in feeds:
        feed.close()


def later(ns: int) -> int:
    """Return a time of receipt behind the opening of any ring."""
    return 10**18 + ns


def test_the_first_feed_knows_nothing(take_over: Take) -> None:
    assert take_over().prices == [0, 0, 0]


def test_the_next_feed_knows_what_was_published_and_its_sequence(take_over: Take) -> None:
    feed = take_over()
    feed.publish(tick(0, 100, later(1)), sequence=7)
    feed.publish(tick(2, 300, later(2)), sequence=8)
    successor = take_over()
    assert successor.prices == [100, 0, 300]
    assert successor.table.slots["seq"][:COUNT].tolist() == [7, 0, 8]


def test_what_was_noted_and_not_published_is_forgotten(take_over: Take) -> None:
    feed = take_over()
    feed.publish(tick(0, 100, later(1)))
    feed.note(tick(0, 101, later(2)))
    feed.note(tick(1, 200, later(2)))
    assert take_over().prices == [0, 0, 0]


def test_of_two_ticks_received_at_once_the_one_on_the_ring_is_known(take_over: Take) -> None:
    feed = take_over()
    feed.publish(tick(0, 100, later(1)))
    feed.publish(tick(1, 200, later(1)))
    feed.note(tick(0, 101, later(1)))
    assert take_over().prices == [0, 200, 0]


def test_what_the_ring_has_overwritten_is_known_still(take_over: Take) -> None:
    feed = take_over()
    feed.publish(tick(0, 100, later(1)))
    for n in range(2 * CAPACITY):
        feed.publish(tick(1, 200 + n, later(2 + n)))
    assert take_over().prices == [100, 200 + 2 * CAPACITY - 1, 0]


def test_a_feed_that_published_nothing_hands_on_what_it_knew(take_over: Take) -> None:
    feed = take_over()
    feed.publish(tick(0, 100, 1))  # long before the next ring is opened
    second = take_over()
    second.note(tick(1, 200, later(1)))
    assert take_over().prices == [100, 0, 0]


def test_what_was_claimed_and_not_published_was_not_published(take_over: Take) -> None:
    feed = take_over()
    feed.publish(tick(0, 100, later(1)))
    feed.publish(tick(1, 200, later(2)))
    ring = attach_segment(feed.path, Kind.RING, TICK, writable=True)
    ring.words[PUBLISHED] -= 1
    ring.close()
    assert take_over().prices == [100, 0, 0]
