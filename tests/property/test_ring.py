"""Random traffic on one channel against the simplest thing that could be right: a deque, a list,
a variable."""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pipeline.channels import Implementation
from pipeline.errors import QueueFull
from pipeline.records import TICK
from tests.rig import assert_intact, ticks, without_seq

NAMES = ("a", "b", "c")
MANY = settings(
    max_examples=80,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # cores are shared
)


def seqs(rows: Any) -> list[int]:
    assert_intact(rows)
    return [int(seq) for seq in rows["seq"]]


class ChannelMachine(RuleBasedStateMachine):
    """A directory for one example; ``channels`` comes with the subclass that is run."""

    channels: Implementation

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())

    def teardown(self) -> None:
        shutil.rmtree(self.directory)


class RingMachine(ChannelMachine):
    """The model: a deque of the newest seqs, and for each reader what it received and lost."""

    @initialize(exponent=st.integers(0, 5), before=st.integers(0, 70))
    def open(self, exponent: int, before: int) -> None:
        self.capacity = 1 << exponent
        self.table = self.channels.Readers.create(self.directory, NAMES)
        self.path = self.directory / "ticks.ring"
        bells = self.table.bells(*NAMES)
        self.writer = self.channels.RingWriter(self.path, TICK, self.capacity, bells)
        self.newest: deque[int] = deque(maxlen=self.capacity)
        self.published = 0
        self.closed = False
        self.publish(before)
        self.readers: dict[str, Any] = {}
        self.start: dict[str, int] = {}
        self.received: dict[str, int] = {}
        for name in NAMES:
            self.attach(name)

    def attach(self, name: str) -> None:
        if name in self.readers:
            self.readers[name].close()
        self.readers[name] = self.channels.RingReader(self.path, TICK, self.table.slot(name))
        self.start[name] = self.published
        self.received[name] = 0

    @precondition(lambda self: not self.closed)
    @rule(count=st.integers(0, 80))
    def publish(self, count: int) -> None:
        first = self.published + 1
        self.writer.publish(without_seq(ticks(first, count)))
        self.newest.extend(range(first, first + count))
        self.published += count

    @rule(name=st.sampled_from(NAMES), limit=st.integers(1, 90))
    def read(self, name: str, limit: int) -> None:
        self.check_read(name, limit, None)

    @rule(name=st.sampled_from(NAMES), limit=st.integers(1, 90), ahead=st.integers(-5, 90))
    def read_up_to(self, name: str, limit: int, ahead: int) -> None:
        self.check_read(name, limit, max(0, self.readers[name].cursor + ahead))

    def check_read(self, name: str, limit: int, up_to: int | None) -> None:
        reader = self.readers[name]
        cursor, lost, lapped = reader.cursor, reader.lost, reader.lapped
        end = self.published if up_to is None else min(up_to, self.published)
        there = [seq for seq in self.newest if cursor < seq <= end]
        got = seqs(reader.read(limit) if up_to is None else reader.read(limit, up_to))
        assert got == there[:limit]
        missed = max(0, end - cursor) - len(there)
        assert reader.lost - lost == missed
        assert reader.lapped - lapped == int(missed > 0)
        self.received[name] += len(got)

    @rule(name=st.sampled_from(NAMES))
    def commit(self, name: str) -> None:
        self.readers[name].commit()
        assert self.table.slot(name).cursor == self.readers[name].cursor

    @rule(name=st.sampled_from(NAMES))
    def start_again(self, name: str) -> None:
        self.attach(name)

    @precondition(lambda self: not self.closed)
    @rule(sure=st.integers(0, 9))
    def close_the_ring(self, sure: int) -> None:
        if sure == 0:
            self.closed = True
            self.writer.close()

    @invariant()
    def everything_published_was_received_or_lost_or_waits(self) -> None:
        for name, reader in getattr(self, "readers", {}).items():
            handled = self.received[name] + reader.lost
            assert self.start[name] + handled == reader.cursor
            assert reader.published == self.published
            waits = reader.cursor < self.published
            assert reader.ready == (waits or self.closed)
            assert reader.ended == (not waits and self.closed)
            slot = self.table.slot(name)
            assert (slot.lost, slot.lapped) == (reader.lost, reader.lapped)

    def teardown(self) -> None:
        for reader in getattr(self, "readers", {}).values():
            reader.close()
        super().teardown()


class QueueMachine(ChannelMachine):
    """The model: a deque with a bound."""

    @initialize(exponent=st.integers(0, 5))
    def open(self, exponent: int) -> None:
        self.capacity = 1 << exponent
        path = self.directory / "signals.queue"
        self.writer = self.channels.QueueWriter(path, TICK, self.capacity)
        self.reader = self.channels.QueueReader(path, TICK)
        self.waiting: deque[int] = deque()
        self.put_count = self.refused = 0

    @rule(count=st.integers(0, 40))
    def put(self, count: int) -> None:
        rows = without_seq(ticks(self.put_count + 1, count))
        if len(self.waiting) + count > self.capacity:
            self.refused += 1
            try:
                self.writer.put(rows)
            except QueueFull:
                return
            raise AssertionError("a full queue took records")
        self.writer.put(rows)
        self.waiting.extend(range(self.put_count + 1, self.put_count + 1 + count))
        self.put_count += count

    @rule()
    def take(self) -> None:
        assert seqs(self.reader.take()) == list(self.waiting)
        self.waiting.clear()

    @invariant()
    def both_agree_on_what_waits(self) -> None:
        if hasattr(self, "reader"):
            assert self.reader.waiting == len(self.waiting)
            assert self.reader.full_count == self.refused


class CellMachine(ChannelMachine):
    """The model: a variable, and for each reader whether it has seen it."""

    @initialize()
    def open(self) -> None:
        path = self.directory / "some.cell"
        self.writer = self.channels.CellWriter(path, TICK)
        self.readers = {name: self.channels.CellReader(path, TICK) for name in NAMES}
        self.value = 0
        self.seen = dict.fromkeys(NAMES, 0)

    @rule(times=st.integers(1, 9))
    def publish(self, times: int) -> None:
        for _ in range(times):
            self.value += 1
            self.writer.publish(without_seq(ticks(self.value, 1)))

    @rule(name=st.sampled_from(NAMES))
    def look(self, name: str) -> None:
        row = self.readers[name].latest()
        if self.seen[name] == self.value:
            assert row is None
        else:
            assert row is not None
            assert seqs(row) == [self.value]
        self.seen[name] = self.value


def play(machine: type[ChannelMachine], channels: Implementation) -> None:
    bound = type(machine.__name__, (machine,), {"channels": channels})
    run_state_machine_as_test(bound, settings=MANY)


def test_a_ring_does_what_a_deque_does(channels: Implementation) -> None:
    play(RingMachine, channels)


def test_a_queue_does_what_a_bounded_deque_does(channels: Implementation) -> None:
    play(QueueMachine, channels)


def test_a_cell_does_what_a_variable_does(channels: Implementation) -> None:
    play(CellMachine, channels)
