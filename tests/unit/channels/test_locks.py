from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pipeline.channels.locks import OwnerLock, lock_is_held, lock_pid
from pipeline.errors import AlreadyRunning
from tests.rig import Processes, descriptors_below, until

PROBES = 20_000
TAKES = 2_000


@pytest.fixture
def path(directory: Path) -> Path:
    return directory / "feed.lock"


def is_taken(path: Path) -> bool:
    """True when the holder has also written its pid, which it does behind taking the lock."""
    return lock_is_held(path) and lock_pid(path) > 0


def test_nobody_holds_a_lock_that_was_never_taken(path: Path) -> None:
    assert not lock_is_held(path)
    assert lock_pid(path) == 0


def test_a_lock_names_its_holder_and_can_be_taken_once(path: Path) -> None:
    lock = OwnerLock(path)
    assert lock_is_held(path)
    assert lock_pid(path) == os.getpid()
    with pytest.raises(AlreadyRunning, match=rf"is held by process {os.getpid()}\n"):
        OwnerLock(path)
    lock.close()
    assert not lock_is_held(path)
    OwnerLock(path).close()


def test_a_lock_that_was_refused_leaves_no_descriptor_open(path: Path) -> None:
    lock = OwnerLock(path)
    before = descriptors_below(path.parent)
    with pytest.raises(AlreadyRunning):
        OwnerLock(path)
    assert descriptors_below(path.parent) == before
    lock.close()


def test_closing_twice_does_not_close_the_descriptor_of_somebody_else(path: Path) -> None:
    lock = OwnerLock(path)
    lock.close()
    other = os.open("/dev/null", os.O_RDONLY)
    lock.close()
    os.fstat(other)
    os.close(other)


def test_a_lock_falls_with_a_holder_that_is_killed(path: Path, processes: Processes) -> None:
    def hold() -> None:
        OwnerLock(path)
        signal.pause()

    holder = processes.fork(hold)
    until(lambda: is_taken(path))
    holder.kill()
    assert not lock_is_held(path)
    assert lock_pid(path) == holder.pid


def test_a_forked_child_does_not_keep_the_lock_of_its_dead_parent(
    path: Path, directory: Path, processes: Processes
) -> None:
    def be_supervisor() -> None:
        OwnerLock(path)
        if os.fork() == 0:
            OwnerLock(directory / "risk.lock")
            signal.pause()
        signal.pause()

    supervisor = processes.fork(be_supervisor)
    until(lambda: is_taken(directory / "risk.lock"))
    try:
        assert lock_is_held(path)
        supervisor.kill()
        assert not lock_is_held(path)
    finally:
        os.kill(lock_pid(directory / "risk.lock"), signal.SIGKILL)


def test_looking_at_a_lock_never_keeps_its_owner_from_taking_it(
    path: Path, processes: Processes
) -> None:
    def look() -> int:
        return sum(lock_is_held(path) for _ in range(PROBES))

    OwnerLock(path).close()
    lookers = [processes.fork(look) for _ in range(2)]
    for _ in range(TAKES):
        OwnerLock(path).close()
    for looker in lookers:
        assert looker.result() <= PROBES
