from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.channels.layout import CLAIMED, PUBLISHED, SLOTS_OFFSET
from pipeline.channels.readers import FILE_NAME
from pipeline.records import TICK
from tests.rig import RING_CAPACITY as CAPACITY
from tests.rig import Ring, bell_word, say_parked, seqs, ticks, words_of


def test_records_come_in_the_order_in_which_they_were_published(ring: Ring) -> None:
    reader = ring.reader()
    ring.publish(1)
    ring.publish(3)
    assert seqs(reader.read(100)) == [1, 2, 3, 4]
    assert reader.cursor == 4
    assert len(reader.read(100)) == 0


def test_the_ring_numbers_the_records_and_leaves_the_rows_of_the_caller_alone(ring: Ring) -> None:
    reader = ring.reader()
    rows = ticks(1, 2)
    rows["seq"] = 77
    ring.writer.publish(rows)
    assert list(rows["seq"]) == [77, 77]
    assert seqs(reader.read(100)) == [1, 2]


def test_a_publish_of_nothing_changes_nothing(ring: Ring) -> None:
    reader = ring.reader()
    ring.writer.publish(np.zeros(0, TICK))
    assert ring.writer.published == 0
    assert not reader.ready


def test_rows_that_are_not_contiguous_are_published_whole(ring: Ring) -> None:
    reader = ring.reader()
    every_second = np.zeros(6, TICK)
    every_second[::2] = ticks(1, 3)
    ring.writer.publish(every_second[::2])
    assert seqs(reader.read(100)) == [1, 2, 3]


def test_rows_of_another_record_are_not_published(ring: Ring) -> None:
    reader = ring.reader()
    with pytest.raises((TypeError, ValueError, AssertionError)):
        ring.writer.publish(np.zeros(1, [("seq", "<u8"), ("price_e4", "<i8")]))
    ring.publish(1)
    assert seqs(reader.read(100)) == [1]


@pytest.mark.parametrize("batch", range(1, CAPACITY + 1))
def test_batches_of_every_size_wrap_around(ring: Ring, batch: int) -> None:
    reader = ring.reader()
    got: list[int] = []
    for _ in range(3 * CAPACITY):
        ring.publish(batch)
        got += seqs(reader.read(100))
    assert got == list(range(1, 3 * CAPACITY * batch + 1))
    assert reader.lost == 0


@pytest.mark.parametrize("start", [0, 3])
@pytest.mark.parametrize("count", [9, 16, 17, 100])
def test_a_batch_larger_than_the_ring_leaves_its_newest_records(
    ring: Ring, start: int, count: int
) -> None:
    ring.publish(start)
    reader = ring.reader()
    ring.publish(count)
    newest = start + count
    assert seqs(reader.read(100)) == list(range(newest - CAPACITY + 1, newest + 1))
    assert reader.lost == count - CAPACITY


@pytest.mark.parametrize("start", range(CAPACITY))
def test_a_reader_in_any_place_knows_exactly_what_it_lost(ring: Ring, start: int) -> None:
    ring.publish(start)
    for count in range(3 * CAPACITY):
        reader = ring.reader()
        before = reader.cursor
        ring.publish(count)
        lost = max(0, count - CAPACITY)
        assert seqs(reader.read(100)) == list(range(before + lost + 1, before + count + 1))
        assert (reader.lost, reader.lapped) == (lost, int(lost > 0))


def test_losses_add_up_and_stand_in_the_reader_slot(ring: Ring) -> None:
    reader, slot = ring.reader(), ring.readers.slot("a")
    ring.publish(10)
    reader.read(100)
    ring.publish(13)
    reader.read(100)
    assert (reader.lost, reader.lapped) == (2 + 5, 2)
    assert (slot.lost, slot.lapped) == (2 + 5, 2)


def test_a_reader_that_starts_again_has_lost_nothing_yet(ring: Ring) -> None:
    first = ring.reader()
    ring.publish(CAPACITY + 3)
    first.read(100)
    ring.reader()
    slot = ring.readers.slot("a")
    assert (slot.lost, slot.lapped) == (0, 0)


def test_a_reader_that_is_not_lapped_loses_nothing_with_the_ring_full(ring: Ring) -> None:
    reader = ring.reader()
    ring.publish(CAPACITY)
    assert seqs(reader.read(100)) == list(range(1, CAPACITY + 1))
    assert (reader.lost, reader.lapped) == (0, 0)


def test_read_returns_no_more_than_the_limit(ring: Ring) -> None:
    reader = ring.reader()
    ring.publish(5)
    assert seqs(reader.read(2)) == [1, 2]
    assert seqs(reader.read(2)) == [3, 4]
    assert seqs(reader.read(2)) == [5]


def test_a_lapped_reader_with_a_small_limit_goes_on_at_the_oldest_record(ring: Ring) -> None:
    reader = ring.reader()
    ring.publish(20)
    assert seqs(reader.read(2)) == [13, 14]
    assert seqs(reader.read(2)) == [15, 16]
    assert (reader.lost, reader.lapped) == (12, 1)


def test_read_returns_nothing_beyond_up_to(ring: Ring) -> None:
    reader = ring.reader()
    ring.publish(6)
    assert seqs(reader.read(100, 4)) == [1, 2, 3, 4]
    assert len(reader.read(100, 4)) == 0
    assert len(reader.read(100, 2)) == 0
    assert seqs(reader.read(100, 99)) == [5, 6]


def test_what_is_lost_below_up_to_is_counted_once_and_nothing_beyond_it(ring: Ring) -> None:
    reader = ring.reader()
    ring.publish(20)
    assert len(reader.read(100, 10)) == 0
    assert (reader.cursor, reader.lost, reader.lapped) == (10, 10, 1)
    assert seqs(reader.read(100, 14)) == [13, 14]
    assert reader.lost == 12


def test_readers_do_not_disturb_each_other(ring: Ring) -> None:
    a, b = ring.reader("a"), ring.reader("b")
    ring.publish(4)
    assert seqs(a.read(100)) == [1, 2, 3, 4]
    ring.publish(6)
    assert seqs(a.read(100)) == [5, 6, 7, 8, 9, 10]
    assert seqs(b.read(100)) == [3, 4, 5, 6, 7, 8, 9, 10]
    assert (a.lost, b.lost) == (0, 2)


def test_a_reader_starts_behind_what_is_already_there(ring: Ring) -> None:
    ring.publish(5)
    reader = ring.reader()
    assert ring.readers.slot("a").cursor == 5
    assert not reader.ready
    ring.publish(1)
    assert seqs(reader.read(100)) == [6]


def test_what_was_read_is_a_copy(ring: Ring) -> None:
    reader = ring.reader()
    ring.publish(3)
    rows = reader.read(100)
    ring.publish(CAPACITY)
    assert seqs(rows) == [1, 2, 3]


def test_commit_shows_in_the_reader_slot_and_reading_does_not(ring: Ring) -> None:
    reader, slot = ring.reader(), ring.readers.slot("a")
    ring.publish(3)
    reader.read(2)
    assert slot.cursor == 0
    reader.commit()
    assert slot.cursor == 2


def test_ready_says_whether_a_look_is_worth_while(ring: Ring) -> None:
    reader = ring.reader()
    assert not reader.ready
    ring.publish(1)
    assert reader.ready
    reader.read(100)
    assert not reader.ready


def test_a_closed_ring_has_ended_when_all_of_it_was_read(ring: Ring) -> None:
    reader = ring.reader()
    ring.publish(2)
    assert not reader.ended
    ring.close_writer()
    assert reader.ready
    assert not reader.ended
    assert seqs(reader.read(100)) == [1, 2]
    assert reader.ended


def test_a_reader_maps_the_ring_read_only(ring: Ring) -> None:
    def access() -> list[str]:
        lines = Path("/proc/self/maps").read_text().splitlines()
        return sorted(line.split()[1] for line in lines if line.endswith(str(ring.path)))

    assert access() == ["rw-s"]
    ring.reader()
    assert access() == ["r--s", "rw-s"]


@pytest.mark.parametrize("claimed", [9, 11, 15])
def test_slots_that_are_claimed_are_not_read_even_before_they_are_published(
    ring: Ring, claimed: int
) -> None:
    reader = ring.reader()
    ring.publish(CAPACITY)
    with words_of(ring.path) as words:
        words[CLAIMED] = claimed
        words[SLOTS_OFFSET // 8 + 1] = 0  # the first slot is half written
    torn = claimed - CAPACITY
    assert seqs(reader.read(100)) == list(range(torn + 1, CAPACITY + 1))
    assert (reader.lost, reader.lapped) == (torn, 1)


def test_a_whole_ring_that_is_claimed_is_lost_and_counted(ring: Ring) -> None:
    reader = ring.reader()
    ring.publish(CAPACITY)
    with words_of(ring.path) as words:
        words[CLAIMED] = 2 * CAPACITY
    assert len(reader.read(100)) == 0
    assert (reader.cursor, reader.lost, reader.lapped) == (CAPACITY, CAPACITY, 1)


@pytest.mark.parametrize("limit", [1, 3])
def test_a_small_limit_skips_a_large_claim_at_once(ring: Ring, limit: int) -> None:
    ring.close_writer()
    ring.writer = ring.open_writer(4096)
    reader = ring.reader()
    ring.publish(4096)
    with words_of(ring.path) as words:
        words[CLAIMED] = 2 * 4096 - 1
    assert seqs(reader.read(limit)) == [4096]
    assert (reader.lost, reader.lapped) == (4095, 1)


def test_a_claim_that_was_never_published_is_not_read(ring: Ring) -> None:
    reader = ring.reader()
    ring.publish(2)
    with words_of(ring.path) as words:
        words[CLAIMED] = 5
    assert seqs(reader.read(100)) == [1, 2]
    assert not reader.ready
    assert reader.lost == 0


def test_the_writer_claims_and_publishes_in_the_words_of_the_layout(ring: Ring) -> None:
    ring.publish(3)
    with words_of(ring.path) as words:
        assert (words[CLAIMED], words[PUBLISHED]) == (3, 3)
        assert words[SLOTS_OFFSET // 8 + 2 * TICK.itemsize // 8] == 3


def test_publishing_rings_only_readers_that_are_parked(ring: Ring, directory: Path) -> None:
    table = directory / FILE_NAME
    say_parked(table, 1)
    ring.publish(1)
    assert (bell_word(table, 0), bell_word(table, 1)) == (0, 1)


@pytest.mark.parametrize("failed", [False, True])
def test_closing_rings_and_says_whether_the_writer_failed(
    ring: Ring, directory: Path, failed: bool
) -> None:
    reader, table = ring.reader(), directory / FILE_NAME
    say_parked(table, 0)
    ring.close_writer(failed=failed)
    assert (bell_word(table, 0), bell_word(table, 1)) == (1, 0)
    assert reader.ended
    assert reader.abandoned == failed
