from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.channels import rundir
from pipeline.channels.layout import Kind
from pipeline.channels.locks import OwnerLock, lock_is_held, lock_pid
from pipeline.channels.readers import FILE_NAME, Readers
from pipeline.channels.rundir import (
    lock_path,
    open_readers,
    own_run,
    remove_if_last,
    wait_for,
    wait_for_owner,
)
from pipeline.channels.segment import create_segment, make_private_directory
from pipeline.errors import AlreadyRunning, ChannelError, SettingsError
from pipeline.records import TICK
from tests.rig import Child, Processes, until

NAMES = ("strategy", "risk")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return where a run directory may be; neither it nor its parent exists."""
    return tmp_path / "tickpipe-tests" / "one"


def silent(message: str) -> None:
    raise AssertionError(f"nothing was left to report: {message}")


def run_and_leave(place: Path) -> None:
    with own_run(place, NAMES, silent):
        pass


def run_for_ever(place: Path) -> Callable[[], None]:
    def run() -> None:
        with own_run(place, NAMES, silent):
            create_segment(place / "ticks.ring", Kind.RING, TICK, 64)
            signal.pause()

    return run


def role_for_ever(place: Path, role: str) -> Callable[[], None]:
    def run() -> None:
        make_private_directory(place)
        OwnerLock(lock_path(place, role))
        signal.pause()

    return run


def wait_for_holder(path: Path) -> None:
    until(lambda: lock_is_held(path) and lock_pid(path) > 0)


def start_run(processes: Processes, place: Path) -> Child:
    child = processes.fork(run_for_ever(place))
    until(lambda: (place / "ticks.ring").exists())
    return child


def test_a_run_owns_its_directory_and_leaves_nothing_behind(place: Path) -> None:
    with own_run(place, NAMES, silent) as readers:
        assert readers.slot("risk").name == "risk"
        assert sorted(p.name for p in place.iterdir()) == [FILE_NAME, "run.lock"]
        create_segment(place / "ticks.ring", Kind.RING, TICK, 64).close()
        create_segment(place / "feed.beat", Kind.CELL, TICK, 4).close()
        OwnerLock(lock_path(place, "feed")).close()
    assert not place.parent.exists()


def test_a_run_that_fails_leaves_nothing_behind(place: Path) -> None:
    with pytest.raises(RuntimeError, match="on purpose"), own_run(place, NAMES, silent):
        raise RuntimeError("on purpose")
    assert not place.parent.exists()


def test_the_parent_stays_while_another_run_is_in_it(place: Path) -> None:
    with own_run(place.with_name("two"), NAMES, silent):
        with own_run(place, NAMES, silent):
            pass
        assert [p.name for p in place.parent.iterdir()] == ["two"]
    assert not place.parent.exists()


def test_what_a_killed_run_left_is_cleared_and_reported(place: Path, processes: Processes) -> None:
    start_run(processes, place).kill()
    role = processes.fork(role_for_ever(place, "risk"))
    wait_for_holder(lock_path(place, "risk"))
    role.kill()
    (place / f".ticks.ring.{role.pid}").touch()
    reports: list[str] = []
    with own_run(place, NAMES, reports.append):
        assert sorted(p.name for p in place.iterdir()) == [FILE_NAME, "run.lock"]
    (report,) = reports
    assert report.startswith(f"cleared 4 files in {place}: left by a run that was killed")
    assert f"(processes {role.pid}, all dead)" in report
    assert not place.parent.exists()


def test_a_living_run_is_refused_by_the_pid_of_its_owner_and_goes_on(
    place: Path, processes: Processes
) -> None:
    child = start_run(processes, place)
    before = sorted(place.iterdir())
    with pytest.raises(AlreadyRunning, match=rf"run.lock is held by process {child.pid}\n"):
        run_and_leave(place)
    assert sorted(place.iterdir()) == before
    Readers.attach(place).close()


def test_a_role_that_outlived_its_supervisor_is_refused_by_its_pid_and_goes_on(
    place: Path, processes: Processes
) -> None:
    start_run(processes, place).kill()
    role = processes.fork(role_for_ever(place, "risk"))
    wait_for_holder(lock_path(place, "risk"))
    with pytest.raises(AlreadyRunning, match=rf"risk.lock is held by process {role.pid}\n") as it:
        run_and_leave(place)
    assert f"kill {role.pid}" in str(it.value)
    assert {"readers.ctl", "ticks.ring", "risk.lock"} <= {p.name for p in place.iterdir()}


def test_children_of_a_killed_supervisor_do_not_hold_its_run(
    place: Path, processes: Processes
) -> None:
    def supervise() -> None:
        with own_run(place, NAMES, silent):
            if os.fork() == 0:
                role_for_ever(place, "feed")()
            signal.pause()

    supervisor = processes.fork(supervise)
    wait_for_holder(lock_path(place, "feed"))
    feed = lock_pid(lock_path(place, "feed"))
    supervisor.kill()
    try:
        with pytest.raises(AlreadyRunning, match=rf"feed.lock is held by process {feed}\n"):
            run_and_leave(place)
    finally:
        os.kill(feed, signal.SIGKILL)


@pytest.mark.parametrize("name", ["notes.txt", "results", "ticks.ring.gz"])
@pytest.mark.parametrize("open_it", [run_and_leave, lambda place: open_readers(place, NAMES)])
def test_a_directory_with_files_of_somebody_else_is_refused_and_not_touched(
    place: Path, name: str, open_it: Callable[[Path], object]
) -> None:
    make_private_directory(place)
    (place / name).write_text("precious")
    with pytest.raises(SettingsError, match=rf"contains {name}\n"):
        open_it(place)
    assert [p.name for p in place.iterdir()] == [name]


def test_a_file_of_somebody_else_that_came_during_the_run_is_not_deleted(place: Path) -> None:
    with own_run(place, NAMES, silent):
        (place / "notes.txt").write_text("precious")
    assert [p.name for p in place.iterdir()] == ["notes.txt"]


def test_the_last_process_of_a_run_removes_the_directory(place: Path) -> None:
    make_private_directory(place)
    feed, risk = (OwnerLock(lock_path(place, role)) for role in ("feed", "risk"))
    feed.close()
    remove_if_last(place)
    assert place.exists()
    risk.close()
    remove_if_last(place)
    remove_if_last(place)
    assert not place.parent.exists()


def test_the_first_process_creates_the_table_and_the_others_attach_to_it(
    place: Path, processes: Processes
) -> None:
    def take_a_slot(name: str) -> Callable[[], int]:
        def run() -> int:
            open_readers(place, NAMES).slot(name).take()
            return os.getpid()

        return run

    children = {name: processes.fork(take_a_slot(name)) for name in NAMES}
    pids = {name: child.result() for name, child in children.items()}
    readers = open_readers(place, NAMES)
    assert {name: readers.slot(name).pid for name in NAMES} == pids
    readers.close()


def test_a_file_is_waited_for_until_the_living_owner_of_its_role_has_made_it(
    place: Path, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create_and_die() -> None:
        make_private_directory(place)
        OwnerLock(lock_path(place, "feed"))
        create_segment(place / "ticks.ring", Kind.RING, TICK, 64)
        os.kill(os.getpid(), signal.SIGKILL)

    processes.fork(create_and_die).wait_for_death()
    monkeypatch.setattr(rundir, "ATTACH_SECONDS_MAX", 0.05)
    with pytest.raises(ChannelError, match="for feed to create"):
        wait_for_owner(place, "ticks.ring", "feed")
    lock = OwnerLock(lock_path(place, "feed"))
    with pytest.raises(ChannelError, match="for feed to create"):
        wait_for_owner(place, "ticks.ring", "feed")
    create_segment(place / "ticks.ring", Kind.RING, TICK, 64).close()
    assert wait_for_owner(place, "ticks.ring", "feed") == place / "ticks.ring"
    lock.close()


def test_an_owner_that_died_while_it_was_waited_for_is_not_waited_for_long(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rundir, "ATTACH_SECONDS_MAX", 3600.0)
    monkeypatch.setattr(rundir, "RESTART_SECONDS_MAX", 0.05)
    make_private_directory(place)
    looks = 0

    def come_and_die(path: Path, role: str) -> bool:
        nonlocal looks
        looks += 1
        if looks == 2:
            OwnerLock(lock_path(place, "feed")).close()
        return False

    monkeypatch.setattr(rundir, "owner_created", come_and_die)
    with pytest.raises(ChannelError, match="for feed to create"):
        wait_for_owner(place, "ticks.ring", "feed")


def test_waiting_ends_with_the_condition_or_an_error_that_says_for_what(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rundir, "ATTACH_SECONDS_MAX", 0.01)
    answers = iter([False, False, True])
    wait_for(lambda: next(answers), "the third answer")
    with pytest.raises(ChannelError, match=r"waited 0 s for Godot\n(.|\n)*tickpipe run"):
        wait_for(lambda: False, "Godot")
