"""Waiting and reading in one call, of both implementations; what only the extension can get wrong
is at the end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.channels import IMPLEMENTATIONS, NATIVE_MISSING, Implementation
from pipeline.channels.layout import PARKED_OFFSET
from pipeline.channels.readers import FILE_NAME, Readers
from pipeline.records import TICK
from tests.rig import Processes, assert_intact, ticks, until, without_seq

CAPACITY = 8
FOREVER_NS = 3_600 * 10**9
HANDOFFS = 300

WAYS = {"spinning": (FOREVER_NS, False), "yielding": (FOREVER_NS, True), "parked": (0, False)}


class Ends:
    """A ring of eight slots, its writer and the reader ``a``."""

    def __init__(self, channels: Implementation, directory: Path, readers: Readers) -> None:
        self._path = directory / "ticks.ring"
        self._channels = channels
        self._directory = directory
        self.place = readers.slot("a")
        self.bell: Any = readers.bell("a")
        bells = readers.bells("a", "b")
        self.writer = channels.RingWriter(self._path, TICK, CAPACITY, bells)
        self.reader: Any = channels.RingReader(self._path, TICK, self.place)
        self._writer_closed = False

    def attach(self) -> tuple[Any, Any]:
        """Return a reader of another process and its bell."""
        readers = self._channels.Readers.attach(self._directory)
        place = readers.slot("a")
        reader = self._channels.RingReader(self._path, TICK, place)
        place.take()
        return reader, readers.bell("a")

    def until_attached(self, pid: int) -> None:
        until(lambda: self.place.pid == pid)

    def close_writer(self) -> None:
        if not self._writer_closed:
            self.writer.close()
        self._writer_closed = True

    def close(self) -> None:
        self.reader.close()
        self.close_writer()

    def publish(self, count: int) -> None:
        self.writer.publish(without_seq(ticks(self.writer.published + 1, count)))


@pytest.fixture
def ends(channels: Implementation, directory: Path, readers: Readers) -> Iterator[Ends]:
    opened = Ends(channels, directory, readers)
    yield opened
    opened.close()


def seqs(rows: NDArray[np.void]) -> list[int]:
    assert_intact(rows)
    return [int(seq) for seq in rows["seq"]]


def test_what_is_there_is_read_without_waiting(ends: Ends) -> None:
    ends.publish(3)
    assert seqs(ends.reader.wait_for_rows(2, FOREVER_NS)) == [1, 2]
    assert seqs(ends.reader.wait_for_rows(2, FOREVER_NS, False, ends.bell)) == [3]


def test_nothing_comes_of_a_wait_for_nothing(ends: Ends) -> None:
    assert len(ends.reader.wait_for_rows(2, 1_000)) == 0
    assert len(ends.reader.wait_for_rows(2, 1_000, True)) == 0
    assert len(ends.reader.wait_for_rows(2, 0, False, ends.bell)) == 0
    assert (ends.reader.cursor, ends.reader.lost) == (0, 0)


def test_a_lap_is_counted_as_with_read(ends: Ends) -> None:
    ends.publish(CAPACITY + 3)
    assert seqs(ends.reader.wait_for_rows(100, FOREVER_NS)) == list(range(4, 12))
    assert (ends.reader.lost, ends.reader.lapped) == (3, 1)


def test_the_end_of_the_ring_ends_the_wait(ends: Ends) -> None:
    ends.close_writer()
    assert len(ends.reader.wait_for_rows(2, FOREVER_NS, False, ends.bell)) == 0
    assert ends.reader.ended


def test_a_ring_that_another_writer_goes_on_with_ends_the_wait(
    ends: Ends, channels: Implementation, directory: Path
) -> None:
    ends.close_writer()
    ends.writer = channels.RingWriter(directory / "ticks.ring", TICK, CAPACITY)
    assert len(ends.reader.wait_for_rows(2, FOREVER_NS, False, ends.bell)) == 0
    assert ends.reader.superseded
    ends.writer.close()


def test_nobody_waits_with_a_view_in_hand(ends: Ends) -> None:
    ends.publish(1)
    ends.reader.view(1)
    with pytest.raises(AssertionError, match="a view was not released"):
        ends.reader.wait_for_rows(1, 0)
    ends.reader.release()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("endless_parks")
def test_records_that_come_one_by_one_come_all_and_each_at_once(
    ends: Ends, way: str, processes: Processes
) -> None:
    spin_ns, yielding = WAYS[way]

    def receive() -> list[int]:
        reader, bell = ends.attach()
        got: list[int] = []
        while len(got) < HANDOFFS:
            rows = reader.wait_for_rows(10, spin_ns, yielding, bell if way == "parked" else None)
            assert len(rows) == 1, "each wait ends with the record that ended it"
            got += seqs(rows)
            reader.commit()
        return got

    child = processes.fork(receive)
    ends.until_attached(child.pid)
    for seq in range(1, HANDOFFS + 1):
        ends.publish(1)
        until(lambda wanted=seq: ends.place.cursor == wanted)  # type: ignore[misc]
    assert child.result() == list(range(1, HANDOFFS + 1))


@pytest.mark.usefixtures("endless_parks")
def test_several_records_that_came_at_once_are_read_together(
    ends: Ends, directory: Path, processes: Processes
) -> None:
    def receive() -> list[int]:
        reader, bell = ends.attach()
        return seqs(reader.wait_for_rows(3, 0, False, bell))

    child = processes.fork(receive)
    until(lambda: is_parked(directory) and is_asleep(child.pid))
    ends.publish(5)
    assert child.result() == [1, 2, 3]


@pytest.mark.usefixtures("endless_parks")
def test_a_signal_handler_runs_and_ends_the_wait(
    ends: Ends, directory: Path, processes: Processes
) -> None:
    def receive() -> list[int]:
        reader, bell = ends.attach()
        noted: list[int] = []
        signal.signal(signal.SIGUSR1, lambda number, _: noted.append(number))
        assert len(reader.wait_for_rows(3, 0, False, bell)) == 0
        return noted

    child = processes.fork(receive)
    until(lambda: is_parked(directory) and is_asleep(child.pid))
    os.kill(child.pid, signal.SIGUSR1)
    assert child.result() == [int(signal.SIGUSR1)]
    assert not is_parked(directory)


def is_parked(directory: Path) -> bool:
    return (directory / FILE_NAME).read_bytes()[PARKED_OFFSET] == 1


def is_asleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].startswith("S")


# The extension -------------------------------------------------------------------------------


@pytest.fixture
def native_ends(directory: Path) -> Iterator[Ends]:
    if NATIVE_MISSING:
        pytest.skip(NATIVE_MISSING)
    channels = IMPLEMENTATIONS["native"]
    readers = channels.Readers.create(directory, ("a", "b"))
    opened = Ends(channels, directory, readers)
    yield opened
    opened.close()
    readers.close()


@pytest.mark.usefixtures("endless_parks")
def test_memory_is_not_unmapped_under_a_thread_that_waits(
    native_ends: Ends, directory: Path
) -> None:
    reader, failed = native_ends.reader, []

    def wait() -> None:
        try:
            reader.wait_for_rows(1, 0, False, native_ends.bell)
        except ValueError as error:
            failed.append(str(error))

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    until(lambda: is_parked(directory))
    with pytest.raises(BufferError):
        native_ends.bell.close()
    reader.close()
    native_ends.publish(1)
    thread.join()
    assert failed == ["the channel is closed"]


def test_a_row_of_another_size_is_refused(native_ends: Ends) -> None:
    reader = native_ends.reader
    for row in (np.zeros(2, TICK), bytearray(8)):
        with pytest.raises(ValueError, match=r"bytes, expected 64"):
            reader._core.wait(reader.read, lambda row=row: row, 0, 1, 0)


@pytest.mark.parametrize(
    ("make_row", "arguments"),
    [
        (bytearray, ()),
        (bytearray, (1, "soon")),
        (bytearray, (1, 0, False, "bell")),
        (lambda: bytes(64), (1, 0)),
        (None, (1, 0)),
    ],
)
def test_wrong_arguments_are_refused(
    native_ends: Ends, make_row: Any, arguments: tuple[Any, ...]
) -> None:
    reader = native_ends.reader
    with pytest.raises((TypeError, BufferError, AttributeError)):
        reader._core.wait(reader.read, make_row, 0, *arguments)


def test_a_closed_ring_or_bell_is_not_waited_on(native_ends: Ends) -> None:
    native_ends.bell.close()
    with pytest.raises(ValueError, match="closed"):
        native_ends.reader.wait_for_rows(1, 0, False, native_ends.bell)
    native_ends.reader._core.close()
    with pytest.raises(ValueError, match="closed"):
        native_ends.reader.wait_for_rows(1, 0)


def test_a_wait_leaks_nothing(native_ends: Ends) -> None:
    reader, bell = native_ends.reader, native_ends.bell
    counted = [bell, bell.core, reader.read.__func__, TICK]
    before = [sys.getrefcount(thing) for thing in counted]
    for _ in range(10):
        reader.wait_for_rows(1, 0, False, bell)
    native_ends.publish(1)
    reader.wait_for_rows(1, 0, False, bell)
    assert [sys.getrefcount(thing) for thing in counted] == before
