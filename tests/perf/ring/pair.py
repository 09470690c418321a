"""Two pinned processes: one sends records at intended times, the other notes when it had each.

Open loop: a latency counts from the time at which a record was due, not from when it was sent, so
that a sender that is late or blocked does not hide it (coordinated omission). All peers of a
benchmark live in the same two processes and take turns, so that what the machine does in those
milliseconds happens to each of them. The reader keeps every byte that it got: afterwards each
record is compared with what was sent.
"""

from __future__ import annotations

import gc
import mmap
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.records import TICK
from tests.rig import ticks

LEAD_NS = 5_000_000  # from the decision to send until the first record is due
PATIENCE_SECONDS = 60.0
CLOSING_SECONDS = 5.0
RECORD = TICK.itemsize
END = b"\xff" * 8  # the last field of the record that ends a run
SHARED = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE


class Inbox:
    """What the reader notes, in memory that both processes have: bytes, and a time and a size for
    each receive."""

    def __init__(self, records_max: int) -> None:
        self.log = mmap.mmap(-1, records_max * RECORD, SHARED)
        self.times = mmap.mmap(-1, records_max * 8, SHARED)
        self.sizes = mmap.mmap(-1, records_max * 8, SHARED)
        self._receives = mmap.mmap(-1, 8, SHARED)

    def finish(self, receives: int) -> None:
        self._receives[:] = receives.to_bytes(8, "little")

    def records(self) -> tuple[NDArray[np.void], NDArray[np.int64]]:
        """Return copies of the records before the end, and when the reader had each."""
        receives = int.from_bytes(self._receives, "little")
        sizes = np.frombuffer(self.sizes, np.int64, receives)
        times = np.frombuffer(self.times, np.int64, receives)
        count = int(sizes.sum()) // RECORD
        rows = np.frombuffer(self.log, TICK, count)
        return rows[:-1].copy(), np.repeat(times, sizes // RECORD)[:-1]


class Peer:
    """A way for 64-byte records to get from one process to another; see peers.py for some.

    ``share`` runs before the fork; ``open_writer`` and ``open_reader`` once each in their process.
    """

    name = ""

    def missing(self) -> str:
        """Return why it cannot run here, "" where it can."""
        return ""

    def share(self, folder: Path) -> None:
        """Make what both processes need."""

    def pack(self, rows: NDArray[np.void]) -> Iterator[Any]:
        """Return what ``send`` takes, one for each row, each made when it is asked for."""
        return (row.tobytes() for row in rows)

    def open_writer(self) -> Callable[[Any], object]:
        """Return ``send``."""
        raise NotImplementedError

    def open_reader(self) -> Callable[[], Any]:
        """Return ``receive``: waits for records and returns one or more of them, or none."""
        raise NotImplementedError

    def to_bytes(self, received: Any) -> bytes:
        return bytes(received)

    def send_all(self, due: NDArray[np.int64], rows: NDArray[np.void]) -> None:
        """Send each row when it is due; its message is made before that."""
        send, clock = self._send, time.monotonic_ns
        for moment, message in zip(due.tolist(), self.pack(rows), strict=True):
            while clock() < moment:
                pass
            send(message)

    def receive_all(self, inbox: Inbox) -> int:
        """Fill ``inbox`` until the end comes; return the number of receives.

        The time is taken when ``receive`` has returned: the record is there, in whatever object
        the peer delivers, and nothing is decoded.
        """
        receive, to_bytes, clock = self._receive, self.to_bytes, time.monotonic_ns
        log, times, sizes = inbox.log, memoryview(inbox.times), memoryview(inbox.sizes)
        times, sizes = times.cast("q"), sizes.cast("q")
        at = receives = 0
        while True:
            received = receive()
            now = clock()
            data = to_bytes(received)
            if not data:
                continue
            log[at : at + len(data)] = data
            times[receives] = now
            sizes[receives] = len(data)
            at += len(data)
            receives += 1
            if data[-8:] == END:
                return receives

    def be_writer(self) -> None:
        self._send = self.open_writer()

    def be_reader(self) -> None:
        self._receive = self.open_reader()

    def close(self) -> None:
        """Release what this process has of it; called in both."""


class Outcome(NamedTuple):
    """What came of one run of one peer."""

    latency_ns: NDArray[np.int64]  # of each record received, from when it was due
    sent: int
    lost: int
    achieved: float  # records a second that arrived


class Pair:
    """A writer in this process and a reader in a fork of it, each on its CPU."""

    def __init__(self, peers: Sequence[Peer], folder: Path, records_max: int) -> None:
        self._peers = list(peers)
        self._opened: set[int] = set()
        self._inbox = Inbox(records_max + 1)
        self._everywhere = os.sched_getaffinity(0)
        self._cpus = sorted(self._everywhere)
        for peer in peers:
            peer.share(folder)
        commands, self._commands = os.pipe()
        self._replies, replies = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._commands)
            self._be_reader(commands, replies)
        os.close(commands)
        os.close(replies)
        os.sched_setaffinity(0, {self._cpus[0]})

    def run(self, peer: Peer, offsets_ns: NDArray[np.int64]) -> Outcome:
        """Send a record at each of ``offsets_ns`` from a moment near, and say what came of it.

        Raises RuntimeError where the reader ends, or has not seen the end in time, and
        AssertionError where a record arrives that is not one of those sent.
        """
        index = self._peers.index(peer)
        if index not in self._opened:
            peer.be_writer()
            self._opened.add(index)
        rows = numbered(len(offsets_ns))
        os.write(self._commands, bytes([index]))
        self._expect(b"r", peer)
        offsets = np.append(offsets_ns, offsets_ns[-1] + LEAD_NS)
        gc.disable()
        due = time.monotonic_ns() + LEAD_NS + offsets
        peer.send_all(due, rows)
        gc.enable()
        self._expect(b"d", peer)
        return outcome(rows[:-1], due[:-1], *self._inbox.records())

    def _expect(self, reply: bytes, peer: Peer) -> None:
        poll = select.poll()
        poll.register(self._replies, select.POLLIN)
        if not poll.poll(PATIENCE_SECONDS * 1_000):
            raise RuntimeError(f"{peer.name}: its reader is not back in {PATIENCE_SECONDS:.0f} s")
        if os.read(self._replies, 1) != reply:
            raise RuntimeError(f"{peer.name}: its reader ended, see its traceback")

    def _be_reader(self, commands: int, replies: int) -> None:
        code = 1
        try:
            os.sched_setaffinity(0, {self._cpus[-1]})
            gc.disable()
            while command := os.read(commands, 1):
                self._receive_once(command[0], replies)
            for index in self._opened:
                self._peers[index].close()
            code = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _receive_once(self, index: int, replies: int) -> None:
        peer = self._peers[index]
        if index not in self._opened:
            peer.be_reader()
            self._opened.add(index)
        os.write(replies, b"r")
        self._inbox.finish(peer.receive_all(self._inbox))
        os.write(replies, b"d")

    def close(self) -> None:
        """End the reader, which closes its ends; kill it where it does not."""
        os.sched_setaffinity(0, self._everywhere)
        os.close(self._commands)
        if not self._ended(CLOSING_SECONDS):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._replies)
        for peer in self._peers:
            peer.close()

    def _ended(self, seconds: float) -> bool:
        """Return whether the reader has closed its pipe."""
        poll = select.poll()
        poll.register(self._replies, select.POLLIN)
        return bool(poll.poll(seconds * 1_000))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def numbered(count: int) -> NDArray[np.void]:
    """Return ``count`` rows of one instrument, numbered from 1 in ``day_volume``, and the row that
    ends a run."""
    rows = ticks(1, count + 1)
    rows["instrument"] = 0
    rows["day_volume"] = np.arange(1, count + 2)
    rows["ask_e4"][-1] = -1
    return rows


def outcome(
    sent: NDArray[np.void],
    due: NDArray[np.int64],
    received: NDArray[np.void],
    times: NDArray[np.int64],
) -> Outcome:
    """Compare what was received with what was sent; a ring numbers records itself, so not seq."""
    numbers = received["day_volume"].astype(np.int64)
    expected = sent[numbers - 1]
    expected["seq"] = received["seq"]
    assert received.tobytes() == expected.tobytes(), "a record arrived that was not sent so"
    assert len(np.unique(numbers)) == len(numbers), "a record arrived twice"
    seconds = (times.max() - due[0]) / 1e9 if len(times) else 1.0
    return Outcome(
        latency_ns=times - due[numbers - 1],
        sent=len(sent),
        lost=len(sent) - len(received),
        achieved=len(received) / seconds,
    )
