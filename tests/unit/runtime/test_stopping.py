from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest

from pipeline.runtime.stopping import (
    STOP_RETURNCODES,
    Stop,
    leave_terminal_group,
    signal_of,
    stop_on_signals,
)

FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def handlers_of_the_test_runner() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGTERM, "Stop Requested"),
        (signal.SIGHUP, "Stop Requested"),
        (signal.SIGINT, "Keyboard Interrupt"),
    ],
)
def test_a_signal_is_noted_with_its_reason(number: signal.Signals, reason: str) -> None:
    with stop_on_signals() as stop:
        assert not stop.requested
        signal.raise_signal(number)
        assert stop.requested
        assert stop.reason == reason


def test_the_first_reason_stands() -> None:
    with stop_on_signals() as stop:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        stop.request("stale_feed")
    assert stop.reason == "Keyboard Interrupt"


def test_the_old_handlers_are_back_afterwards_even_after_an_error() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), stop_on_signals():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is before


def test_nohup_stays_in_force() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_on_signals() as stop:
        signal.raise_signal(signal.SIGHUP)
    assert not stop.requested


@pytest.mark.parametrize("reason", ["Stop Requested", "Keyboard Interrupt"])
def test_a_reason_travels_to_a_child_as_a_signal(reason: str) -> None:
    with stop_on_signals() as stop:
        signal.raise_signal(signal_of(reason))
    assert stop.reason == reason


def test_any_other_reason_travels_as_a_plain_request() -> None:
    assert signal_of("stale_feed") is signal.SIGTERM


def test_a_child_stopped_before_it_had_handlers_shows_the_signal() -> None:
    child = FORK.Process(target=stop_before_handlers)
    child.start()
    child.join()
    assert child.exitcode in STOP_RETURNCODES


def stop_before_handlers() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)


def test_a_child_asked_to_stop_before_it_had_handlers_of_its_own_stops() -> None:
    reading, writing = FORK.Pipe(duplex=False)
    with stop_on_signals() as stop:
        child = FORK.Process(target=ask_early, args=(writing,))
        child.start()
    assert reading.poll(30), "the child has not answered"
    assert reading.recv() == "Keyboard Interrupt"
    assert not stop.requested, "it was the child's signal"
    child.join()


def ask_early(writing: Connection) -> None:
    signal.raise_signal(signal.SIGINT)
    with stop_on_signals() as stop:
        writing.send(stop.reason)


def test_a_parent_that_lives_is_no_reason_and_one_that_is_gone_is() -> None:
    watched = Stop(parent_pid=os.getppid())
    watched.check_parent()
    assert not watched.requested
    orphan = Stop(parent_pid=os.getpid())  # what a parent's pid is once another has adopted us
    orphan.check_parent()
    assert orphan.reason == "Stop Requested"


def test_a_process_started_alone_outlives_its_shell() -> None:
    alone = Stop()
    alone.check_parent()
    assert not alone.requested


def test_a_child_notices_that_its_parent_was_killed() -> None:
    reading, writing = FORK.Pipe(duplex=False)
    parent = FORK.Process(target=fork_and_be_killed, args=(writing,))
    parent.start()
    assert reading.poll(30), "the child has not noticed"
    assert reading.recv() == "Stop Requested"
    parent.join()


def fork_and_be_killed(writing: Connection) -> None:
    child = FORK.Process(target=report_the_stop, args=(writing,))
    child.start()
    os.kill(os.getpid(), signal.SIGKILL)


def report_the_stop(writing: Connection) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    deadline = time.monotonic() + 30
    with stop_on_signals(parent_pid=parent.pid) as stop:
        while not stop.requested and time.monotonic() < deadline:
            stop.check_parent()
    writing.send(stop.reason)


def test_a_child_leaves_the_terminals_group_and_may_ask_twice() -> None:
    reading, writing = FORK.Pipe(duplex=False)
    child = FORK.Process(target=leave_twice, args=(writing,))
    child.start()
    assert reading.poll(30), "the child has not answered"
    group = reading.recv()
    assert group == child.pid != os.getpgrp()
    child.join()


def leave_twice(writing: Connection) -> None:
    leave_terminal_group()
    leave_terminal_group()
    writing.send(os.getpgrp())


def test_a_stop_tells_what_it_knows() -> None:
    stop = Stop()
    assert repr(stop) == "<Stop not requested>"
    stop.request("Stop Requested")
    assert repr(stop) == "<Stop requested: Stop Requested>"
