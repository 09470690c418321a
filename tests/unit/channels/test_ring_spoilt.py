"""A ring whose file somebody else shortened or deleted while it was read."""

from __future__ import annotations

import faulthandler
import os
import signal
from typing import Any

import pytest

from pipeline.channels import Implementation
from pipeline.channels.layout import SLOTS_OFFSET
from pipeline.channels.readers import Readers
from pipeline.errors import SegmentRefused
from pipeline.records import TICK
from tests.rig import Processes, Ring, seqs, ticks, until, without_seq

PAGE = os.sysconf("SC_PAGE_SIZE")


def test_a_whole_ring_passes_the_check(ring: Ring) -> None:
    reader = ring.reader()
    reader.check_whole()
    ring.publish(20)
    reader.check_whole()
    ring.close_writer()
    reader.check_whole()


def test_a_shortened_file_is_refused_with_both_sizes(ring: Ring) -> None:
    reader = ring.reader()
    os.truncate(ring.path, SLOTS_OFFSET)
    with pytest.raises(SegmentRefused, match=r"ticks.ring has 640 bytes\n  rule: it had 1152 when"):
        reader.check_whole()


def test_a_deleted_file_is_refused(ring: Ring) -> None:
    reader = ring.reader()
    ring.path.unlink()
    with pytest.raises(SegmentRefused, match=r"ticks.ring was deleted or replaced\n  rule: it"):
        reader.check_whole()


def test_a_file_that_another_took_the_place_of_unmarked_is_refused(ring: Ring) -> None:
    reader = ring.reader()
    ring.path.unlink()
    ring.restart()
    with pytest.raises(SegmentRefused, match="was deleted or replaced"):
        reader.check_whole()


def test_a_superseded_ring_is_whole_before_and_after_it_is_followed(ring: Ring) -> None:
    reader = ring.reader()
    ring.restart()
    reader.check_whole()
    assert reader.follow() is not None
    reader.check_whole()


def read_on(reader: Any) -> None:
    seqs(reader.read(100))


def view_on(reader: Any) -> None:
    reader.view(100)["seq"].sum()


@pytest.mark.parametrize("read", [read_on, view_on])
@pytest.mark.parametrize(("kept", "what"), [(0, "the hot words"), (PAGE, "the last slots")])
def test_looking_beyond_the_end_of_a_shortened_file_kills_and_is_no_error(
    channels: Implementation,
    readers: Readers,
    ring: Ring,
    processes: Processes,
    kept: int,
    what: str,
    read: Any,
) -> None:
    """Nothing can be done about it in the process; its supervisor sees a death by SIGBUS."""
    path = ring.path.with_name("other.ring")
    writer = channels.RingWriter(path, TICK, 4 * PAGE // TICK.itemsize)
    cut = path.with_name("cut")

    def look() -> None:
        faulthandler.disable()
        reader = channels.RingReader(path, TICK, readers.slot("b"))
        readers.slot("b").take()
        until(cut.exists)
        if kept:
            assert reader.ready, "the first page is still there"
        read(reader)

    child = processes.fork(look)
    until(lambda: readers.slot("b").pid == child.pid)
    writer.publish(without_seq(ticks(1, 4 * PAGE // TICK.itemsize)))
    os.truncate(path, kept)
    cut.touch()
    child.wait_for_death(signal.SIGBUS)
