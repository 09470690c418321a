"""How a segment takes the place of one that has its name already: the next epoch of that name.

The writer of the segment before is dead, or it would hold its lock. Its readers may live, and
have to learn that they must follow. So the order is: make the new file complete under another
name, mark the old one SUPERSEDED, rename. A creator that is killed between the mark and the
rename leaves readers that see SUPERSEDED, find that the path is still theirs, and wait for the
next creator. The other way round they would keep a file that nobody can reach and nobody marks.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np

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
)

# Opening says these where there is no file, a symlink, a directory, a socket, or none of ours.
_NOT_A_FILE = (errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EACCES, errno.EPERM)


class Predecessor:
    """The segment that has a path when the next is created there; epoch 0 where there is none."""

    def __init__(self, words: memoryview) -> None:
        self._words = words
        self.epoch = int(np.frombuffer(words, "u1")[: HEADER.itemsize].view(HEADER)["epoch"][0])
        self.base = max(words[CLAIMED], words[PUBLISHED])  # where the next ring goes on

    def supersede(self) -> None:
        """Tell its readers to follow. What its writer last said of itself does not count now."""
        self._words[STATE] = State.SUPERSEDED


@contextlib.contextmanager
def predecessor(path: Path, kind: Kind) -> Iterator[Predecessor]:
    """Open what has ``path`` now. What is no segment of this kind counts as nothing."""
    descriptor = _open(path)
    try:
        if descriptor is None or not _is_segment(descriptor, kind):
            yield Predecessor(memoryview(bytearray(SLOTS_OFFSET)).cast("Q"))
            return
        with mmap.mmap(descriptor, SLOTS_OFFSET) as head, memoryview(head).cast("Q") as words:
            yield Predecessor(words)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            return None
        raise


def _is_segment(descriptor: int, kind: Kind) -> bool:
    """Tell whether the hot words of this file stand where ours do; its slots may be others."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid():
        return False
    if status.st_size < SLOTS_OFFSET:
        return False
    header = np.frombuffer(os.pread(descriptor, HEADER.itemsize, 0), HEADER)[0]
    found = [header[name] for name in ("magic", "version", "kind", "header_len")]
    return found == [MAGIC, VERSION, kind, SLOTS_OFFSET]
