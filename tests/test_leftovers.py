"""Nothing is left of the whole test run. Always the last test, see conftest.py."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path

import psutil

SECONDS_MAX = 30.0
PYTHONS_OWN = (
    "multiprocessing.resource_tracker"  # started with the first spawned child, ends with us
)


def survivors(mark: str) -> list[psutil.Process]:
    """Return the processes that tests of this run started; a socket or lock dies with them."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.environ().get("TICKPIPE_TESTS") != mark:
                continue
            if PYTHONS_OWN not in " ".join(process.cmdline()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def files(mark: str) -> list[Path]:
    """Return run directories in shared memory that are named after this run, and its temporary
    files with our name."""
    runs = Path("/dev/shm").glob(f"tickpipe-{os.getuid()}/*{mark}*")
    return sorted([*runs, *Path(tempfile.gettempdir()).glob("tickpipe*")])


def wait_for_none(find: Callable[[], Collection[object]]) -> Collection[object]:
    """Return what ``find`` still finds when it should have gone."""
    deadline = time.monotonic() + SECONDS_MAX
    while (left := find()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def test_no_process_is_left() -> None:
    mark = os.environ["TICKPIPE_TESTS"]
    assert not wait_for_none(lambda: survivors(mark))


def test_no_shared_memory_and_no_temporary_file_is_left() -> None:
    mark = os.environ["TICKPIPE_TESTS"]
    assert not wait_for_none(lambda: files(mark))


def test_a_survivor_would_be_found() -> None:
    mark = os.environ["TICKPIPE_TESTS"]
    with psutil.Popen(["sleep", "60"]) as child:
        try:
            # A process in the middle of exec shows no environment.
            assert not wait_for_none(lambda: {child.pid} - {found.pid for found in survivors(mark)})
        finally:
            child.kill()


def test_a_file_that_is_left_would_be_found() -> None:
    mark = os.environ["TICKPIPE_TESTS"]
    with tempfile.TemporaryDirectory(prefix="tickpipe-") as folder:
        assert files(mark) == [Path(folder)]
