"""Real processes on one ring, at full speed: torn reads, laps, lost wake-ups, kills.

Every test ends by counts. A tick's fields follow from its seq, so that a torn one gives itself
away; what was received and what was counted as lost must add up to what was published.
"""

from __future__ import annotations

import platform
import random
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.channels import Implementation
from pipeline.channels.readers import Readers
from pipeline.channels.waiting import Callback, PollYielding
from pipeline.errors import QueueFull
from pipeline.records import TICK, WhenLapped
from tests.rig import Processes, assert_intact, ticks, until, without_seq
from tests.stress.reading import READ_MAX, Reading
from tests.stress.wakes import CountingBell

pytestmark = pytest.mark.stress

NAMES = ("a", "b")
CAPACITY = 256
PUBLISHED = 400_000
KILLS = 20
needs_fence = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="pure Python parks on x86-64 only"
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return the directory of a ring and of the table of readers ``a`` and ``b``."""
    path = tmp_path / "run"
    path.mkdir(mode=0o700)
    Readers.create(path, NAMES).close()
    return path


def write_all(channels: Implementation, directory: Path, count: int) -> Callable[[], int]:
    """Publish ``count`` ticks as fast as possible in batches of 1 to 64 when both attached."""

    def write() -> int:
        table = channels.Readers.attach(directory)
        writer = channels.RingWriter(directory / "ticks.ring", TICK, CAPACITY, table.bells(*NAMES))
        rows, sizes = without_seq(ticks(1, count)), random.Random(1)
        until(lambda: all(table.slot(name).pid for name in NAMES))
        while (at := writer.published) < count:
            writer.publish(rows[at : at + sizes.choice((1, 1, 1, 2, 7, 64))])
        writer.close()
        return at

    return write


def read_all(
    channels: Implementation,
    directory: Path,
    name: str,
    limit: int,
    parking: bool,
    when_lapped: WhenLapped = WhenLapped.OLDEST,
    views: bool = False,
) -> Callable[[], dict[str, int]]:
    def read() -> dict[str, int]:
        path, table = directory / "ticks.ring", channels.Readers.attach(directory)
        until(path.exists)
        ring = channels.RingReader(path, TICK, table.slot(name), when_lapped)
        reading = Reading(ring, views=views)
        idle = Callback(table.bell(name), lambda: ring.ready).idle if parking else _yield
        table.slot(name).take()
        while not ring.ended:
            if not reading.read(limit):
                idle()
        return reading.account()

    return read


_yield = PollYielding().idle


@pytest.mark.parametrize("limit", [1, READ_MAX, 4 * CAPACITY])
@needs_fence
def test_at_full_speed_no_record_is_torn_and_every_loss_is_counted(
    channels: Implementation, directory: Path, processes: Processes, limit: int
) -> None:
    writer = processes.fork(write_all(channels, directory, PUBLISHED))
    readers = [
        processes.fork(read_all(channels, directory, name, limit, parking))
        for name, parking in (("a", True), ("b", False))
    ]
    assert writer.result() == PUBLISHED
    for reader in readers:
        sums = reader.result()
        assert sums["cursor"] == sums["received"] + sums["lost"] == PUBLISHED
        assert sums["received"] > 0


@pytest.mark.parametrize("views", [False, True], ids=["copies", "views"])
@pytest.mark.parametrize("when_lapped", list(WhenLapped))
@needs_fence
def test_at_full_speed_every_policy_counts_exactly(
    channels: Implementation,
    directory: Path,
    processes: Processes,
    when_lapped: WhenLapped,
    views: bool,
) -> None:
    writer = processes.fork(write_all(channels, directory, PUBLISHED))
    readers = [
        processes.fork(
            read_all(channels, directory, name, 2 * CAPACITY, parking, when_lapped, views)
        )
        for name, parking in (("a", True), ("b", False))
    ]
    assert writer.result() == PUBLISHED
    for reader in readers:
        sums = reader.result()
        assert sums["cursor"] == sums["received"] + sums["lost"] == PUBLISHED
        assert sums["lapped"] > 0


@needs_fence
def test_no_wake_up_is_lost_by_two_readers_that_park_while_ticks_trickle(
    channels: Implementation, directory: Path, processes: Processes
) -> None:
    count = 20_000

    def trickle() -> int:
        table = channels.Readers.attach(directory)
        writer = channels.RingWriter(directory / "ticks.ring", TICK, 64, table.bells(*NAMES))
        slots = [table.slot(name) for name in NAMES]
        until(lambda: all(slot.pid for slot in slots))
        row = ticks(1, 1)
        for seq in range(1, count + 1):
            writer.publish(row)
            while slots[seq % 2].cursor < seq:
                _yield()
        writer.close()
        return writer.published

    def read(name: str) -> Callable[[], dict[str, int]]:
        def run() -> dict[str, int]:
            table = channels.Readers.attach(directory)
            until((directory / "ticks.ring").exists)
            ring = channels.RingReader(directory / "ticks.ring", TICK, table.slot(name))
            bell = CountingBell(table.bell(name))
            idle = Callback(bell, lambda: ring.ready).idle
            table.slot(name).take()
            while not ring.ended:
                if len(ring.read(READ_MAX)):
                    ring.commit()
                else:
                    idle()
            return {"timeouts": bell.timeouts, "lost": ring.lost, "cursor": ring.cursor}

        return run

    writer = processes.fork(trickle)
    readers = [processes.fork(read(name)) for name in NAMES]
    assert writer.result() == count
    for reader in readers:
        assert reader.result() == {"timeouts": 0, "lost": 0, "cursor": count}


def write_for_ever(channels: Implementation, directory: Path, seed: int) -> Callable[[], None]:
    def write() -> None:
        table = channels.Readers.attach(directory)
        writer = channels.RingWriter(directory / "ticks.ring", TICK, CAPACITY, table.bells(*NAMES))
        until(lambda: all(table.slot(name).pid for name in NAMES))
        sizes = random.Random(seed)
        while True:
            rows = without_seq(ticks(writer.published + 1, 4_096))
            at = 0
            while at < len(rows):
                count = sizes.choice((1, 3, 64, CAPACITY, 2 * CAPACITY))
                writer.publish(rows[at : at + count])
                at += count

    return write


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_writer_that_is_cut_off_at_any_point_leaves_only_intact_records(
    channels: Implementation, directory: Path, processes: Processes, how: signal.Signals
) -> None:
    chance = random.Random(2)
    for seed in range(KILLS):
        (directory / "ticks.ring").unlink(missing_ok=True)
        table = Readers.create(directory, NAMES)
        writer = processes.fork(write_for_ever(channels, directory, seed))
        until((directory / "ticks.ring").exists)
        path = directory / "ticks.ring"
        readings = [Reading(channels.RingReader(path, TICK, table.slot(name))) for name in NAMES]
        for name in NAMES:
            table.slot(name).take()
        for _ in range(chance.randrange(2_000)):
            for reading in readings:
                reading.read(chance.choice((1, READ_MAX, CAPACITY)))
        writer.send(how)
        for reading in readings:
            while reading.read():
                pass
            sums = reading.account()
            assert sums["cursor"] == reading.ring.published
            assert not reading.ring.ended
            reading.ring.close()
        writer.kill()
        table.close()


def test_a_cell_never_shows_a_torn_value(
    channels: Implementation, directory: Path, processes: Processes
) -> None:
    path = directory / "some.cell"
    values = 100_000

    def write() -> None:
        writer = channels.CellWriter(path, TICK)
        rows = without_seq(ticks(1, values))
        until((directory / "go").exists)
        for at in range(values):
            writer.publish(rows[at : at + 1])

    child = processes.fork(write)
    until(path.exists)
    reader = channels.CellReader(path, TICK)
    (directory / "go").touch()
    seen: list[NDArray[np.void]] = []
    while not seen or int(seen[-1]["seq"][0]) < values:
        if (row := reader.latest()) is not None:
            seen.append(row)
    child.result()
    assert_intact(np.concatenate(seen))


def test_a_queue_between_processes_loses_nothing(
    channels: Implementation, directory: Path, processes: Processes
) -> None:
    path = directory / "signals.queue"
    count = 100_000

    def write() -> None:
        writer = channels.QueueWriter(path, TICK, 64)
        until((directory / "go").exists)
        rows, sizes, at = ticks(1, count), random.Random(3), 0
        while at < count:
            size = sizes.choice((1, 2, 7, 64))
            try:
                writer.put(rows[at : at + size])
            except QueueFull:
                continue
            at += size

    child = processes.fork(write)
    until(path.exists)
    reader = channels.QueueReader(path, TICK)
    (directory / "go").touch()
    taken = 0
    while taken < count:
        rows = reader.take()
        if len(rows):
            assert int(rows["seq"][0]) == taken + 1
            assert_intact(rows)
            taken += len(rows)
    child.result()
    assert reader.waiting == 0
