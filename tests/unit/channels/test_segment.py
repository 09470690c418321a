from __future__ import annotations

import ctypes
import os
import resource
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.channels import layout
from pipeline.channels.layout import HEADER, SLOTS_OFFSET, Kind
from pipeline.channels.segment import (
    Segment,
    attach_segment,
    create_segment,
    make_private_directory,
    peek_header,
)
from pipeline.errors import ChannelError, SegmentRefused
from pipeline.records import TICK
from tests.rig import Processes, descriptors_below, words_of

CAPACITY = 8
WHOLE = SLOTS_OFFSET + CAPACITY * TICK.itemsize


@pytest.fixture
def path(directory: Path) -> Path:
    """Return the path of a good ring."""
    file = directory / "ticks.ring"
    create_segment(file, Kind.RING, TICK, CAPACITY).close()
    return file


def attach(path: Path) -> Segment:
    return attach_segment(path, Kind.RING, TICK)


def patch_header(path: Path, field: str, value: object) -> None:
    with path.open("r+b") as file:
        header = np.frombuffer(file.read(HEADER.itemsize), HEADER).copy()
        header[field] = value
        file.seek(0)
        file.write(header.tobytes())


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_good_segment_is_attached_with_its_capacity_epoch_and_owner(path: Path) -> None:
    segment = attach(path)
    assert (segment.capacity, segment.epoch, segment.pid) == (CAPACITY, 1, os.getpid())
    segment.close()


def make_short(path: Path) -> None:
    os.truncate(path, SLOTS_OFFSET - 1)


def make_empty(path: Path) -> None:
    os.truncate(path, 0)


def cut_a_slot(path: Path) -> None:
    os.truncate(path, WHOLE - TICK.itemsize)


def add_a_slot(path: Path) -> None:
    os.truncate(path, WHOLE + TICK.itemsize)


def make_symlink(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def set_words(**values: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with words_of(path) as words:
            for name, value in values.items():
                words[getattr(layout, name)] = value

    return change


def set_header(field: str, value: object) -> Callable[[Path], None]:
    return lambda path: patch_header(path, field, value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (Path.unlink, r"cannot be opened: No such file"),
        (make_symlink, r"cannot be opened: Too many levels of symbolic links"),
        (make_directory, r"is not a regular file"),
        (make_fifo, r"is not a regular file"),
        (lambda path: path.chmod(0o666), r"has mode 0666\n  rule: segments have mode 0600"),
        (lambda path: path.chmod(0o640), r"has mode 0640\n  rule: segments have mode 0600"),
        (make_empty, r"has 0 bytes\n  rule: the header is 640 bytes"),
        (make_short, r"has 639 bytes\n  rule: the header is 640 bytes"),
        (set_header("magic", b"NOTAPIPE"), r"starts with b'NOTAPIPE'"),
        (set_header("version", 1), r"has version 1\n  rule: version is 2"),
        (set_header("kind", Kind.QUEUE), r"has kind 2\n  rule: kind is 1"),
        (set_header("header_len", 512), r"has header_len 512\n  rule: header_len is 640"),
        (set_header("slot_size", 32), r"has slot_size 32\n  rule: slot_size is 64"),
        (set_header("layout_hash", 7), r"has layout_hash 7\n"),
        (set_header("capacity", 0), r"has capacity 0\n  rule: capacity is a power of two"),
        (set_header("capacity", 6), r"has capacity 6\n  rule: capacity is a power of two"),
        (set_header("capacity", 16), r"has 1152 bytes\n  rule: 16 slots make 1664 bytes"),
        (cut_a_slot, r"has 1088 bytes\n  rule: 8 slots make 1152 bytes"),
        (set_words(STATE=4), r"has state 4\n  rule: a state is one of 0 OPEN, 1 CLOSED, "),
        (set_words(PUBLISHED=3), r"has base 0, published 3, claimed 0\n  rule: none of these is"),
        (set_header("base", 9), r"has base 9, published 0, claimed 0\n"),
        (add_a_slot, r"has 1216 bytes\n  rule: 8 slots make 1152 bytes"),
    ],
)
def test_a_segment_that_is_not_as_it_should_be_is_refused_with_the_check_that_failed(
    path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(path)
    with pytest.raises(SegmentRefused, match=message) as refusal:
        attach(path)
    assert str(refusal.value).startswith(str(path))
    assert "\n  cure: " in str(refusal.value)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_segment_of_another_user_is_refused(path: Path) -> None:
    os.chown(path, 12345, -1)
    with pytest.raises(SegmentRefused, match=r"belongs to uid 12345\n  rule: the owner is uid 0"):
        attach(path)


def test_a_record_with_another_field_of_the_same_size_is_another_layout(path: Path) -> None:
    renamed = np.dtype([(n if n != "bid_e4" else "bid_paise", TICK[n]) for n in TICK.names or ()])
    assert renamed.itemsize == TICK.itemsize
    with pytest.raises(SegmentRefused, match="layout_hash"):
        attach_segment(path, Kind.RING, renamed)


def test_a_refused_segment_leaves_no_descriptor_open(path: Path) -> None:
    path.chmod(0o666)
    before = descriptors_below(path.parent)
    with pytest.raises(SegmentRefused):
        attach(path)
    assert descriptors_below(path.parent) == before


def test_a_segment_that_was_attached_for_reading_cannot_be_written(path: Path) -> None:
    segment = attach(path)
    with pytest.raises(TypeError, match="read-only"):
        segment.words[16] = 1
    with pytest.raises(ValueError, match="read-only"):
        segment.slots["seq"][0] = 1
    segment.close()


def test_a_segment_has_mode_0600_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        create_segment(path, Kind.RING, TICK, CAPACITY).close()
    finally:
        os.umask(before)
    assert mode_of(path) == 0o600


def test_a_segment_has_all_its_pages_from_the_start(path: Path) -> None:
    create_segment(path, Kind.RING, TICK, 4_096).close()
    whole = SLOTS_OFFSET + 4_096 * TICK.itemsize
    assert path.stat().st_size == whole
    assert path.stat().st_blocks * 512 >= whole


def test_a_new_segment_of_the_same_name_counts_the_epoch_and_leaves_the_old_mapping(
    path: Path,
) -> None:
    old = attach(path)
    new = create_segment(path, Kind.RING, TICK, 2 * CAPACITY)
    assert (old.epoch, new.epoch) == (1, 2)
    assert (old.capacity, len(old.slots)) == (CAPACITY, CAPACITY)
    header = peek_header(path)
    assert header is not None
    assert (int(header["epoch"]), int(header["capacity"])) == (2, 2 * CAPACITY)
    new.close()
    old.close()


def mount_tmpfs(place: Path, size: int) -> str:
    """Mount a tmpfs of ``size`` bytes that only this process sees; return why not, "" for done."""
    libc = ctypes.CDLL(None, use_errno=True)
    private, recursive, new_mounts = 1 << 18, 1 << 14, 0x00020000
    steps: tuple[Callable[[], int], ...] = (
        lambda: libc.unshare(new_mounts),
        lambda: libc.mount(b"none", b"/", None, private | recursive, None),
        lambda: libc.mount(b"tmpfs", bytes(place), b"tmpfs", 0, f"size={size},mode=700".encode()),
    )
    for step in steps:
        if step() != 0:
            return f"cannot mount a tmpfs: {os.strerror(ctypes.get_errno())}"
    return ""


def test_a_shared_memory_that_is_full_is_an_error_and_no_bus_error_later(
    directory: Path, processes: Processes
) -> None:
    path = directory / "ticks.ring"

    def fill() -> list[str]:
        if failed := mount_tmpfs(directory, 65_536):
            return [failed]
        with pytest.raises(ChannelError) as error:
            create_segment(path, Kind.RING, TICK, 4_096)
        left = [file.name for file in directory.iterdir()]
        create_segment(path, Kind.RING, TICK, 512).close()
        return ["", str(error.value), *left]

    failed, *result = processes.fork(fill).result()
    if failed:
        pytest.skip(failed)
    (message,) = result
    assert message.startswith(f"{path} needs {SLOTS_OFFSET + 4_096 * 64} bytes and cannot have")
    assert "No space left on device" in message
    assert "--shm-size" in message


def test_memory_that_is_not_there_is_an_error_and_leaves_no_file(
    directory: Path, processes: Processes
) -> None:
    def create() -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, resource.RLIM_INFINITY))
        with pytest.raises(ChannelError) as error:
            create_segment(directory / "ticks.ring", Kind.RING, TICK, 65_536)
        return str(error.value)

    message = processes.fork(create).result()
    assert f"{directory / 'ticks.ring'} needs {SLOTS_OFFSET + 65_536 * 64} bytes" in message
    assert "cure: free /dev/shm, lower channels.ring_capacity" in message
    assert list(directory.iterdir()) == []


def test_there_is_nothing_to_peek_at_without_a_header(directory: Path) -> None:
    assert peek_header(directory / "missing") is None
    (directory / "short").write_bytes(b"TICKPIPE")
    assert peek_header(directory / "short") is None
    (directory / "other").write_bytes(bytes(SLOTS_OFFSET))
    assert peek_header(directory / "other") is None


def test_directories_are_made_private_with_their_parents(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_private_directory(tmp_path / "tickpipe-tests" / "one")
    finally:
        os.umask(before)
    made = (tmp_path / "tickpipe-tests", tmp_path / "tickpipe-tests" / "one")
    assert [mode_of(path) for path in made] == [0o700, 0o700]


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o777])
def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path, mode: int) -> None:
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(mode)
    with pytest.raises(SegmentRefused, match=rf"has mode {mode:04o}\n.*\n  cure: chmod 700"):
        make_private_directory(place)


def test_a_file_or_symlink_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(SegmentRefused, match="is not a directory of ours"):
            make_private_directory(tmp_path / name)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "theirs"
    place.mkdir(mode=0o700)
    os.chown(place, 12345, -1)
    with pytest.raises(SegmentRefused, match="is not a directory of ours"):
        make_private_directory(place)
