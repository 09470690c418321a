"""What is read again of a ring for a process that took over from one that was killed."""

from __future__ import annotations

import pytest

from pipeline.channels.missed import read_again
from tests.rig import RING_CAPACITY as CAPACITY
from tests.rig import Ring, seqs


def again(ring: Ring, after_seq: int, up_to: int) -> list[int]:
    place = ring.readers.slot("a")
    found = seqs(read_again(ring.path, place, after_seq, up_to))
    assert (place.cursor, place.lost, place.lapped) == (up_to, 0, 0)
    return found


def test_what_is_behind_a_seq_is_read_up_to_another(ring: Ring) -> None:
    ring.publish(6)
    assert again(ring, 2, 5) == [3, 4, 5]
    assert again(ring, 5, 5) == []


def test_what_the_ring_has_overwritten_is_not_there(ring: Ring) -> None:
    ring.publish(CAPACITY + 3)
    assert again(ring, 1, CAPACITY + 3) == [*range(4, CAPACITY + 4)]


@pytest.mark.parametrize("after_seq", [0, 3, 5])
def test_what_was_before_the_writer_took_over_is_not_there(ring: Ring, after_seq: int) -> None:
    ring.publish(5)
    ring.restart()
    assert again(ring, after_seq, 5) == []
    ring.publish(2)
    assert again(ring, after_seq, 7) == [6, 7]
