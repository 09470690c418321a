"""What tests of shared memory share: the implementations, forked processes, ticks that check
themselves."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.channels import IMPLEMENTATIONS, Implementation
from pipeline.channels.layout import PARKED_OFFSET, READER, SLOTS_OFFSET
from pipeline.channels.readers import Readers
from pipeline.records import TICK, WhenLapped

CHILD_SECONDS_MAX = 30.0


@pytest.fixture(scope="session", params=list(IMPLEMENTATIONS))
def channels(request: pytest.FixtureRequest) -> Implementation:
    """Return the classes of one implementation; the test runs once for each."""
    return IMPLEMENTATIONS[request.param]


class Child:
    """A forked process and the pipe through which its function's result comes."""

    def __init__(self, pid: int, pipe: int) -> None:
        self.pid = pid
        self._pipe = pipe
        self._reaped = False

    def result(self, seconds: float = CHILD_SECONDS_MAX) -> Any:
        """Return what the child's function returned; fail if it failed or is not back in time."""
        raw = self._read_to_end(time.monotonic() + seconds)
        code = self._reap()
        assert code == 0, f"child {self.pid} ended with {code}, see its traceback in stderr"
        return json.loads(raw)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, and wait until it has stopped or ended the child."""
        os.kill(self.pid, number)
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)

    def assert_alive(self) -> None:
        """Fail where it has ended by itself."""
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        assert ended is None, f"child {self.pid} ended, see its traceback in stderr"

    def kill(self) -> None:
        """SIGKILL it if it still runs, and wait for its end."""
        if not self._reaped:
            os.kill(self.pid, signal.SIGKILL)
            self._reap()

    def wait_for_death(self, by: signal.Signals = signal.SIGKILL) -> None:
        """Wait until it is dead by the signal ``by``."""
        code = self._reap()
        assert code == -by, f"child {self.pid} ended with {code}"

    def _read_to_end(self, deadline: float) -> bytes:
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        raw = b""
        while True:
            left_ms = int((deadline - time.monotonic()) * 1_000)
            assert poll.poll(max(0, left_ms)), f"child {self.pid} is not back in time"
            part = os.read(self._pipe, 65_536)
            if not part:
                return raw
            raw += part

    def _reap(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        self._reaped = True
        os.close(self._pipe)
        return os.waitstatus_to_exitcode(status)


def descriptors_below(directory: Path) -> list[str]:
    """Return what this process has open there: other tests' leavings are not asked."""
    held = Path("/proc/self/fd")
    links = []
    for number in os.listdir(held):
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            links.append(os.readlink(held / number))
    return sorted(link for link in links if link.startswith(str(directory)))


class Processes:
    """Forks functions of a test; none outlives the test."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    def fork(self, run: Callable[[], Any]) -> Child:
        """Run ``run`` in a child; what it returns must be JSON."""
        readable, writable = os.pipe()
        pid = os.fork()
        if pid == 0:
            _be_child(run, writable)
        os.close(writable)
        child = Child(pid, readable)
        self._children.append(child)
        return child

    def kill_all(self) -> None:
        for child in self._children:
            child.kill()


def _be_child(run: Callable[[], Any], pipe: int) -> None:
    code = 1
    try:
        os.write(pipe, json.dumps(run()).encode())
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(code)


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Return what forks; children that are left are killed after the test."""
    forks = Processes()
    try:
        yield forks
    finally:
        forks.kill_all()


def until(condition: Callable[[], bool], seconds: float = CHILD_SECONDS_MAX) -> None:
    """Wait until ``condition()``; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        os.sched_yield()


# Odd factors: each field of a tick is a different one-to-one function of its seq.
_FACTORS = {
    "ts_event_ns": 0x9E3779B97F4A7C15,
    "ts_recv_ns": 0xBF58476D1CE4E5B9,
    "price_e4": 0x94D049BB133111EB,
    "instrument": 0xD6E8FEB86659FD93,
    "flags": 0xA0761D6478BD642F,
    "quantity": 0xE7037ED1A0B428DB,
    "day_volume": 0x8EBC6AF09C88C6E3,
    "bid_e4": 0x589965CC75374CC3,
    "ask_e4": 0x1D8E4E27C47D124F,
}


def ticks(first: int, count: int) -> NDArray[np.void]:
    """Return ``count`` TICK rows for the seqs from ``first``; every field follows from the seq."""
    return _ticks_of(np.arange(first, first + count, dtype=np.uint64))


def without_seq(rows: NDArray[np.void]) -> NDArray[np.void]:
    """Return a copy as a caller has it: the channel writes the seq."""
    unnumbered = rows.copy()
    unnumbered["seq"] = 0
    return unnumbered


def _ticks_of(seqs: NDArray[np.uint64]) -> NDArray[np.void]:
    rows = np.zeros(len(seqs), TICK)
    rows["seq"] = seqs
    for name, factor in _FACTORS.items():
        hashed = rows["seq"] * np.uint64(factor)
        hashed ^= hashed >> np.uint64(29)
        rows[name] = hashed.astype(TICK[name])
    return rows


def assert_intact(rows: NDArray[np.void]) -> None:
    """Fail if a row is torn or out of order: its fields must follow from its seq."""
    expected = _ticks_of(rows["seq"])
    assert rows.tobytes() == expected.tobytes(), f"torn: {rows[rows != expected][:3]}"
    assert (np.diff(rows["seq"].astype(np.int64)) > 0).all(), f"order: {rows['seq']}"


@contextlib.contextmanager
def words_of(path: Path) -> Iterator[memoryview]:
    """Open the u64 words of a segment for writing: to be a writer that dies half-way."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        size = len(mapped) // 8 * 8
        with memoryview(mapped)[:size].cast("Q") as words:
            yield words


def say_parked(table: Path, *indexes: int) -> None:
    """Say in the table of readers that these, and no others, are parked."""
    with words_of(table) as words:
        words[PARKED_OFFSET // 8] = sum(1 << 8 * index for index in indexes)


def bell_word(table: Path, index: int) -> int:
    """Return the bell of a reader, 1 = rung."""
    offset = SLOTS_OFFSET + index * READER.itemsize + READER.fields["bell"][1]  # type: ignore[index]
    return int.from_bytes(table.read_bytes()[offset : offset + 4], "little")


RING_CAPACITY = 8


class Ring:
    """A ring of eight slots in a directory, its writers, and readers on demand."""

    def __init__(self, channels: Implementation, directory: Path, readers: Readers) -> None:
        self.path = directory / "ticks.ring"
        self.readers = readers
        self.implementation = channels.name
        self._channels = channels
        self._open: list[Any] = []
        self.writer = self.open_writer(RING_CAPACITY)

    def open_writer(self, capacity: int = RING_CAPACITY) -> Any:
        bells = self.readers.bells("a", "b")
        writer = self._channels.RingWriter(self.path, TICK, capacity, bells)
        self._open.append(writer)
        return writer

    def reader(self, name: str = "a", when_lapped: WhenLapped = WhenLapped.OLDEST) -> Any:
        place = self.readers.slot(name)
        reader = self._channels.RingReader(self.path, TICK, place, when_lapped)
        self._open.append(reader)
        return reader

    def restart(self, capacity: int = RING_CAPACITY) -> None:
        """Another writer goes on, and the one before says nothing: as if it had been killed."""
        self.writer = self.open_writer(capacity)

    def publish(self, count: int) -> None:
        self.writer.publish(without_seq(ticks(self.writer.published + 1, count)))

    def close_writer(self, writer: Any = None, *, failed: bool = False) -> None:
        writer = self.writer if writer is None else writer
        self._open.remove(writer)
        writer.close(failed=failed)

    def close_reader(self, reader: Any) -> None:
        self._open.remove(reader)
        reader.close()

    def close(self) -> None:
        for end in self._open:
            end.close()


def seqs(rows: NDArray[np.void]) -> list[int]:
    """Return the seqs of ``rows``; fail on one that is torn."""
    assert_intact(rows)
    return [int(seq) for seq in rows["seq"]]
