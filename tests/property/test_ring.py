"""Random traffic on one channel against the simplest thing that could be right: a deque, a list,
a variable."""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from collections.abc import Callable
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
from pipeline.channels.layout import CLAIMED
from pipeline.errors import QueueFull, ReaderLapped
from pipeline.records import TICK, WhenLapped
from tests.rig import seqs, ticks, without_seq, words_of

POLICIES = {"a": WhenLapped.OLDEST, "b": WhenLapped.LATEST, "c": WhenLapped.RAISE}
NAMES = tuple(POLICIES)
MANY = settings(
    max_examples=80,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # cores are shared
)


class ChannelMachine(RuleBasedStateMachine):
    """A directory for one example; ``channels`` comes with the subclass that is run."""

    channels: Implementation

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())

    def teardown(self) -> None:
        shutil.rmtree(self.directory)


class Epoch:
    """What is known of one ring: the seqs that lie in it, and up to where it is claimed."""

    def __init__(self, capacity: int, base: int) -> None:
        self.capacity = capacity
        self.newest: deque[int] = deque(maxlen=capacity)
        self.published = self.claimed = base
        self.closed = self.superseded = False

    def publish(self, count: int) -> None:
        self.newest.extend(range(self.published + 1, self.published + 1 + count))
        self.published = self.claimed = self.published + count

    def intact(self, behind: int, up_to: int) -> list[int]:
        overtaken = self.claimed - self.capacity
        return [seq for seq in self.newest if behind < seq <= up_to and seq > overtaken]


class Expected:
    """What one reader should have: the epoch it is in, what it received, and what it looks at."""

    def __init__(self, when_lapped: WhenLapped, start: int) -> None:
        self.when_lapped = when_lapped
        self.epoch = 0
        self.start = start
        self.received = 0
        self.viewed: list[int] = []
        self.rows: Any = None


class RingMachine(ChannelMachine):
    """The model: a deque of the newest seqs of each epoch, and for each reader what it received
    and lost. Every reader has another lag policy."""

    @initialize(exponent=st.integers(0, 5), before=st.integers(0, 70))
    def open(self, exponent: int, before: int) -> None:
        self.table = self.channels.Readers.create(self.directory, NAMES)
        self.path = self.directory / "ticks.ring"
        self.epochs: list[Epoch] = []
        self.start_writer(exponent)
        self.publish(before)
        self.readers: dict[str, Any] = {}
        self.expected: dict[str, Expected] = {}
        for name in NAMES:
            self.attach(name)

    def start_writer(self, exponent: int) -> None:
        base = self.epochs[-1].claimed if self.epochs else 0
        self.epochs.append(Epoch(1 << exponent, base))
        bells = self.table.bells(*NAMES)
        self.writer = self.channels.RingWriter(self.path, TICK, 1 << exponent, bells)
        assert self.writer.published == base

    def attach(self, name: str) -> None:
        if name in self.readers:
            self.readers[name].close()
        policy = POLICIES[name]
        place = self.table.slot(name)
        self.readers[name] = self.channels.RingReader(self.path, TICK, place, policy)
        self.expected[name] = Expected(policy, self.epochs[-1].published)
        self.expected[name].epoch = len(self.epochs) - 1

    def epoch_of(self, name: str) -> Epoch:
        return self.epochs[self.expected[name].epoch]

    @precondition(lambda self: not self.epochs[-1].closed)
    @rule(count=st.integers(0, 80))
    def publish(self, count: int) -> None:
        self.writer.publish(without_seq(ticks(self.epochs[-1].published + 1, count)))
        self.epochs[-1].publish(count)

    @rule(exponent=st.integers(0, 5), claimed=st.integers(0, 40), sure=st.integers(0, 5))
    def restart(self, exponent: int, claimed: int, sure: int) -> None:
        if sure:
            return
        before = self.epochs[-1]
        if not before.closed:
            with words_of(self.path) as words:
                words[CLAIMED] += claimed
            before.claimed += claimed
        before.superseded = True
        self.start_writer(exponent)

    @rule(name=st.sampled_from(NAMES), limit=st.integers(1, 90))
    def read(self, name: str, limit: int) -> None:
        self.check_read(name, limit, None)

    @rule(name=st.sampled_from(NAMES), limit=st.integers(1, 90), ahead=st.integers(-5, 90))
    def read_up_to(self, name: str, limit: int, ahead: int) -> None:
        self.check_read(name, limit, max(0, self.readers[name].cursor + ahead))

    def check_read(self, name: str, limit: int, up_to: int | None) -> None:
        reader, expected = self.readers[name], self.expected[name]
        if expected.viewed:
            return
        there = self.check_lap(name, up_to, lambda: reader.read(limit, up_to))
        if there is not None:
            assert seqs(expected.rows) == there[:limit]
            expected.received += len(expected.rows)

    @rule(name=st.sampled_from(NAMES), limit=st.integers(1, 90))
    def view(self, name: str, limit: int) -> None:
        reader, expected = self.readers[name], self.expected[name]
        if expected.viewed:
            return
        there = self.check_lap(name, None, lambda: reader.view(limit))
        if there:
            capacity = self.epoch_of(name).capacity
            room = capacity - (there[0] - 1) % capacity
            expected.viewed = there[: min(limit, room)]
            assert seqs(expected.rows) == expected.viewed
        elif there is not None:
            assert len(expected.rows) == 0

    def check_lap(self, name: str, up_to: int | None, get: Callable[[], Any]) -> list[int] | None:
        """Get rows; return the seqs from which they should be, None where the lap was raised."""
        reader, expected, epoch = self.readers[name], self.expected[name], self.epoch_of(name)
        cursor, lost, lapped = reader.cursor, reader.lost, reader.lapped
        end = epoch.published if up_to is None else min(up_to, epoch.published)
        there = epoch.intact(cursor, end)
        overtaken = len(there) < end - cursor
        if overtaken and expected.when_lapped is WhenLapped.LATEST:
            there = there[-1:]
        raised = False
        try:
            expected.rows = get()
        except ReaderLapped:
            raised = True
        assert raised == (overtaken and expected.when_lapped is WhenLapped.RAISE)
        assert reader.lost - lost == max(0, end - cursor) - len(there)
        assert reader.lapped - lapped == int(overtaken)
        return None if raised else there

    @rule(name=st.sampled_from(NAMES))
    def release(self, name: str) -> None:
        reader, expected, epoch = self.readers[name], self.expected[name], self.epoch_of(name)
        lost, lapped = reader.lost, reader.lapped
        torn = len([seq for seq in expected.viewed if seq <= epoch.claimed - epoch.capacity])
        raised = False
        try:
            assert reader.release() == torn
        except ReaderLapped:
            raised = True
        assert raised == (torn > 0 and expected.when_lapped is WhenLapped.RAISE)
        assert (reader.lost - lost, reader.lapped - lapped) == (torn, int(torn > 0))
        if torn == 0 and expected.viewed:
            assert seqs(expected.rows) == expected.viewed
        expected.received += len(expected.viewed) - torn
        expected.viewed = []

    @rule(name=st.sampled_from(NAMES))
    def follow(self, name: str) -> None:
        reader, expected, epoch = self.readers[name], self.expected[name], self.epoch_of(name)
        if expected.viewed:
            return
        drained, cursor = epoch.superseded and reader.cursor == epoch.published, reader.cursor
        gap = reader.follow()
        assert (gap is not None) == drained
        if gap is not None:
            expected.epoch = len(self.epochs) - 1
            assert gap.lost == self.epochs[-2].claimed - cursor

    @rule(name=st.sampled_from(NAMES))
    def commit(self, name: str) -> None:
        self.readers[name].commit()
        assert self.table.slot(name).cursor == self.readers[name].cursor

    @rule(name=st.sampled_from(NAMES))
    def start_again(self, name: str) -> None:
        self.attach(name)

    @precondition(lambda self: not self.epochs[-1].closed)
    @rule(sure=st.integers(0, 9))
    def close_the_ring(self, sure: int) -> None:
        if sure == 0:
            self.epochs[-1].closed = True
            self.writer.close()

    @invariant()
    def everything_published_was_received_or_lost_or_waits(self) -> None:
        for name, reader in getattr(self, "readers", {}).items():
            expected, epoch = self.expected[name], self.epoch_of(name)
            handled = expected.received + len(expected.viewed) + reader.lost
            assert expected.start + handled == reader.cursor
            assert reader.epoch == expected.epoch + 1
            assert reader.published == epoch.published
            waits = reader.cursor < epoch.published
            over = epoch.closed or epoch.superseded
            assert reader.ready == (waits or over)
            assert reader.ended == (not waits and epoch.closed and not epoch.superseded)
            assert reader.superseded == (not waits and epoch.superseded)
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
