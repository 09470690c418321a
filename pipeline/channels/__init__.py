"""How processes talk: the only code that touches shared memory. Knows bytes and sequences.

    ring   one writer, many readers, never waits; a lapped reader knows exactly what it lost
    queue  one writer, one reader, loses nothing; full is an error that both sides see
    cell   one writer, many readers, the latest value only

``layout`` has the picture of the bytes, ``waiting`` the ways to wait, ``line`` a process's ends.
Each class comes twice: the reference in Python, and ``native`` over a small extension in C, which
is there where a compiler was. Both speak the same bytes and pass the same tests.
"""

import platform
from collections.abc import Callable
from typing import NamedTuple

from pipeline.channels import waiting
from pipeline.channels.cell import CellReader, CellWriter
from pipeline.channels.queue import QueueReader, QueueWriter
from pipeline.channels.readers import Readers
from pipeline.channels.ring import RingReader, RingWriter
from pipeline.errors import ChannelError, explain

Ready = Callable[[], bool]


class Implementation(NamedTuple):
    """The classes of one implementation; every one passes the same tests."""

    name: str
    RingWriter: type[RingWriter]
    RingReader: type[RingReader]
    QueueWriter: type[QueueWriter]
    QueueReader: type[QueueReader]
    CellWriter: type[CellWriter]
    CellReader: type[CellReader]
    Readers: type[Readers]
    poll: Callable[[Ready, waiting.Words, bool], waiting.Waiting]
    adaptive: Callable[[waiting.Bell, Ready, waiting.Words, int], waiting.Waiting]


def _reference() -> Implementation:
    return Implementation(
        "reference",
        RingWriter,
        RingReader,
        QueueWriter,
        QueueReader,
        CellWriter,
        CellReader,
        Readers,
        waiting.poll,
        waiting.adaptive,
    )


def _find_native() -> Implementation | str:
    """Return the native implementation, or why there is none."""
    try:
        from pipeline.channels import native
    except ImportError as error:
        return f"the extension is not there: {error}"
    if differences := native.layout_differences():
        return f"the extension was built for another layout: {', '.join(differences)}"
    return Implementation(
        "native",
        native.NativeRingWriter,
        native.NativeRingReader,
        native.NativeQueueWriter,
        native.NativeQueueReader,
        native.NativeCellWriter,
        native.NativeCellReader,
        native.NativeReaders,
        native.poll,
        native.adaptive,
    )


IMPLEMENTATIONS = {"reference": _reference()}
_found = _find_native()
NATIVE_MISSING = _found if isinstance(_found, str) else ""  # why, "" where it is there
if isinstance(_found, Implementation):
    IMPLEMENTATIONS["native"] = _found


def choose(name: str, machine: str = platform.machine()) -> Implementation:
    """Return the implementation ``name``; ``auto`` is native where it is there.

    Raises ChannelError where native is asked for and is not there, and for the reference on a
    machine that reorders stores: without barriers its readers could take a torn tick for whole.
    """
    if name == "auto":
        name = "reference" if NATIVE_MISSING else "native"
    if name not in IMPLEMENTATIONS:
        raise ChannelError(
            explain(
                f'channels.implementation = "{name}": {NATIVE_MISSING}',
                rule="native needs the extension, which is built where a C11 compiler is",
                cure="install gcc and the headers of Python and install tickpipe again, "
                'or set channels.implementation = "auto"',
            )
        )
    if name == "reference" and machine not in waiting.ORDERED_MACHINES:
        raise ChannelError(
            explain(
                f"the pure-Python channels on {machine}",
                rule="Python has no memory barriers; its channels are exact on x86-64 only",
                cure="install gcc and the headers of Python and install tickpipe again: "
                "the compiled channels have them",
            )
        )
    return IMPLEMENTATIONS[name]
