"""A ring whose writer died and was started again: what its readers see."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.channels import IMPLEMENTATIONS
from pipeline.channels.layout import CLAIMED, PUBLISHED, STATE
from pipeline.channels.readers import FILE_NAME
from pipeline.channels.segment import peek_header
from pipeline.errors import SegmentRefused
from pipeline.records import TICK, Gap, GapReason
from tests.rig import RING_CAPACITY as CAPACITY
from tests.rig import Ring, bell_word, say_parked, seqs, ticks, without_seq, words_of


def restart_gap(lost: int) -> Gap:
    return Gap(reason=GapReason.RESTART, lost=lost)


def claim(ring: Ring, count: int) -> None:
    """Claim ``count`` records and publish none of them: the writer dies in mid-write."""
    with words_of(ring.path) as words:
        words[CLAIMED] += count


def test_seqs_go_on_over_a_restart(ring: Ring) -> None:
    ring.publish(5)
    ring.restart()
    assert ring.writer.published == 5
    reader = ring.reader()
    ring.publish(2)
    assert seqs(reader.read(100)) == [6, 7]
    assert reader.epoch == 2


def test_a_reader_reads_the_old_ring_to_its_end_and_then_follows(ring: Ring) -> None:
    reader = ring.reader()
    ring.publish(3)
    ring.restart()
    ring.publish(2)
    assert not reader.superseded, "it has not read all of it"
    assert reader.follow() is None
    assert seqs(reader.read(100)) == [1, 2, 3]
    assert reader.superseded
    assert len(reader.read(100)) == 0
    assert reader.follow() == restart_gap(0)
    assert (reader.epoch, reader.superseded) == (2, False)
    assert seqs(reader.read(100)) == [4, 5]
    assert (reader.lost, reader.lapped) == (0, 0)


def test_a_superseded_ring_has_not_ended_and_is_worth_a_look(ring: Ring) -> None:
    reader = ring.reader()
    assert not reader.ready
    ring.restart()
    assert (reader.superseded, reader.ended, reader.ready) == (True, False, True)


@pytest.mark.parametrize("failed", [False, True])
def test_a_ring_that_was_closed_has_not_ended_when_another_writer_goes_on(
    ring: Ring, failed: bool
) -> None:
    reader = ring.reader()
    ring.close_writer(failed=failed)
    assert (reader.ended, reader.abandoned) == (True, failed)
    ring.restart()
    assert (reader.ended, reader.abandoned, reader.superseded) == (False, False, True)


def test_a_writer_that_closes_after_it_was_superseded_does_not_end_the_ring(ring: Ring) -> None:
    reader, old = ring.reader(), ring.writer
    ring.restart()
    ring.close_writer(old)
    assert (reader.ended, reader.superseded) == (False, True)


def test_what_was_claimed_and_never_published_is_lost_and_no_lap(ring: Ring) -> None:
    reader, slot = ring.reader(), ring.readers.slot("a")
    ring.publish(3)
    claim(ring, 2)
    ring.restart()
    ring.publish(1)
    assert seqs(reader.read(100)) == [1, 2, 3]
    assert reader.follow() == restart_gap(2)
    assert seqs(reader.read(100)) == [6]
    assert (reader.lost, reader.lapped) == (2, 0)
    assert (slot.lost, slot.lapped) == (2, 0)


def test_the_loss_is_exact_however_many_epochs_were_missed(ring: Ring) -> None:
    reader = ring.reader()
    ring.publish(2)
    for published, claimed in ((4, 1), (0, 0), (30, 3)):
        ring.restart()
        ring.publish(published)
        claim(ring, claimed)
    ring.restart()
    ring.publish(1)
    assert seqs(reader.read(100)) == [1, 2]
    assert reader.follow() == restart_gap(38)
    assert seqs(reader.read(100)) == [41]
    assert (reader.epoch, reader.lost, reader.lapped) == (5, 38, 0)


def test_laps_in_either_epoch_are_counted_beside_the_gap(ring: Ring) -> None:
    reader = ring.reader()
    ring.publish(CAPACITY + 3)
    claim(ring, 1)
    ring.restart()
    ring.publish(CAPACITY + 2)
    assert seqs(reader.read(100)) == list(range(5, 12)), "the claim took one more"
    assert (reader.lost, reader.lapped) == (4, 1)
    assert reader.follow() == restart_gap(1)
    assert seqs(reader.read(100)) == list(range(15, 23))
    assert (reader.lost, reader.lapped) == (4 + 1 + 2, 2)


def test_what_was_before_a_reader_is_of_its_own_ring_though_another_has_the_path(
    ring: Ring,
) -> None:
    ring.publish(5)
    reader = ring.reader()
    ring.restart()
    ring.publish(4)
    assert seqs(reader.read_again(2)) == [3, 4, 5]
    assert seqs(reader.read_again(5)) == []
    assert (reader.cursor, reader.lost, reader.lapped) == (5, 0, 0)


def test_what_was_before_a_reader_begins_where_its_ring_does(ring: Ring) -> None:
    ring.publish(5)
    ring.restart()
    ring.publish(2)
    assert seqs(ring.reader().read_again(0)) == [6, 7]


def test_what_was_before_a_reader_and_is_overtaken_is_not_given(ring: Ring) -> None:
    ring.publish(CAPACITY)
    reader = ring.reader()
    ring.publish(3)
    assert seqs(reader.read_again(1)) == [4, 5, 6, 7, 8]
    claim(ring, 2)
    assert seqs(reader.read_again(1)) == [6, 7, 8]
    ring.publish(CAPACITY)
    assert seqs(reader.read_again(1)) == []


def test_a_ring_of_another_capacity_is_followed(ring: Ring) -> None:
    reader = ring.reader()
    ring.publish(5)
    ring.restart(capacity=2 * CAPACITY)
    ring.publish(2 * CAPACITY)
    assert len(reader.read(100)) == 5
    reader.follow()
    assert seqs(reader.read(100)) == list(range(6, 6 + 2 * CAPACITY))
    assert reader.lost == 0


def test_there_is_nothing_to_follow_while_the_ring_lives_or_has_ended(ring: Ring) -> None:
    reader = ring.reader()
    assert reader.follow() is None
    ring.close_writer()
    assert reader.follow() is None
    assert reader.epoch == 1


def test_a_reader_stays_awake_until_there_is_something_to_follow(ring: Ring) -> None:
    reader = ring.reader()
    with words_of(ring.path) as words:
        words[STATE] = 3  # as by a creator that was killed before its rename
    assert reader.ready
    assert reader.follow() is None
    assert (reader.superseded, reader.ready) == (True, True)
    ring.restart()
    ring.publish(1)
    assert reader.follow() == restart_gap(0)
    assert reader.ready
    assert seqs(reader.read(100)) == [1]
    assert not reader.ready
    ring.restart()
    assert reader.ready, "it did not wait for this one yet"


def test_a_new_writer_wakes_whoever_is_parked_on_the_old_ring(ring: Ring, directory: Path) -> None:
    say_parked(directory / FILE_NAME, 1)
    ring.restart()
    assert (bell_word(directory / FILE_NAME, 0), bell_word(directory / FILE_NAME, 1)) == (0, 1)


def test_what_is_watched_after_following_are_the_words_of_the_new_ring(ring: Ring) -> None:
    reader = ring.reader()
    ring.restart()
    reader.follow()
    ring.publish(4)
    assert [offset for _, offset in reader.watched] == [8 * PUBLISHED, 8 * STATE]
    words = [memoryview(mapped).cast("Q")[offset // 8] for mapped, offset in reader.watched]
    assert words == [4, 0]


def test_the_old_mapping_is_gone_after_following(ring: Ring) -> None:
    def mappings() -> int:
        return Path("/proc/self/maps").read_text().count(f"{ring.path} (deleted)")

    reader = ring.reader()
    ring.close_writer()
    ring.restart()
    assert mappings() == 1
    reader.follow()
    assert mappings() == 0


@pytest.mark.parametrize(
    ("published", "restarts"), [(3, 1), (3, 2), (0, 1)], ids=["both", "seqs", "epochs"]
)
def test_a_ring_that_does_not_go_on_where_the_old_one_ended_is_refused(
    ring: Ring, published: int, restarts: int
) -> None:
    reader = ring.reader()
    ring.publish(published)
    reader.read(100)
    with words_of(ring.path) as words:
        words[STATE] = 3
    ring.path.unlink()
    assert reader.follow() is None, "there is nothing"
    for _ in range(restarts):
        ring.restart()
    what = f"is of epoch {restarts} and goes on behind seq 0\n"
    with pytest.raises(SegmentRefused, match=what):
        reader.follow()
    assert (reader.epoch, reader.cursor, reader.lost) == (1, published, 0)


def test_a_reader_keeps_its_cursor_in_its_slot_until_it_commits(ring: Ring) -> None:
    reader, slot = ring.reader(), ring.readers.slot("a")
    ring.publish(2)
    reader.read(100)
    reader.commit()
    claim(ring, 2)
    ring.restart()
    reader.follow()
    assert (reader.cursor, slot.cursor) == (4, 2)
    reader.commit()
    assert slot.cursor == 4


@pytest.mark.parametrize("reading", list(IMPLEMENTATIONS))
@pytest.mark.parametrize("first", list(IMPLEMENTATIONS))
@pytest.mark.parametrize("second", list(IMPLEMENTATIONS))
def test_epochs_of_either_kind_are_followed_by_either(
    directory: Path, first: str, second: str, reading: str
) -> None:
    table = IMPLEMENTATIONS[reading].Readers.create(directory, ("a",))
    path = directory / "ticks.ring"
    one = IMPLEMENTATIONS[first].RingWriter(path, TICK, CAPACITY)
    reader = IMPLEMENTATIONS[reading].RingReader(path, TICK, table.slot("a"))
    one.publish(without_seq(ticks(1, 3)))
    two = IMPLEMENTATIONS[second].RingWriter(path, TICK, CAPACITY)
    two.publish(without_seq(ticks(4, 3)))
    one.close()
    assert seqs(reader.read(100)) == [1, 2, 3]
    assert reader.follow() == restart_gap(0)
    assert seqs(reader.read(100)) == [4, 5, 6]
    header = peek_header(path)
    assert header is not None
    assert (int(header["epoch"]), int(header["base"])) == (2, 3)
