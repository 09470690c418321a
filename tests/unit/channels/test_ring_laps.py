"""What a reader does when it was overtaken, by its lag policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.channels import IMPLEMENTATIONS
from pipeline.channels.layout import CLAIMED
from pipeline.errors import ReaderLapped
from pipeline.records import WhenLapped
from tests.rig import RING_CAPACITY as CAPACITY
from tests.rig import Ring, seqs, words_of

LATEST, OLDEST, RAISE = WhenLapped.LATEST, WhenLapped.OLDEST, WhenLapped.RAISE


def losses(ring: Ring, reader: Any) -> tuple[int, int]:
    """Return how many were lost and how often; the reader's slot must say the same."""
    slot = ring.readers.slot("a")
    assert (slot.lost, slot.lapped) == (reader.lost, reader.lapped)
    return reader.lost, reader.lapped


@pytest.mark.parametrize("when_lapped", list(WhenLapped))
def test_a_reader_that_is_not_overtaken_reads_everything(
    ring: Ring, when_lapped: WhenLapped
) -> None:
    reader = ring.reader("a", when_lapped)
    ring.publish(CAPACITY)
    assert seqs(reader.read(3)) == [1, 2, 3]
    ring.publish(3)
    assert seqs(reader.read(100)) == [4, 5, 6, 7, 8, 9, 10, 11]
    assert losses(ring, reader) == (0, 0)


def test_oldest_goes_on_with_the_oldest_record_that_is_intact(ring: Ring) -> None:
    reader = ring.reader("a", OLDEST)
    ring.publish(CAPACITY + 5)
    assert seqs(reader.read(2)) == [6, 7]
    assert losses(ring, reader) == (5, 1)


@pytest.mark.parametrize("limit", [1, 100])
def test_latest_goes_on_with_the_newest_record_and_counts_what_it_skipped(
    ring: Ring, limit: int
) -> None:
    reader = ring.reader("a", LATEST)
    ring.publish(CAPACITY + 5)
    assert seqs(reader.read(limit)) == [CAPACITY + 5]
    assert losses(ring, reader) == (CAPACITY + 4, 1)
    ring.publish(2)
    assert seqs(reader.read(100)) == [CAPACITY + 6, CAPACITY + 7]


def test_latest_goes_no_further_than_up_to(ring: Ring) -> None:
    reader = ring.reader("a", LATEST)
    ring.publish(20)
    assert seqs(reader.read(100, 15)) == [15]
    assert losses(ring, reader) == (14, 1)
    assert seqs(reader.read(100, 17)) == [16, 17]


def test_latest_loses_all_that_is_overtaken_below_up_to(ring: Ring) -> None:
    reader = ring.reader("a", LATEST)
    ring.publish(20)
    assert len(reader.read(100, 10)) == 0
    assert reader.cursor == 10
    assert losses(ring, reader) == (10, 1)
    assert seqs(reader.read(100)) == [20]
    assert losses(ring, reader) == (19, 2)


def test_latest_does_not_read_a_newest_record_that_is_claimed_again(ring: Ring) -> None:
    reader = ring.reader("a", LATEST)
    ring.publish(CAPACITY)
    with words_of(ring.path) as words:
        words[CLAIMED] = 2 * CAPACITY
    assert len(reader.read(100)) == 0
    assert losses(ring, reader) == (CAPACITY, 1)


def test_raise_says_who_lost_how_many_and_goes_on_with_the_oldest(ring: Ring) -> None:
    reader = ring.reader("a", RAISE)
    ring.publish(CAPACITY + 5)
    with pytest.raises(ReaderLapped) as raised:
        reader.read(100)
    assert str(raised.value).startswith(f"a was overtaken on {ring.path} and lost 5 ticks\n")
    assert 'rule: this reader must see every tick: when_lapped = "raise"' in str(raised.value)
    assert "cure: see what kept it, raise channels.ring_capacity" in str(raised.value)
    assert reader.cursor == 5
    assert losses(ring, reader) == (5, 1)
    assert seqs(reader.read(100)) == list(range(6, 14))


def test_raise_counts_no_further_than_up_to(ring: Ring) -> None:
    reader = ring.reader("a", RAISE)
    ring.publish(20)
    with pytest.raises(ReaderLapped, match="lost 10 ticks"):
        reader.read(100, 10)
    assert len(reader.read(100, 10)) == 0
    with pytest.raises(ReaderLapped, match="lost 2 ticks"):
        reader.read(100)
    assert seqs(reader.read(100)) == list(range(13, 21))
    assert losses(ring, reader) == (12, 2)


@pytest.mark.parametrize("when_lapped", list(WhenLapped))
def test_a_restart_is_no_lap_whatever_the_policy(ring: Ring, when_lapped: WhenLapped) -> None:
    reader = ring.reader("a", when_lapped)
    ring.publish(3)
    seqs(reader.read(100))
    with words_of(ring.path) as words:
        words[CLAIMED] += 2
    ring.restart()
    ring.publish(CAPACITY)
    gap = reader.follow()
    assert (gap.lost, reader.lapped) == (2, 0)
    assert seqs(reader.read(100)) == list(range(6, 14))


class PublishesWhileCopying:
    """Makes the writer publish between a reader's copy and its look at the claim, so that a test
    of the reference sees what the stress tests see of both."""

    def __init__(self, ring: Ring, reader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ring = ring
        self._segment = reader._segment
        self._load = self._segment.load
        self.counts: list[int] = []
        monkeypatch.setattr(self._segment, "load", self.load)

    def load(self, done: int, count: int) -> object:
        rows = self._load(done, count)
        if self.counts:
            self._ring.publish(self.counts.pop(0))
        return rows


@pytest.fixture
def reference_ring(directory: Path) -> Iterator[Ring]:
    """Return a ring of the reference: of the other, the loop in C cannot be interrupted here."""
    reference = IMPLEMENTATIONS["reference"]
    table = reference.Readers.create(directory, ("a", "b"))
    opened = Ring(reference, directory, table)
    yield opened
    opened.close()
    table.close()


@pytest.mark.parametrize(
    ("when_lapped", "got", "lost"),
    [(OLDEST, [4, 5, 6, 7, 8], 3), (LATEST, [11], 10)],
)
def test_records_that_are_overtaken_while_they_are_copied_are_lost(
    reference_ring: Ring,
    monkeypatch: pytest.MonkeyPatch,
    when_lapped: WhenLapped,
    got: list[int],
    lost: int,
) -> None:
    ring = reference_ring
    reader = ring.reader("a", when_lapped)
    ring.publish(CAPACITY)
    PublishesWhileCopying(ring, reader, monkeypatch).counts = [3]
    assert seqs(reader.read(100)) == got
    assert losses(ring, reader) == (lost, 1)


def test_latest_that_is_overtaken_again_and_again_ends_with_the_newest(
    reference_ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = reference_ring
    reader = ring.reader("a", LATEST)
    ring.publish(CAPACITY)
    PublishesWhileCopying(ring, reader, monkeypatch).counts = [3, CAPACITY, CAPACITY]
    assert seqs(reader.read(100)) == [3 * CAPACITY + 3]
    assert losses(ring, reader) == (3 * CAPACITY + 2, 1)


def test_raise_that_is_overtaken_while_it_copies_reads_the_rest_afterwards(
    reference_ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = reference_ring
    reader = ring.reader("a", RAISE)
    ring.publish(CAPACITY)
    PublishesWhileCopying(ring, reader, monkeypatch).counts = [3]
    with pytest.raises(ReaderLapped, match="lost 3 ticks"):
        reader.read(100)
    assert seqs(reader.read(100)) == [4, 5, 6, 7, 8, 9, 10, 11]
    assert losses(ring, reader) == (3, 1)
