"""Locks that processes hold for life: who lives, and that there is one of each."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from pipeline.channels.checks import FILE_MODE
from pipeline.errors import AlreadyRunning, explain


class OwnerLock:
    """Held for a process's life: says that it lives, and that there is one of it.

    The kernel drops a flock when the last copy of its descriptor is closed, however its holder
    dies. A forked child closes its copies at once: it does not keep a dead parent's lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, FILE_MODE)
        if not _lock_for_life(self._descriptor):
            os.close(self._descriptor)
            raise AlreadyRunning(
                explain(
                    f"{path} is held by process {lock_pid(path)}",
                    rule="one run of a name, and one process of a role, at a time",
                    cure="stop that process, or choose another run.name",
                )
            )
        _held.add(self)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def close(self) -> None:
        if self in _held:
            _held.remove(self)
            os.close(self._descriptor)


_held: set[OwnerLock] = set()


def _close_inherited_locks() -> None:
    for lock in list(_held):
        lock.close()


os.register_at_fork(after_in_child=_close_inherited_locks)


def _lock_for_life(descriptor: int) -> bool:
    """Take the exclusive lock; False when another process holds it for its life.

    ``lock_is_held`` holds a shared lock for a moment: that is no owner, and is waited for.
    """
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.sched_yield()


def lock_pid(path: Path) -> int:
    """Return the process that took the lock last, 0 where nobody ever did."""
    try:
        return int(path.read_text() or "0")
    except FileNotFoundError:
        return 0


def lock_is_held(path: Path) -> bool:
    """Tell whether a living process holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
