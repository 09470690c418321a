"""Kill and stop a writer and three readers of one ring at random points, and count.

    a   parks, copies, goes on with the oldest record when it was overtaken
    b   polls, looks at the records where they lie, goes on with the newest
    c   parks, copies, is told by ReaderLapped

A writer that was killed is started again and makes the next epoch, which the readers follow to.
A tick's fields follow from its seq, so that a torn one gives itself away; every reader checks on
each step that what it received and what it lost is what it passed. At the end every reader must
stand at the last seq: all epochs together were published or lost, to the record.

*Followed after* is the time from the first publish of a new epoch until a running reader had
followed to it, nothing where it had followed before.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.channels import IMPLEMENTATIONS, Implementation, choose
from pipeline.channels.locks import OwnerLock
from pipeline.channels.readers import Readers
from pipeline.channels.waiting import Callback
from pipeline.records import TICK, WhenLapped
from tests.perf.machine import describe_machine
from tests.rig import Child, Processes, ticks, until, without_seq
from tests.stress.reading import READ_MAX, Reading

CAPACITY = 256
NAMES = ("a", "b", "c")
SUMS = ("received", "lost", "lapped", "gaps")  # over all lives of a reader
POLICIES = dict(zip(NAMES, (WhenLapped.OLDEST, WhenLapped.LATEST, WhenLapped.RAISE), strict=True))
DELAY_SECONDS_MAX = 0.004
SHARED_MEMORY = Path("/dev/shm")


class Board:
    """What all the processes write down for each other; two never write the same word."""

    def __init__(self, epochs_max: int) -> None:
        rows, columns = 2 + 2 * len(NAMES), max(8, epochs_max)
        raw = np.frombuffer(mmap.mmap(-1, 8 * rows * columns), np.int64)
        table = raw.reshape(rows, columns)
        self.words = table[0]  # [0] = 1: to end; [1]: the newest epoch with something published
        self.first_publish_ns = table[1]  # of each epoch
        self.reader = dict(zip(NAMES, table[2::2], strict=True))  # its epoch, then SUMS
        self.followed_ns = dict(zip(NAMES, table[3::2], strict=True))  # to each epoch


class Figures(NamedTuple):
    """What a chaos came to."""

    rounds: int
    seconds: float
    epochs: int
    actions: dict[str, int]
    published: int
    readers: dict[str, dict[str, int]]  # SUMS of each
    followed_after_ms: list[float]


def write(channels: Implementation, directory: Path, board: Board, seed: int) -> int:
    """Publish for ever, by bursts and rests; return how many when asked to end."""
    OwnerLock(directory / "feed.lock")
    table = channels.Readers.attach(directory)
    writer = channels.RingWriter(directory / "ticks.ring", TICK, CAPACITY, table.bells(*NAMES))
    chance = random.Random(seed)
    while not board.words[0]:
        rows = without_seq(ticks(writer.published + 1, 4 * CAPACITY))
        at = 0
        while at < len(rows):
            count = chance.choice((1, 1, 3, 64, CAPACITY, 2 * CAPACITY))
            writer.publish(rows[at : at + count])
            at += count
            if not board.first_publish_ns[writer.epoch]:
                board.first_publish_ns[writer.epoch] = time.monotonic_ns()
                board.words[1] = writer.epoch
            if chance.random() < 0.2:
                time.sleep(0.000_2)
    writer.close()
    return writer.published


def read(
    channels: Implementation, directory: Path, board: Board, name: str, seed: int
) -> dict[str, int]:
    """Read, and follow, until the ring has ended; return the sums."""
    table = channels.Readers.attach(directory)
    ring = channels.RingReader(directory / "ticks.ring", TICK, table.slot(name), POLICIES[name])
    chance, reading, row = random.Random(seed), Reading(ring, views=name == "b"), board.reader[name]
    before, sums = row[1 : 1 + len(SUMS)].copy(), row[1 : 1 + len(SUMS)]
    row[0] = ring.epoch
    table.slot(name).take()
    idle = _idle(channels, table, name, ring)
    while not ring.ended:
        if ring.superseded and reading.follow():
            board.followed_ns[name][ring.epoch] = time.monotonic_ns()
            row[0] = ring.epoch
            idle = _idle(channels, table, name, ring)
        elif not reading.read(chance.choice((1, READ_MAX, 2 * CAPACITY))):
            idle()
        sums[:] = before
        sums += (reading.received, ring.lost, ring.lapped, reading.gaps)
    return reading.account()


def _idle(channels: Implementation, table: Readers, name: str, ring: Any) -> Callable[[], None]:
    def ready() -> bool:
        return bool(ring.ready)

    if name == "b":
        return channels.poll(ready, ring.watched, False).idle
    return Callback(table.bell(name), ready).idle


class Chaos:
    """The processes, and what is done to them."""

    def __init__(self, channels: Implementation, directory: Path, rounds: int, seed: int) -> None:
        self._channels = channels
        self._directory = directory
        self._chance = random.Random(seed)
        self._board = Board(rounds + 2)
        self._processes = Processes()
        self._stopped: set[str] = set()
        self._running_since_ns: dict[str, int] = {}
        self.actions: dict[str, int] = {}
        self.followed_after_ms: list[float] = []
        channels.Readers.create(directory, NAMES).close()
        self._writer = self._start_writer()
        until((directory / "ticks.ring").exists)
        self._readers = {name: self._start_reader(name) for name in NAMES}

    def _start_writer(self) -> Child:
        seed = self._chance.randrange(1 << 30)
        return self._processes.fork(
            lambda: write(self._channels, self._directory, self._board, seed)
        )

    def _start_reader(self, name: str) -> Child:
        seed = self._chance.randrange(1 << 30)
        self._running_since_ns[name] = time.monotonic_ns()
        self._board.reader[name][0] = 0
        return self._processes.fork(
            lambda: read(self._channels, self._directory, self._board, name, seed)
        )

    def round(self) -> None:
        """Let them run for a moment, then do something to one of them."""
        self._wait_a_moment()
        actions = (self.kill_the_writer, self.stop_the_writer, self.kill_a_reader)
        action = self._chance.choices((*actions, self.stop_or_continue_a_reader), (8, 3, 4, 5))[0]
        self.actions[action.__name__] = self.actions.get(action.__name__, 0) + 1
        action()

    def _wait_a_moment(self) -> None:
        time.sleep(self._chance.random() * DELAY_SECONDS_MAX)

    def kill_the_writer(self) -> None:
        self._kill(self._writer)
        before = self.epochs
        self._writer = self._start_writer()
        if self._chance.random() < 0.7:  # otherwise the next round comes before they follow
            until(lambda: self._writer_has_published_behind(before))
            self._wait_until_followed(self.epochs)

    def stop_the_writer(self) -> None:
        self._writer.send(signal.SIGSTOP)
        self._wait_a_moment()
        os.kill(self._writer.pid, signal.SIGCONT)

    def kill_a_reader(self) -> None:
        name = self._chance.choice(NAMES)
        self._stopped.discard(name)
        self._kill(self._readers[name])
        self._readers[name] = self._start_reader(name)

    def stop_or_continue_a_reader(self) -> None:
        name = self._chance.choice(NAMES)
        if name in self._stopped:
            self._continue(name)
        else:
            self._stopped.add(name)
            self._readers[name].send(signal.SIGSTOP)

    def _continue(self, name: str) -> None:
        self._stopped.discard(name)
        self._running_since_ns[name] = time.monotonic_ns()
        os.kill(self._readers[name].pid, signal.SIGCONT)

    def _kill(self, child: Child) -> None:
        child.assert_alive()
        child.kill()

    def _wait_until_followed(self, epoch: int) -> None:
        """Wait until each running reader is in ``epoch``, and note how long it took."""
        running = [name for name in NAMES if name not in self._stopped]
        until(lambda: all(self._is_in(name, epoch) for name in running))
        began_ns = int(self._board.first_publish_ns[epoch])
        for name in running:
            followed_ns = int(self._board.followed_ns[name][epoch])
            if followed_ns:  # 0: it was started meanwhile, and attached to this epoch
                since_ns = max(began_ns, self._running_since_ns[name])
                self.followed_after_ms.append(max(0, followed_ns - since_ns) / 1e6)

    def _writer_has_published_behind(self, epoch: int) -> bool:
        self._writer.assert_alive()
        return self.epochs > epoch

    def _is_in(self, name: str, epoch: int) -> bool:
        self._readers[name].assert_alive()
        return bool(self._board.reader[name][0] == epoch)

    def end(self) -> tuple[int, dict[str, dict[str, int]]]:
        """Ask the writer to end; return how many it published and the sums of the readers."""
        for name in tuple(self._stopped):
            self._continue(name)
        until(lambda: all(self._board.reader[name][0] for name in NAMES))
        self._board.words[0] = 1
        published = self._writer.result()
        return published, {name: self._readers[name].result() for name in NAMES}

    def sums(self, name: str) -> dict[str, int]:
        return dict(zip(SUMS, self._board.reader[name][1:].tolist(), strict=False))

    @property
    def epochs(self) -> int:
        """The newest epoch in which something was published."""
        return int(self._board.words[1])

    def close(self) -> None:
        self._processes.kill_all()


def chaos(rounds: int, seed: int, implementation: str = "auto") -> Figures:
    """Do ``rounds`` things to the processes; fail where a record is torn or a sum is wrong."""
    place = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="tickpipe-chaos-", dir=place) as directory:
        began = time.monotonic()
        play = Chaos(choose(implementation), Path(directory), rounds, seed)
        try:
            for _ in range(rounds):
                play.round()
            published, readers = play.end()
        finally:
            play.close()
        for name, last_life in readers.items():
            passed = last_life["start"] + last_life["received"] + last_life["lost"]
            assert passed == last_life["cursor"] == published, (name, last_life, published)
    seconds = time.monotonic() - began
    sums = {name: play.sums(name) for name in NAMES}
    return Figures(
        rounds, seconds, play.epochs, play.actions, published, sums, play.followed_after_ms
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=1_000, help="kills and stops (1000)")
    parser.add_argument("--seed", type=int, default=None, help="of what is done to whom (random)")
    names = ("auto", *IMPLEMENTATIONS)
    parser.add_argument("--implementation", choices=names, default="auto", help="(auto)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")


def main(options: argparse.Namespace) -> None:
    seed = random.randrange(1 << 30) if options.seed is None else options.seed
    print(f"chaos --rounds {options.rounds} --seed {seed}", flush=True)
    figures = chaos(options.rounds, seed, options.implementation)
    show(figures)
    if options.json is not None:
        kept = {"machine": describe_machine(), "seed": seed, "figures": figures._asdict()}
        options.json.write_text(json.dumps(kept, indent=1))


def show(figures: Figures) -> None:
    per_second = figures.rounds / figures.seconds
    print(f"{figures.rounds} rounds in {figures.seconds:.1f} s, {per_second:.1f}/s")
    print("  ".join(f"{name} {count}" for name, count in sorted(figures.actions.items())))
    print(f"{figures.epochs} epochs, {figures.published:,} ticks published or claimed")
    for name, sums in figures.readers.items():
        print(
            f"  reader {name} ({POLICIES[name]}):", ", ".join(f"{k} {v:,}" for k, v in sums.items())
        )
    if after := sorted(figures.followed_after_ms):
        p99 = after[min(len(after) - 1, int(len(after) * 0.99))]
        print(
            f"followed after: median {statistics.median(after):.2f} ms, p99 {p99:.2f} ms, "
            f"max {after[-1]:.2f} ms of {len(after)}; "
            f"{sum(ms > 100 for ms in after)} above 100 ms"
        )
