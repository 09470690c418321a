"""A segment that is created where another stands."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.channels.epochs import predecessor
from pipeline.channels.layout import CLAIMED, HEADER, PUBLISHED, SLOTS_OFFSET, STATE, Kind, State
from pipeline.channels.segment import Segment, attach_segment, create_segment
from pipeline.errors import ChannelError
from pipeline.records import TICK
from tests.rig import Processes, descriptors_below, words_of

CAPACITY = 8


@pytest.fixture
def path(directory: Path) -> Path:
    """Return the path of a ring of which 5 records were claimed and 3 published."""
    file = directory / "ticks.ring"
    create(file).close()
    with words_of(file) as words:
        words[CLAIMED], words[PUBLISHED] = 5, 3
    return file


def create(path: Path, kind: Kind = Kind.RING) -> Segment:
    return create_segment(path, kind, TICK, CAPACITY)


def state_of(words: memoryview) -> State:
    return State(words[STATE])


def test_without_a_file_the_first_epoch_begins_at_nothing(directory: Path) -> None:
    segment = create(directory / "ticks.ring")
    assert (segment.epoch, segment.base) == (1, 0)
    assert (segment.words[CLAIMED], segment.words[PUBLISHED]) == (0, 0)


def test_a_ring_goes_on_behind_what_the_one_before_had_claimed(path: Path) -> None:
    segment = create(path)
    assert (segment.epoch, segment.base) == (2, 5)
    assert (segment.words[CLAIMED], segment.words[PUBLISHED]) == (5, 5)
    assert state_of(segment.words) is State.OPEN


def test_a_ring_with_other_slots_goes_on_too(path: Path) -> None:
    slot = np.dtype([("seq", "<u8"), ("price_e4", "<i8")])
    segment = create_segment(path, Kind.RING, slot, 2)
    assert (segment.epoch, segment.base) == (2, 5)


@pytest.mark.parametrize("kind", [Kind.QUEUE, Kind.CELL])
def test_queues_and_cells_begin_anew(directory: Path, kind: Kind) -> None:
    file = directory / "some.file"
    old = create(file, kind)
    old.words[CLAIMED], old.words[PUBLISHED] = 5, 5
    new = create(file, kind)
    assert (new.epoch, new.base, new.words[PUBLISHED]) == (2, 0, 0)
    assert old.superseded


@pytest.mark.parametrize("state", list(State))
def test_whatever_the_writer_said_last_its_segment_is_superseded(path: Path, state: State) -> None:
    old = attach_segment(path, Kind.RING, TICK, writable=True)
    old.words[STATE] = state
    create(path)
    assert state_of(old.words) is State.SUPERSEDED
    assert (old.words[CLAIMED], old.words[PUBLISHED]) == (5, 3)


def test_who_has_the_old_segment_mapped_keeps_it(path: Path) -> None:
    old = attach_segment(path, Kind.RING, TICK)
    new = create_segment(path, Kind.RING, TICK, 2 * CAPACITY)
    assert (old.epoch, old.capacity, len(old.slots)) == (1, CAPACITY, CAPACITY)
    assert (new.epoch, new.capacity) == (2, 2 * CAPACITY)
    assert attach_segment(path, Kind.RING, TICK).epoch == 2


def kill_at_rename(path: Path, processes: Processes) -> None:
    def die() -> None:
        os.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        create(path)

    processes.fork(die).wait_for_death()


def test_a_creator_that_is_killed_before_the_rename_has_marked_the_old_segment(
    path: Path, processes: Processes
) -> None:
    old = attach_segment(path, Kind.RING, TICK)
    kill_at_rename(path, processes)
    assert old.superseded
    assert attach_segment(path, Kind.RING, TICK).identity == old.identity
    assert create(path).base == 5


def test_a_creator_without_memory_leaves_the_old_segment_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(ChannelError, match="No space left"):
        create(path)
    assert not attach_segment(path, Kind.RING, TICK).superseded
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_process_of_our_pid_left_half_made_is_no_hindrance(path: Path) -> None:
    (path.parent / f".{path.name}.{os.getpid()}").write_text("half")
    assert create(path).epoch == 2


def spoil(field: str, value: object) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        header = np.frombuffer(path.read_bytes()[: HEADER.itemsize], HEADER).copy()
        header[field] = value
        with path.open("r+b") as file:
            file.write(header.tobytes())

    return change


def make_symlink(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


BAD = [
    spoil("magic", b"NOTAPIPE"),
    spoil("version", 1),
    spoil("kind", Kind.CELL),
    spoil("header_len", 512),
    lambda path: os.truncate(path, SLOTS_OFFSET - 1),
    lambda path: os.truncate(path, 0),
    make_symlink,
    make_fifo,
]


@pytest.mark.parametrize("make_bad", BAD)
def test_what_is_no_ring_is_replaced_and_not_touched(
    path: Path, make_bad: Callable[[Path], object]
) -> None:
    mapped = attach_segment(path, Kind.RING, TICK)
    make_bad(path)
    segment = create(path)
    assert (segment.epoch, segment.base) == (1, 0)
    if mapped.mapped.size() >= SLOTS_OFFSET:
        assert not mapped.superseded
    assert path.is_file()
    assert not path.is_symlink()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_ring_of_another_user_is_replaced_and_not_touched(path: Path) -> None:
    mapped = attach_segment(path, Kind.RING, TICK)
    os.chown(path, 12345, -1)
    assert create(path).epoch == 1
    assert not mapped.superseded


def test_looking_at_the_predecessor_leaves_no_descriptor_open(path: Path) -> None:
    before = descriptors_below(path.parent)
    with predecessor(path, Kind.RING) as found:
        assert (found.epoch, found.base) == (1, 5)
    with predecessor(path, Kind.CELL) as found:
        assert (found.epoch, found.base) == (0, 0)
    assert descriptors_below(path.parent) == before
