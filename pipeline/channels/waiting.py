"""How a reader waits when there is nothing to read. One small class per way.

A reader that parks says so in its byte of the parked word and sleeps on its own *bell*, a futex
word that every writer sets to the same value. The order is what makes it lose no wake-up:

    reader   bell = 0 ▸ parked = 1 ▸ fence ▸ look again ▸ FUTEX_WAIT(bell, 0)
    writer   publish  ▸ fence ▸ if parked: bell = 1 ▸ FUTEX_WAKE

Between publish and the look at parked (and between parked and the second look) the CPU must
drain its store buffer, or both sides see the old value and the reader sleeps on a full ring.
x86 reorders nothing else. Taking and giving back an uncontended ``threading.Lock`` executes a
``lock``-prefixed instruction, which is a full fence on x86-64; elsewhere Python has none, and
the reference refuses to park; ``native`` has real fences. All writers store the same constant, so
that two of them need no atomic increment, and a late one costs a needless look and nothing else.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import threading
import time
from collections.abc import Callable
from mmap import mmap
from typing import Protocol

from pipeline.channels.layout import PARKED_OFFSET, READER, SLOTS_OFFSET
from pipeline.channels.segment import Segment
from pipeline.errors import ChannelError, explain
from pipeline.settings import Mode, Settings

# u64 words that others write: a mapping and an offset each.
Words = tuple[tuple[mmap, int], ...]

ORDERED_MACHINES = ("x86_64", "AMD64")  # stores and loads stay in order there
SPIN_SLICE_NS = 200_000  # a spinner looks at signals and heartbeat this often
PARK_SLICE_NS = 50_000_000  # a parked process looks at signals, heartbeat and peers this often

_SYS_FUTEX = 202  # x86-64; parking is refused elsewhere
_FUTEX_WAIT = 0
_FUTEX_WAKE = 1
_libc = ctypes.CDLL(None, use_errno=True)
_lock = threading.Lock()


def fence() -> None:
    """Full (StoreLoad) fence on x86-64, see the head of this file."""
    _lock.acquire()
    _lock.release()


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Bell:
    """One reader's bell: the reader parks on it, writers ring it."""

    fences_everywhere = False  # on x86-64 only

    def __init__(self, readers: Segment, index: int) -> None:
        offset = SLOTS_OFFSET + index * READER.itemsize + READER.fields["bell"][1]  # type: ignore[index]
        self._parked = memoryview(readers.mapped)[PARKED_OFFSET + index : PARKED_OFFSET + index + 1]
        self._word = memoryview(readers.mapped)[offset : offset + 4].cast("I")
        self._address = ctypes.c_void_p(
            ctypes.addressof(ctypes.c_uint32.from_buffer(readers.mapped, offset))
        )

    def park(self, ready: Callable[[], bool], slice_ns: int = PARK_SLICE_NS) -> bool:
        """Sleep until rung, ``slice_ns`` at most; not at all if ``ready()`` already.

        Return False when the time ran out: with a slice that no writer is silent for, a wake-up
        was lost.
        """
        code = 0
        self._word[0] = 0
        self._parked[0] = 1
        fence()
        if not ready():
            timeout = _Timespec(*divmod(slice_ns, 1_000_000_000))
            code = _futex(self._address, _FUTEX_WAIT, 0, ctypes.byref(timeout))
        self._parked[0] = 0
        return code != errno.ETIMEDOUT

    def ring(self) -> None:
        """Wake the reader if it is parked; ``fence`` must lie between the publish and this."""
        if self._parked[0]:
            self._word[0] = 1
            _futex(self._address, _FUTEX_WAKE, 1, None)

    def close(self) -> None:
        self._parked.release()
        self._word.release()


def _futex(address: ctypes.c_void_p, operation: int, value: int, timeout: object) -> int:
    """Return 0 or why it ended: EAGAIN (the bell was rung before we slept), EINTR, ETIMEDOUT."""
    result = _libc.syscall(_SYS_FUTEX, address, operation, value, timeout, None, 0)
    code = ctypes.get_errno() if result < 0 else 0
    if code not in (0, errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT):
        raise ChannelError(f"futex operation {operation} failed: {os.strerror(code)}")
    return code


class Bells:
    """What a writer rings after it has published."""

    def __init__(self, readers: Segment, indexes: tuple[int, ...]) -> None:
        self.table = readers.mapped
        self.indexes = indexes
        self._all_parked = memoryview(readers.mapped)[PARKED_OFFSET : PARKED_OFFSET + 8].cast("Q")
        self._bells = [Bell(readers, index) for index in indexes]

    def ring(self) -> None:
        fence()
        if self._all_parked[0]:
            for bell in self._bells:
                bell.ring()

    def close(self) -> None:
        self._all_parked.release()
        for bell in self._bells:
            bell.close()


class Waiting(Protocol):
    """What a duty cycle does when a turn found no work."""

    def idle(self) -> None: ...


class Poll:
    """Spin and never leave the CPU: lowest latency, one whole core. Needs a core of its own."""

    def idle(self) -> None:
        pass


class PollYielding:
    """Spin, but let others run in between: for a spinner that shares its core.

    Two bare spinners on one core hand a tick over once per time slice of the scheduler.
    """

    def idle(self) -> None:
        os.sched_yield()


class Callback:
    """Park until a writer rings: no CPU while nothing happens, one wake-up more per tick."""

    def __init__(self, bell: Bell, ready: Callable[[], bool]) -> None:
        if not bell.fences_everywhere:
            refuse_parking_without_fence(platform.machine())
        self._bell = bell
        self._ready = ready

    def idle(self) -> None:
        self._bell.park(self._ready)


class Adaptive:
    """Spin for ``spin_us``, then park: for bursts, where the next tick is often near."""

    def __init__(self, bell: Bell, ready: Callable[[], bool], spin_us: int) -> None:
        self._parking = Callback(bell, ready)
        self._ready = ready
        self._spin_ns = spin_us * 1_000

    def idle(self) -> None:
        deadline = time.monotonic_ns() + self._spin_ns
        while time.monotonic_ns() < deadline:
            if self._ready():
                return
            os.sched_yield()
        self._parking.idle()


def poll(ready: Callable[[], bool], words: Words, bare: bool) -> Waiting:
    return Poll() if bare else PollYielding()


def adaptive(bell: Bell, ready: Callable[[], bool], words: Words, spin_us: int) -> Waiting:
    return Adaptive(bell, ready, spin_us)


def refuse_parking_without_fence(machine: str) -> None:
    """Raise ChannelError where pure Python has no StoreLoad fence."""
    if machine not in ORDERED_MACHINES:
        raise ChannelError(
            explain(
                f"callback mode on {machine}",
                rule="parking needs a full memory fence, which pure Python has on x86-64 only",
                cure='set waiting.mode = "poll", or install tickpipe where a C compiler is',
            )
        )


def wait_of(settings: Settings, spin_bare: bool, bell: Bell) -> tuple[int, bool, Bell | None]:
    """Return how long to spin, ns, whether to yield meanwhile, and what to park on then."""
    if settings.waiting.mode is Mode.CALLBACK:
        return 0, False, bell
    if settings.waiting.mode is Mode.ADAPTIVE:
        return settings.waiting.adaptive_spin_us * 1_000, True, bell
    return SPIN_SLICE_NS, not spin_bare, None
