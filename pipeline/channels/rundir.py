"""The run directory: where a run's shared memory lives, who owns it, and how it is cleared.

<directory>/run.lock  readers.ctl  ticks.ring  signals.queue  positions.cell
            <role>.lock  <role>.beat
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipeline.channels.readers import FILE_NAME, Readers
from pipeline.channels.segment import (
    OwnerLock,
    lock_is_held,
    lock_pid,
    make_private_directory,
    peek_header,
)
from pipeline.errors import AlreadyRunning, ChannelError, explain

RUN_LOCK = "run.lock"
ATTACH_SECONDS_MAX = 20.0


def lock_path(directory: Path, role: str) -> Path:
    return directory / f"{role}.lock"


@contextlib.contextmanager
def own_run(
    directory: Path, reader_names: Sequence[str], report: Callable[[str], None]
) -> Iterator[Readers]:
    """Own ``directory`` for a run: clear what a crash left there, and leave nothing behind.

    Raises AlreadyRunning when a living process uses it. What was cleared goes to ``report``.
    """
    make_private_directory(directory)
    lock = OwnerLock(directory / RUN_LOCK)
    try:
        _refuse_living_roles(directory)
        _clear_leftovers(directory, report)
        readers = Readers.create(directory, reader_names)
        try:
            yield readers
        finally:
            readers.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        lock.close()
        with contextlib.suppress(OSError):
            directory.parent.rmdir()  # only when no other run is in it


def _refuse_living_roles(directory: Path) -> None:
    for path in sorted(directory.glob("*.lock")):
        if path.name != RUN_LOCK and lock_is_held(path):
            raise AlreadyRunning(
                explain(
                    f"{path} is held by process {lock_pid(path)}",
                    rule="one process of a role at a time in a run directory",
                    cure=f"wait for it or stop it: kill {lock_pid(path)}",
                )
            )


def _clear_leftovers(directory: Path, report: Callable[[str], None]) -> None:
    stale = sorted(p for p in directory.iterdir() if p.name != RUN_LOCK)
    if not stale:
        return
    pids = sorted({lock_pid(p) for p in stale if p.suffix == ".lock"})
    report(
        f"cleared {len(stale)} files in {directory}: left by a run that was killed "
        f"(processes {', '.join(map(str, pids)) or 'unknown'}, all dead)"
    )
    for path in stale:
        path.unlink()


def open_readers(directory: Path, reader_names: Sequence[str]) -> Readers:
    """Attach the table of readers, creating it when this process is the first of the run."""
    make_private_directory(directory)
    if not (directory / FILE_NAME).exists():
        with contextlib.suppress(AlreadyRunning):
            lock = OwnerLock(directory / "readers.lock")
            if not (directory / FILE_NAME).exists():
                Readers.create(directory, reader_names).close()
            lock.close()
    wait_for(lambda: (directory / FILE_NAME).exists(), f"{directory / FILE_NAME} to appear")
    return Readers.attach(directory)


def wait_for_owner(directory: Path, file_name: str, role: str) -> Path:
    """Wait until the living process of ``role`` has created ``file_name``; return its path.

    A file that a dead process left is not it: the lock must be held, and by its creator.
    """
    path = directory / file_name
    lock = lock_path(directory, role)

    def created() -> bool:
        header = peek_header(path)
        if header is None or not lock_is_held(lock):
            return False
        return int(header["pid"]) == lock_pid(lock)

    wait_for(created, f"{role} to create {path}")
    return path


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait at start-up for another process. Raises ChannelError when it does not come."""
    deadline = time.monotonic() + ATTACH_SECONDS_MAX
    while not condition():
        if time.monotonic() > deadline:
            raise ChannelError(
                explain(
                    f"waited {ATTACH_SECONDS_MAX:.0f} s for {what}",
                    rule="feed, strategy and risk of a run are started together",
                    cure="start them with `tickpipe run`, or see why the missing one stopped",
                )
            )
        time.sleep(0.001)
