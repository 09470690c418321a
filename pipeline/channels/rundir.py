"""The run directory: where a run's shared memory lives, who owns it, and how it is cleared.

<directory>/run.lock  readers.ctl  ticks.ring  gaps.ring  signals.queue  positions.cell
            <role>.lock  <role>.beat  control.sock
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipeline.channels.locks import OwnerLock, lock_is_held, lock_pid
from pipeline.channels.readers import FILE_NAME, Readers
from pipeline.channels.segment import make_private_directory, peek_header
from pipeline.errors import AlreadyRunning, ChannelError, SettingsError, explain

RUN_LOCK = "run.lock"
ATTACH_SECONDS_MAX = 20.0
RESTART_SECONDS_MAX = 5.0  # in which a process that died is started again, if it is at all
_OURS = re.compile(r"\.?[a-z]+\.(lock|ctl|ring|queue|cell|beat|sock)(\.[0-9]+)?")  # last: temporary


def lock_path(directory: Path, role: str) -> Path:
    return directory / f"{role}.lock"


@contextlib.contextmanager
def own_run(
    directory: Path,
    reader_names: Sequence[str],
    report: Callable[[str], None],
    table: type[Readers] = Readers,
) -> Iterator[Readers]:
    """Own ``directory`` for a run: clear what a crash left there, and leave nothing behind.

    Raises AlreadyRunning when a living process uses it and SettingsError when it contains what
    is not of a run. What was cleared goes to ``report``.
    """
    make_private_directory(directory)
    _refuse_strange_files(directory)
    lock = OwnerLock(directory / RUN_LOCK)
    try:
        _refuse_living_roles(directory)
        _clear_leftovers(directory, report)
        readers = table.create(directory, reader_names)
        try:
            yield readers
        finally:
            readers.close()
    finally:
        lock.close()
        remove_if_last(directory)


def remove_if_last(directory: Path) -> None:
    """Delete the run directory unless a living process of the run still holds a lock there."""
    if any(lock_is_held(path) for path in directory.glob("*.lock")):
        return
    with contextlib.suppress(OSError):  # another process of the run does the same just now
        for path in directory.iterdir():
            if _OURS.fullmatch(path.name):
                path.unlink(missing_ok=True)
        directory.rmdir()
        if directory.parent.name.startswith("tickpipe-"):  # the default place, not the user's
            directory.parent.rmdir()  # only when no other run is in it


def _refuse_strange_files(directory: Path) -> None:
    strange = sorted(p.name for p in directory.iterdir() if not _OURS.fullmatch(p.name))
    if strange:
        raise SettingsError(
            explain(
                f"{directory} contains {', '.join(strange[:5])}",
                rule="a run directory holds one run's shared memory and is deleted after it",
                cure="set channels.directory to a directory that does not exist yet",
            )
        )


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


def open_readers(
    directory: Path, reader_names: Sequence[str], table: type[Readers] = Readers
) -> Readers:
    """Attach the table of readers, creating it when this process is the first of the run."""
    make_private_directory(directory)
    _refuse_strange_files(directory)
    if not (directory / FILE_NAME).exists():
        with contextlib.suppress(AlreadyRunning):
            lock = OwnerLock(directory / "readers.lock")
            if not (directory / FILE_NAME).exists():
                Readers.create(directory, reader_names).close()
            lock.close()
    wait_for(lambda: (directory / FILE_NAME).exists(), f"{directory / FILE_NAME} to appear")
    return table.attach(directory)


def wait_for_owner(directory: Path, file_name: str, role: str) -> Path:
    """Wait until the living process of ``role`` has created ``file_name``; return its path.

    A file that a dead process left is not it: the lock must be held, and by its creator. Raises
    ChannelError when nobody does, soon where the process came and died.
    """
    path, lock = directory / file_name, lock_path(directory, role)
    left_by = 0 if lock_is_held(lock) else lock_pid(lock)  # by a run before
    wait_for(
        lambda: owner_created(path, role),
        f"{role} to create {path}",
        lost=lambda: lock_pid(lock) not in (0, left_by) and not lock_is_held(lock),
    )
    return path


def owner_created(path: Path, role: str) -> bool:
    """Tell whether ``path`` is there and its creator is the living process of ``role``."""
    header = peek_header(path)
    lock = lock_path(path.parent, role)
    if header is None or not lock_is_held(lock):
        return False
    return int(header["pid"]) == lock_pid(lock)


def wait_for(
    condition: Callable[[], bool], what: str, lost: Callable[[], bool] = lambda: False
) -> None:
    """Wait at start-up for another process. Raises ChannelError when it does not come, or has
    been ``lost`` for as long as another one would need to start."""
    began = alive = time.monotonic()
    while not condition():
        now = time.monotonic()
        if not lost():
            alive = now
        if now - began > ATTACH_SECONDS_MAX or now - alive > RESTART_SECONDS_MAX:
            raise ChannelError(
                explain(
                    f"waited {now - began:.0f} s for {what}",
                    rule="feed, strategy and risk of a run are started together",
                    cure="start them with `tickpipe run`, or see why the missing one stopped",
                )
            )
        time.sleep(0.001)
