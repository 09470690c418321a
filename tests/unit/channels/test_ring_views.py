"""Records looked at where they lie."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.channels.layout import CLAIMED
from pipeline.errors import ReaderLapped
from pipeline.records import TICK, WhenLapped
from tests.rig import RING_CAPACITY as CAPACITY
from tests.rig import Ring, seqs, ticks, words_of


def test_a_view_shows_the_next_records_in_order(ring: Ring) -> None:
    reader = ring.reader()
    ring.publish(5)
    rows = reader.view(3)
    assert rows.dtype == TICK
    assert seqs(rows) == [1, 2, 3]
    assert reader.cursor == 3
    assert reader.release() == 0
    assert seqs(reader.view(100)) == [4, 5]
    assert reader.release() == 0
    assert (reader.lost, reader.lapped) == (0, 0)


def test_a_view_is_the_memory_of_the_ring_and_no_copy(ring: Ring) -> None:
    reader, other = ring.reader("a"), ring.reader("b")
    ring.publish(4)
    rows = reader.view(100)
    assert np.shares_memory(rows, reader._segment.slots)
    ring.publish(CAPACITY)
    assert rows["seq"].tolist() == [9, 10, 11, 12], "what lies there now"
    assert seqs(other.read(100)) == list(range(5, 13))


def test_nobody_can_write_through_a_view(ring: Ring) -> None:
    reader = ring.reader()
    ring.publish(1)
    rows = reader.view(1)
    with pytest.raises(ValueError, match="read-only"):
        rows["price_e4"] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        rows.flags.writeable = True


def test_a_view_ends_where_the_ring_wraps(ring: Ring) -> None:
    ring.publish(6)
    reader = ring.reader()
    ring.publish(7)
    assert seqs(reader.view(100)) == [7, 8]
    reader.release()
    assert seqs(reader.view(100)) == [9, 10, 11, 12, 13]
    reader.release()
    assert (reader.cursor, reader.lost) == (13, 0)


def test_a_view_of_nothing_is_empty_and_needs_no_release(ring: Ring) -> None:
    reader = ring.reader()
    for _ in range(2):
        assert reader.view(100).shape == (0,)
    assert reader.view(1).dtype == TICK
    assert reader.release() == 0
    ring.publish(1)
    assert seqs(reader.view(1)) == [1]


@pytest.mark.parametrize("overtaken", range(2 * CAPACITY))
@pytest.mark.parametrize("count", [1, 5, CAPACITY])
def test_release_says_exactly_how_many_were_overtaken(
    ring: Ring, count: int, overtaken: int
) -> None:
    reader, slot = ring.reader(), ring.readers.slot("a")
    ring.publish(CAPACITY)
    reader.view(count)
    ring.publish(overtaken)
    torn = min(overtaken, count)
    assert reader.release() == torn
    assert (reader.lost, reader.lapped) == (torn, int(torn > 0))
    assert (slot.lost, slot.lapped) == (reader.lost, reader.lapped)
    rest = CAPACITY + overtaken - count
    assert len(reader.read(100)) == min(rest, CAPACITY)
    assert reader.cursor == CAPACITY + overtaken


@pytest.mark.parametrize("claimed", [9, 12])
def test_a_record_that_is_claimed_again_is_torn_before_it_is_published(
    ring: Ring, claimed: int
) -> None:
    reader = ring.reader()
    ring.publish(CAPACITY)
    reader.view(100)
    with words_of(ring.path) as words:
        words[CLAIMED] = claimed
    assert reader.release() == claimed - CAPACITY


@pytest.mark.parametrize(
    ("when_lapped", "seen"), [(WhenLapped.OLDEST, [6, 7, 8]), (WhenLapped.LATEST, [13])]
)
def test_a_lap_before_the_view_is_as_with_read(
    ring: Ring, when_lapped: WhenLapped, seen: list[int]
) -> None:
    reader = ring.reader("a", when_lapped)
    ring.publish(CAPACITY + 5)
    assert seqs(reader.view(100)) == seen
    assert (reader.lost, reader.lapped) == (seen[0] - 1, 1)
    assert reader.release() == 0
    assert reader.lapped == 1


def test_a_view_of_a_ring_that_is_claimed_whole_is_empty(ring: Ring) -> None:
    reader = ring.reader()
    ring.publish(CAPACITY)
    with words_of(ring.path) as words:
        words[CLAIMED] = 2 * CAPACITY
    assert len(reader.view(100)) == 0
    assert (reader.cursor, reader.lost, reader.lapped) == (CAPACITY, CAPACITY, 1)
    assert len(reader.view(100)) == 0


def test_who_must_not_be_overtaken_is_told_before_the_view_and_at_its_end(ring: Ring) -> None:
    reader = ring.reader("a", WhenLapped.RAISE)
    ring.publish(CAPACITY + 5)
    with pytest.raises(ReaderLapped, match="lost 5 ticks"):
        reader.view(100)
    assert seqs(reader.view(100)) == [6, 7, 8]
    ring.publish(2)
    with pytest.raises(ReaderLapped, match=r"a was overtaken .* lost 2 ticks"):
        reader.release()
    assert (reader.lost, reader.lapped) == (7, 2)
    assert seqs(reader.read(100)) == [9, 10, 11, 12, 13, 14, 15]


def test_nothing_else_is_read_while_something_is_viewed(ring: Ring) -> None:
    reader = ring.reader()
    ring.publish(5)
    ring.restart()
    rows = reader.view(5)
    calls: list[Callable[[], object]] = [
        lambda: reader.view(1),
        lambda: reader.read(1),
        lambda: reader.follow(),
    ]
    for call in calls:
        with pytest.raises(AssertionError, match="a view was not released"):
            call()
    assert seqs(rows) == [1, 2, 3, 4, 5]
    assert (reader.release(), reader.cursor, reader.epoch) == (0, 5, 1)
    assert reader.follow() is not None


def test_what_was_viewed_can_be_committed(ring: Ring) -> None:
    reader = ring.reader()
    ring.publish(3)
    reader.view(2)
    reader.commit()
    reader.release()
    assert ring.readers.slot("a").cursor == 2


@pytest.mark.parametrize("leave", ["close", "follow"])
def test_a_view_that_is_kept_outlives_the_reader_and_keeps_the_mapping(
    ring: Ring, leave: str
) -> None:
    reader = ring.reader()
    ring.publish(3)
    rows = reader.view(100)
    reader.release()
    if leave == "close":
        ring.close_reader(reader)
    else:
        ring.restart()
        reader.follow()
    assert rows.tobytes() == ticks(1, 3).tobytes()
