"""Shared-memory files: created complete, renamed into place, checked on attach.

Some facts. ``posix_fallocate`` takes the pages now, so that a full /dev/shm is an error here and
not a SIGBUS in the middle of a tick. ``multiprocessing.shared_memory`` is not used: on Python
3.11 a process that attaches and exits unlinks the owner's segment (cpython gh-82300). An mmap
cannot be closed while a numpy view of it lives, so views stay inside this package.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.checks import FILE_MODE, check_file, check_header, check_words, refused
from pipeline.channels.epochs import predecessor
from pipeline.channels.layout import (
    CLAIMED,
    HEADER,
    MAGIC,
    PUBLISHED,
    SLOTS_OFFSET,
    STATE,
    VERSION,
    Kind,
    State,
    layout_hash,
)
from pipeline.errors import ChannelError, SegmentRefused, explain

DIRECTORY_MODE = 0o700


class Segment:
    """One mapped file: ``words`` are its u64 words, ``slots`` its records.

    ``store`` and ``load`` move whole records as bytes: numpy assigns and copies rows of a
    structured dtype field by field, which takes ten times as long.
    """

    def __init__(
        self, path: Path, descriptor: int, mapped: mmap.mmap, slot: np.dtype[np.void]
    ) -> None:
        self.path = path
        self.mapped = mapped
        header = np.frombuffer(mapped, HEADER, count=1)[0]
        self.capacity = int(header["capacity"])
        self.epoch = int(header["epoch"])
        self.base = int(header["base"])
        self.pid = int(header["pid"])
        self.created_ns = int(header["created_ns"])
        self.identity = _identity(os.fstat(descriptor))
        self.words = memoryview(mapped).cast("B")[:SLOTS_OFFSET].cast("Q")
        self.slots: NDArray[np.void] = np.frombuffer(
            mapped, slot, count=self.capacity, offset=SLOTS_OFFSET
        )
        self._slot = slot
        self._size = slot.itemsize
        self._mask = self.capacity - 1
        self._bytes = memoryview(mapped)[SLOTS_OFFSET:]
        self._length = len(self._bytes)
        self._seqs = np.frombuffer(mapped, "<u8", offset=SLOTS_OFFSET)[:: slot.itemsize // 8]

    def store(self, done: int, rows: NDArray[np.void]) -> None:
        """Write ``rows`` behind the first ``done`` records, numbered from ``done`` + 1."""
        raw = rows.tobytes()
        at = done & self._mask
        start = at * self._size
        over = start + len(raw) - self._length
        if over <= 0:
            self._bytes[start : start + len(raw)] = raw
        else:
            self._bytes[start:] = raw[:-over]
            self._bytes[:over] = raw[-over:]
        if len(rows) == 1:
            self._seqs[at] = done + 1
        else:
            self._number(at, np.arange(done + 1, done + 1 + len(rows), dtype=np.uint64))

    def _number(self, at: int, seqs: NDArray[np.uint64]) -> None:
        room = self.capacity - at
        self._seqs[at : at + len(seqs)] = seqs[:room]
        if len(seqs) > room:
            self._seqs[: len(seqs) - room] = seqs[room:]

    def load(self, done: int, count: int) -> NDArray[np.void]:
        """Return a copy of the ``count`` records behind the first ``done``."""
        start = (done & self._mask) * self._size
        end = start + count * self._size
        raw = bytearray(self._bytes[start:end])
        if end > self._length:
            raw += self._bytes[: end - self._length]
        return np.frombuffer(raw, self._slot)

    @property
    def superseded(self) -> bool:
        """True when another segment has this name now, or is about to."""
        return self.words[STATE] == State.SUPERSEDED

    def check_whole(self) -> None:
        """Raise SegmentRefused when the file was shortened or deleted behind our back.

        A load beyond the end of a shortened file is SIGBUS, which kills the process before any
        code could ask; this finds what was not touched yet, and what will never be written again.
        """
        size = self.mapped.size()
        if size < len(self.mapped):
            raise refused(self.path, f"has {size} bytes", f"it had {len(self.mapped)} when mapped")
        # In this order: who replaces a segment marks it before the path is the new one's.
        if _identity_of(self.path) != self.identity and not self.superseded:
            raise refused(self.path, "was deleted or replaced", "it stays until its run has ended")

    def close(self) -> None:
        """Unmap. The file stays; deleting it is the run directory's business."""
        self.words.release()
        self._bytes.release()
        self._seqs = self._seqs[:0].copy()
        self.slots = self.slots[:0].copy()
        # A view still held by somebody keeps the mapping until it is collected: harmless.
        with contextlib.suppress(BufferError):
            self.mapped.close()

    def __repr__(self) -> str:
        return f"<Segment {self.path} epoch={self.epoch} capacity={self.capacity}>"


def create_segment(
    path: Path,
    kind: Kind,
    slot: np.dtype[np.void],
    capacity: int,
    first_rows: NDArray[np.void] | None = None,
) -> Segment:
    """Create ``path`` with ``capacity`` slots and return it writable; slots are empty but for
    ``first_rows``.

    The file appears complete or not at all; a segment of that name from before is marked
    SUPERSEDED and replaced, and whoever has it mapped keeps it. A ring goes on counting where the
    ring before had claimed. Raises ChannelError when the memory is not there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)  # of a process that was killed here and had our pid
    size = SLOTS_OFFSET + slot.itemsize * capacity
    first = b"" if first_rows is None else first_rows.tobytes()
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, FILE_MODE)
    try:
        _allocate(descriptor, size, path)
        mapped = mmap.mmap(descriptor, size)
        mapped[SLOTS_OFFSET : SLOTS_OFFSET + len(first)] = first
        with predecessor(path, kind) as before:
            base = before.base if kind is Kind.RING else 0
            mapped[: HEADER.itemsize] = _header(before.epoch + 1, kind, slot, capacity, base)
            segment = Segment(path, descriptor, mapped, slot)
            if kind is Kind.RING:
                segment.words[CLAIMED] = segment.words[PUBLISHED] = base
            before.supersede()  # before the rename, see epochs.py
            os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)
    return segment


def _allocate(descriptor: int, size: int, path: Path) -> None:
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        raise ChannelError(
            explain(
                f"{path} needs {size} bytes and cannot have them: {error.strerror}",
                rule="shared memory is taken whole at start-up",
                cure="free /dev/shm, lower channels.ring_capacity, or set channels.directory "
                "(containers have 64 MB unless started with --shm-size)",
            )
        ) from None


def _header(epoch: int, kind: Kind, slot: np.dtype[np.void], capacity: int, base: int) -> bytes:
    assert capacity & (capacity - 1) == 0, f"capacity {capacity} is not a power of two"
    header = np.zeros(1, HEADER)
    header["magic"] = MAGIC
    header["version"] = VERSION
    header["kind"] = kind
    header["header_len"] = SLOTS_OFFSET
    header["slot_size"] = slot.itemsize
    header["capacity"] = capacity
    header["layout_hash"] = layout_hash(slot)
    header["epoch"] = epoch
    header["created_ns"] = time.time_ns()
    header["monotonic_offset_ns"] = time.time_ns() - time.monotonic_ns()
    header["pid"] = os.getpid()
    header["base"] = base
    return header.tobytes()


def peek_header(path: Path) -> np.void | None:
    """Return the header of ``path`` unchecked, None where there is no file or no header."""
    try:
        with path.open("rb") as file:
            raw = file.read(HEADER.itemsize)
    except FileNotFoundError:
        return None
    if len(raw) < HEADER.itemsize or not raw.startswith(MAGIC):
        return None
    header: np.void = np.frombuffer(raw, HEADER)[0]
    return header


def attach_segment(
    path: Path, kind: Kind, slot: np.dtype[np.void], *, writable: bool = False
) -> Segment:
    """Map an existing file after checking that it is ours, whole and of this layout.

    Raises SegmentRefused, naming the check that failed, the value and the cure.
    """
    # O_NONBLOCK: a FIFO of that name is refused below and not waited for.
    flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise refused(path, f"cannot be opened: {error.strerror}", "it exists, no symlink") from (
            error
        )
    try:
        size = check_file(path, os.fstat(descriptor))
        check_header(path, os.pread(descriptor, HEADER.itemsize, 0), size, kind, slot)
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        segment = Segment(path, descriptor, mmap.mmap(descriptor, size, access=access), slot)
    finally:
        os.close(descriptor)
    try:
        check_words(path, kind, segment.words, segment.base)
    except SegmentRefused:
        segment.close()
        raise
    return segment


def attach_successor(old: Segment, slot: np.dtype[np.void]) -> Segment | None:
    """Map the ring that has the path of ``old`` now; None while that is ``old``, or nothing.

    Raises SegmentRefused also when it does not go on where ``old`` ended: one of the rings
    between was deleted, and nobody can say what was lost.
    """
    identity = _identity_of(old.path)
    if identity is None or identity == old.identity:
        return None
    segment = attach_segment(old.path, Kind.RING, slot)
    if segment.epoch > old.epoch and segment.base >= old.words[PUBLISHED]:
        return segment
    base, epoch = segment.base, segment.epoch
    segment.close()
    raise refused(
        old.path,
        f"is of epoch {epoch} and goes on behind seq {base}",
        f"it comes after epoch {old.epoch}, which ended with seq {old.words[PUBLISHED]}",
    )


def _identity_of(path: Path) -> tuple[int, int] | None:
    try:
        return _identity(path.lstat())
    except FileNotFoundError:
        return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    """Return device and inode, which are not used again while a process has the file mapped."""
    return status.st_dev, status.st_ino


def make_private_directory(path: Path) -> None:
    """Create ``path`` and its parents with mode 0700; refuse one that others could enter."""
    try:
        missing = [p for p in (path, *path.parents) if not p.exists()]
        for directory in reversed(missing):
            directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        status = path.lstat()
    except PermissionError as error:
        raise refused(path, f"cannot be made: {error}", "we may write beside it") from None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise refused(path, "is not a directory of ours", f"it belongs to uid {os.getuid()}")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise SegmentRefused(
            explain(
                f"{path} has mode {stat.S_IMODE(status.st_mode):04o}",
                rule="only its owner may enter a run directory (0700)",
                cure=f"chmod 700 {path}, or set channels.directory to an empty place",
            )
        )
