"""How processes talk: the only code that touches shared memory. Knows bytes and sequences.

    ring   one writer, many readers, never waits; a lapped reader knows exactly what it lost
    queue  one writer, one reader, loses nothing; full is an error that both sides see
    cell   one writer, many readers, the latest value only

``layout`` has the picture of the bytes, ``waiting`` the ways to wait, ``line`` a process's ends.
"""

from typing import NamedTuple

from pipeline.channels.cell import CellReader, CellWriter
from pipeline.channels.queue import QueueReader, QueueWriter
from pipeline.channels.ring import RingReader, RingWriter


class Implementation(NamedTuple):
    """The classes of one implementation; every one passes the same tests."""

    RingWriter: type[RingWriter]
    RingReader: type[RingReader]
    QueueWriter: type[QueueWriter]
    QueueReader: type[QueueReader]
    CellWriter: type[CellWriter]
    CellReader: type[CellReader]


IMPLEMENTATIONS = {
    "reference": Implementation(
        RingWriter, RingReader, QueueWriter, QueueReader, CellWriter, CellReader
    )
}
