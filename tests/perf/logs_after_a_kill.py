"""Rounds in which a child killed with -9 while logging costs another child records.

    python -m tests.perf.logs_after_a_kill [ROUNDS]

Each round: one child logs in a tight loop, another then logs 200 numbered records, and the first
is killed at a random moment meanwhile. A number here says how the ways compare under a load of
logs that no run has; it is not the chance of losing records in a run.
"""

from __future__ import annotations

import io
import logging
import multiprocessing
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from multiprocessing_logging import MultiProcessingHandler, install_mp_handler

from pipeline.runtime.logs import ChildLogs, LineHandler, log_only_to

FORK = multiprocessing.get_context("fork")
RECORDS = 200
PATIENCE_SECONDS = 5.0


class PackageInstall:
    """The package as its README has it: one queue, made before the forks."""

    def __init__(self, stream: io.StringIO) -> None:
        root = logging.getLogger()
        root.handlers[:] = [LineHandler(stream)]
        root.setLevel("INFO")
        install_mp_handler()

    def forking(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def install(self, name: str, level: str) -> None:
        multiprocessing.current_process().name = name

    def close(self) -> None:
        logging.getLogger().handlers[0].close()


class OnePackageHandlerEach:
    """The package's handler, one per child, with nothing added."""

    def __init__(self, stream: io.StringIO) -> None:
        self.lines = LineHandler(stream)
        self.handlers: dict[str, MultiProcessingHandler] = {}

    @contextmanager
    def forking(self, name: str) -> Iterator[None]:
        self.handlers[name] = MultiProcessingHandler(name, sub_handler=self.lines)
        yield

    def install(self, name: str, level: str) -> None:
        log_only_to(self.handlers[name], name, level)

    def close(self) -> None:
        for handler in self.handlers.values():
            handler.close()


def log_for_ever() -> None:
    while True:
        logging.info("tight loop")


def log_numbered() -> None:
    for number in range(RECORDS):
        logging.info("record %d", number)


def play(logs: PackageInstall | OnePackageHandlerEach | ChildLogs, stream: io.StringIO) -> None:
    def start(name: str, body: Callable[[], None]) -> multiprocessing.context.ForkProcess:
        def main() -> None:
            logs.install(name, "INFO")
            body()

        child = FORK.Process(target=main)
        with logs.forking(name):
            child.start()
        return child

    killed = start("strategy", log_for_ever)
    while "tight loop" not in stream.getvalue():
        time.sleep(0.0005)
    other = start("risk", log_numbered)
    time.sleep(random.uniform(0, 0.01))
    os.kill(killed.pid or 0, signal.SIGKILL)
    killed.join()
    other.join(PATIENCE_SECONDS)
    if other.exitcode is None:  # it waits for ever for the lock of the queue
        other.kill()
        other.join()


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    for kind in (PackageInstall, OnePackageHandlerEach, ChildLogs):
        losing = lost = 0
        close_seconds = []
        for _ in range(rounds):
            stream = io.StringIO()
            logs = kind(stream)
            play(logs, stream)
            before = time.monotonic()
            logs.close()
            close_seconds.append(time.monotonic() - before)
            arrived = set(re.findall(r" risk INFO record (\d+)\n", stream.getvalue()))
            losing += len(arrived) < RECORDS
            lost += RECORDS - len(arrived)
        print(
            f"{kind.__name__:24} {losing:3} of {rounds} rounds lost records, {lost} records; "
            f"close took {max(close_seconds):.2f} s at most, "
            f"{sum(close_seconds) / rounds:.2f} s on average",
            flush=True,
        )


if __name__ == "__main__":
    main()
