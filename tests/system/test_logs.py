"""The logs of real children: what is sent arrives, whatever happens to the other processes."""

from __future__ import annotations

import io
import logging
import multiprocessing
import os
import re
import signal
import time
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest

from pipeline.runtime.logs import ChildLogs

FORK = multiprocessing.get_context("fork")
ROUNDS = 10
RECORDS = 200
PIPE_FULL = 2_000  # records that do not fit a pipe of 64 KiB, at 300 bytes each and more
FEW = 20  # records that do

pytestmark = pytest.mark.timeout(120)


def start(logs: ChildLogs, name: str, body: Callable[[], None]) -> ForkProcess:
    def main() -> None:
        logs.install(name, "INFO")
        body()

    child = FORK.Process(target=main, daemon=True)
    with logs.forking(name):
        child.start()
    return child


def log_until_killed() -> None:
    tests = os.getppid()
    while os.getppid() == tests:
        logging.info("tight loop")


def log_numbered() -> None:
    for number in range(RECORDS):
        logging.info("record %d", number)


def wait_for_lines(stream: io.StringIO, text: str) -> None:
    while text not in stream.getvalue():
        time.sleep(0.001)


def test_a_line_has_the_time_the_process_the_level_and_the_message() -> None:
    stream = io.StringIO()
    logs = ChildLogs(stream)
    child = start(logs, "feed", lambda: logging.warning("gap of %d ticks", 3))
    child.join()
    assert logs.child_ended("feed")
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3} feed WARNING gap of 3 ticks\n", stream.getvalue()
    ), stream.getvalue()


def test_a_child_killed_while_it_logs_does_not_silence_the_others() -> None:
    for round_number in range(ROUNDS):
        stream = io.StringIO()
        logs = ChildLogs(stream)
        killed = start(logs, "strategy", log_until_killed)
        wait_for_lines(stream, "tight loop")
        other = start(logs, "risk", log_numbered)
        os.kill(killed.pid or 0, signal.SIGKILL)
        killed.join()
        other.join()
        assert logs.close(), f"round {round_number}: not drained"
        arrived = re.findall(r" risk INFO record (\d+)\n", stream.getvalue())
        assert arrived == [str(number) for number in range(RECORDS)], f"round {round_number}"


def test_a_record_cut_off_by_a_kill_ends_its_queue_and_no_more() -> None:
    stream = io.StringIO()
    logs = ChildLogs(stream)

    def send_half_a_record() -> None:
        logging.info("whole")
        queue = logs._handlers["strategy"].queue
        while queue._buffer:  # the feeder thread has not taken it yet
            time.sleep(0.001)
        with queue._wlock:
            os.write(queue._writer.fileno(), b"\x00\x00\x10\x00half")
            os.kill(os.getpid(), signal.SIGKILL)

    child = start(logs, "strategy", send_half_a_record)
    child.join()
    assert logs.child_ended("strategy", seconds_max=30.0)
    assert stream.getvalue().endswith("strategy INFO whole\n")


def test_a_child_that_ends_at_once_has_sent_its_last_records() -> None:
    stream = io.StringIO()
    logs = ChildLogs(stream)

    def body() -> None:
        for _ in range(PIPE_FULL):
            logging.info("%s", "x" * 100)
        raise SystemExit(3)

    child = start(logs, "feed", body)
    child.join()
    assert child.exitcode == 3
    assert logs.close()
    assert len(stream.getvalue().splitlines()) == PIPE_FULL


def test_a_log_call_with_wrong_arguments_or_a_strange_exception_harms_nobody(
    capfd: pytest.CaptureFixture[str],
) -> None:
    stream = io.StringIO()
    logs = ChildLogs(stream)

    def body() -> None:
        class OnlyHere(Exception):
            def __reduce__(self) -> tuple[type, tuple[()]]:
                raise TypeError("cannot be pickled")

        logging.info("%d ticks", "no number")
        try:
            raise OnlyHere("seventh failure")
        except OnlyHere as error:
            logging.exception(error)
        logging.info("still here")

    child = start(logs, "strategy", body)
    child.join()
    assert logs.close()
    assert child.exitcode == 0
    assert "OnlyHere: seventh failure" in stream.getvalue()
    assert stream.getvalue().endswith("strategy INFO still here\n")
    assert "no number" in capfd.readouterr().err


def test_a_child_started_again_logs_after_the_last_record_of_its_first_life() -> None:
    class SlowTerminal(io.StringIO):
        def write(self, text: str) -> int:
            time.sleep(0.001)
            return super().write(text)

    stream = SlowTerminal()
    logs = ChildLogs(stream)

    def first_life() -> None:
        for _ in range(RECORDS):
            logging.info("first")

    for body in (first_life, lambda: logging.info("second")):
        child = start(logs, "feed", body)
        child.join()
    assert logs.close()
    lives = [line.split()[-1] for line in stream.getvalue().splitlines()]
    assert lives == ["first"] * RECORDS + ["second"]


def test_no_line_is_written_while_a_child_is_forked() -> None:
    """A fork in the middle of a write would give the child the stream's lock, taken for ever."""
    stream = io.StringIO()
    logs = ChildLogs(stream)
    forking = FORK.Event()

    def body() -> None:
        forking.wait()
        for number in range(FEW):
            logging.info("record %d", number)

    child = start(logs, "feed", body)
    with logs.forking("risk"):
        forking.set()
        child.join()
        assert stream.getvalue() == ""
    assert logs.close()
    assert len(stream.getvalue().splitlines()) == FEW


def test_a_living_child_bounds_the_close_and_nothing_is_waited_for_twice() -> None:
    logs = ChildLogs(io.StringIO())
    child = start(logs, "feed", signal.pause)
    assert not logs.close(seconds_max=0.05)
    assert logs.close(seconds_max=0.05), "nothing is left to close"
    child.kill()
    child.join()


def test_a_child_whose_supervisor_was_killed_can_end_and_logs_to_the_stream_itself(
    tmp_path: Path,
) -> None:
    """The supervisor stops reading before it dies: the pipe is full when the child wants to end."""
    log, done = tmp_path / "log", tmp_path / "done"
    os.mkfifo(done)

    def child_body() -> None:
        supervisor = os.getppid()
        for _ in range(PIPE_FULL):
            logging.info("%s", "x" * 100)
        os.kill(supervisor, signal.SIGKILL)
        while os.getppid() == supervisor:
            time.sleep(0.001)
        logging.info("the supervisor is gone")

    def supervisor_body() -> None:
        with log.open("w", encoding="utf-8") as stream:
            logs = ChildLogs(stream)
            logs.lines.acquire()  # no receive thread gets a line out
            start(logs, "risk", child_body)
            signal.pause()

    # Whoever holds the write end of this FIFO lives; the read ends when the child has ended.
    reader = os.open(done, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(done, os.O_WRONLY)
    supervisor = FORK.Process(target=supervisor_body)
    supervisor.start()
    os.close(writer)
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""
    os.close(reader)
    supervisor.join()
    assert supervisor.exitcode == -signal.SIGKILL
    assert log.read_text(encoding="utf-8").endswith("risk INFO the supervisor is gone\n")
