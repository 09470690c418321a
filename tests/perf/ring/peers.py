"""Other ways between two Python processes, each as its own documentation would have it.

A peer that can deliver several records at once does. What a peer delivers is not decoded: bytes
where it gives bytes, 64 of them copied out of its memory where it gives a pointer.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import mmap
import multiprocessing
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.perf.ring.pair import RECORD, SHARED, Inbox, Peer

FORK = multiprocessing.get_context("fork")
ROOM = 65_536  # records that a peer keeps at most, where it can be told: as many as the ring


class _Package(Peer):
    """A peer of a package that may not be installed."""

    package = ""

    def missing(self) -> str:
        found = importlib.util.find_spec(self.package) is not None
        return "" if found else f"{self.package} is not installed"

    @cached_property
    def module(self) -> Any:
        return importlib.import_module(self.package)


class Control(Peer):
    """Nothing is sent: the reader, on its CPU, looks at the clock when a record would be due.

    What it is late is the machine's: other guests, the scheduler, interrupts.
    """

    name = "control: no channel"

    def share(self, folder: Path) -> None:
        self._plan = FORK.SimpleQueue()

    def be_writer(self) -> None:
        """There is none."""

    def be_reader(self) -> None:
        """There is none."""

    def send_all(self, due: NDArray[np.int64], rows: NDArray[np.void]) -> None:
        self._plan.put((due, rows))
        while time.monotonic_ns() < due[-1]:
            pass

    def receive_all(self, inbox: Inbox) -> int:
        due, rows = self._plan.get()
        times, clock = memoryview(inbox.times).cast("q"), time.monotonic_ns
        for number, moment in enumerate(due.tolist()):
            while clock() < moment:
                pass
            times[number] = clock()
        np.frombuffer(inbox.sizes, np.int64)[: len(rows)] = RECORD
        inbox.log[: rows.nbytes] = rows.tobytes()
        return len(rows)


class Queue(Peer):
    name = "multiprocessing.Queue"

    def share(self, folder: Path) -> None:
        self._queue = FORK.Queue()

    def open_writer(self) -> Callable[[Any], object]:
        return self._queue.put

    def open_reader(self) -> Callable[[], Any]:
        return self._queue.get

    def close(self) -> None:
        self._queue.close()
        self._queue.cancel_join_thread()


class Event(Peer):
    """Shared memory for the records, and an Event that says that there is something new."""

    name = "multiprocessing.Event"

    def share(self, folder: Path) -> None:
        self._event = FORK.Event()
        self._slots = mmap.mmap(-1, ROOM * RECORD, SHARED)
        self._count = memoryview(mmap.mmap(-1, 8, SHARED)).cast("Q")

    def open_writer(self) -> Callable[[Any], object]:
        event, slots, count = self._event, self._slots, self._count

        def send(record: bytes) -> None:
            at = count[0] % ROOM * RECORD
            slots[at : at + RECORD] = record
            count[0] += 1
            event.set()

        return send

    def open_reader(self) -> Callable[[], Any]:
        event, slots, count = self._event, self._slots, self._count
        done = 0

        def receive() -> bytes:
            nonlocal done
            while count[0] == done:
                event.wait()
                event.clear()
            first = done % ROOM
            last = min(first + count[0] - done, ROOM)
            done += last - first
            return slots[first * RECORD : last * RECORD]

        return receive


class Pipe(Peer):
    name = "multiprocessing.Pipe"

    def share(self, folder: Path) -> None:
        self._receiving, self._sending = FORK.Pipe(duplex=False)

    def open_writer(self) -> Callable[[Any], object]:
        return self._sending.send_bytes

    def open_reader(self) -> Callable[[], Any]:
        return self._receiving.recv_bytes

    def close(self) -> None:
        self._sending.close()
        self._receiving.close()


class FasterFifo(_Package):
    name = "faster-fifo"
    package = "faster_fifo"

    def share(self, folder: Path) -> None:
        self._queue = self.module.Queue(2 * ROOM * RECORD, loads=bytes, dumps=bytes)

    def open_writer(self) -> Callable[[Any], object]:
        send: Callable[[Any], object] = self._queue.put
        return send

    def open_reader(self) -> Callable[[], Any]:
        receive: Callable[[], Any] = self._queue.get_many
        return receive

    def to_bytes(self, received: Any) -> bytes:
        return b"".join(received)


class Zmq(_Package):
    name = "pyzmq, ipc"
    package = "zmq"

    def share(self, folder: Path) -> None:
        self._address = f"ipc://{folder}/zmq"

    def open_writer(self) -> Callable[[Any], object]:
        socket = self._socket("PUSH")
        socket.bind(self._address)
        send: Callable[[Any], object] = socket.send
        return send

    def open_reader(self) -> Callable[[], Any]:
        socket = self._socket("PULL")
        socket.connect(self._address)
        receive: Callable[[], Any] = socket.recv
        return receive

    def _socket(self, kind: str) -> Any:
        self._context = self.module.Context()
        socket = self._context.socket(getattr(self.module, kind))
        socket.set_hwm(ROOM)
        return socket

    def close(self) -> None:
        if hasattr(self, "_context"):
            self._context.destroy(linger=0)


class TickRecord(ctypes.Structure):
    """64 bytes, as iceoryx2 wants to have a type."""

    _fields_ = (("words", ctypes.c_uint64 * 8),)


class Iceoryx2(_Package):
    """Publish and subscribe; the reader spins, as with the ring. A full reader loses the oldest."""

    name = "iceoryx2, spinning"
    package = "iceoryx2"

    def share(self, folder: Path) -> None:
        self._service_name = f"tickpipe-bench-{folder.name}"

    def _service(self) -> Any:
        iox2 = self.module
        iox2.set_log_level(iox2.LogLevel.Error)
        # No signal handling: Ctrl-C stays ours.
        builder = iox2.NodeBuilder.new().signal_handling_mode(iox2.SignalHandlingMode.Disabled)
        self._node = builder.create(iox2.ServiceType.Ipc)
        return (
            self._node.service_builder(iox2.ServiceName.new(self._service_name))
            .publish_subscribe(TickRecord)
            .enable_safe_overflow(True)
            .subscriber_max_buffer_size(ROOM)
            .open_or_create()
        )

    def pack(self, rows: NDArray[np.void]) -> Iterator[Any]:
        return (TickRecord.from_buffer_copy(row.tobytes()) for row in rows)

    def open_writer(self) -> Callable[[Any], object]:
        self._port = self._service().publisher_builder().create()
        send: Callable[[Any], object] = self._port.send_copy
        return send

    def open_reader(self) -> Callable[[], Any]:
        self._port = self._service().subscriber_builder().create()
        receive, string_at = self._port.receive, ctypes.string_at

        def spin() -> bytes:
            while (sample := receive()) is None:
                pass
            return string_at(sample.payload_ptr, RECORD)

        return spin

    def close(self) -> None:
        """Let go of the port and its node: their destructors remove their files."""
        self.__dict__.clear()


def peers() -> list[Peer]:
    """Return one of each."""
    return [Control(), Iceoryx2(), FasterFifo(), Pipe(), Zmq(), Event(), Queue()]
