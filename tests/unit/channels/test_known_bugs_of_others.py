"""What went wrong in public in a ring like ours, vLLM's shm_broadcast.py, one test for each.

The numbers are vLLM's unless said otherwise; gh-82300 is CPython's. The first, the ordering on
ARM (#27858, #29389), is also shown by tests/native under ThreadSanitizer and by tests/model.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import platform
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.channels import IMPLEMENTATIONS, Implementation, choose
from pipeline.channels.readers import Readers
from pipeline.channels.waiting import ORDERED_MACHINES, PARK_SLICE_NS, Callback, Waiting
from pipeline.errors import ChannelError, SegmentRefused
from pipeline.records import TICK
from tests.rig import Processes, Ring, seqs, ticks, until, without_seq

LONG_NS = 20 * 10**9
needs_fence = pytest.mark.skipif(
    platform.machine() not in ORDERED_MACHINES, reason="pure Python parks on x86-64 only"
)


# #27858, #29389: stores were seen out of order on ARM ------------------------------------------


@pytest.mark.parametrize("machine", ["aarch64", "ppc64le", "riscv64"])
def test_pure_python_is_refused_on_machines_that_reorder_stores(machine: str) -> None:
    with pytest.raises(ChannelError, match=f"the pure-Python channels on {machine}"):
        choose("reference", machine)


# #45224: a reader that raised kept its slot, and the notification was lost ---------------------


class HandlerFailed(Exception):
    pass


def fail_while_viewing(reader: Any) -> None:
    reader.view(100)
    try:
        raise HandlerFailed
    finally:
        reader.release()


def test_a_handler_that_raises_between_read_and_commit_loses_no_tick(ring: Ring) -> None:
    reader, handled = ring.reader(), list[int]()
    for _ in range(30):
        ring.publish(3)
        with contextlib.suppress(HandlerFailed):
            handled += seqs(reader.read(100))
            raise HandlerFailed
    assert handled == list(range(1, 91))
    assert (reader.lost, ring.readers.slot("a").cursor) == (0, 0)
    reader.commit()
    assert ring.readers.slot("a").cursor == 90


def test_a_handler_that_raises_before_it_releases_a_view_blocks_nobody(ring: Ring) -> None:
    failing, other = ring.reader("a"), ring.reader("b")
    ring.publish(3)
    with pytest.raises(HandlerFailed):
        fail_while_viewing(failing)
    for _ in range(10):
        ring.publish(5)
        assert len(other.read(100)) in (5, 8)
    assert failing.cursor + len(failing.read(100)) + failing.lost == ring.writer.published


@needs_fence
def test_a_reader_whose_handler_raises_each_time_is_woken_for_every_tick(
    channels: Implementation, directory: Path, readers: Readers, processes: Processes
) -> None:
    count, path = 300, directory / "ticks.ring"
    writer = channels.RingWriter(path, TICK, 8, readers.bells("a"))

    def fail_always() -> list[int]:
        table = channels.Readers.attach(directory)
        ring, bell = channels.RingReader(path, TICK, table.slot("a")), table.bell("a")
        table.slot("a").take()
        seen = timeouts = 0
        while not ring.ended:
            with contextlib.suppress(HandlerFailed):
                if not len(rows := ring.read(1)):
                    timeouts += not bell.park(lambda: ring.ready, LONG_NS)
                    continue
                seen += len(rows)
                ring.commit()
                raise HandlerFailed
        return [seen, timeouts, ring.lost]

    child, slot = processes.fork(fail_always), readers.slot("a")
    until(lambda: slot.pid == child.pid)
    for seq in range(1, count + 1):
        writer.publish(without_seq(ticks(seq, 1)))
        until(lambda: slot.cursor == writer.published)
    writer.close()
    assert child.result() == [count, 0, 0]


# #29813: spinners that yield starved the writer on their CPU ------------------------------------


def yielding_poll(channels: Implementation, table: Readers, reader: Any) -> Waiting:
    return channels.poll(lambda: reader.ready, reader.watched, False)


def adaptive(channels: Implementation, table: Readers, reader: Any) -> Waiting:
    return channels.adaptive(table.bell("a"), lambda: reader.ready, reader.watched, 10_000)


@pytest.mark.parametrize("make", [yielding_poll, pytest.param(adaptive, marks=needs_fence)])
def test_a_spinner_on_the_only_cpu_of_the_writer_does_not_starve_it(
    channels: Implementation,
    directory: Path,
    readers: Readers,
    processes: Processes,
    make: Callable[..., Waiting],
) -> None:
    count, path, cpu = 1_000, directory / "ticks.ring", min(os.sched_getaffinity(0))
    handled = readers.slot("a")

    def spin() -> int:
        os.sched_setaffinity(0, {cpu})
        until(path.exists)
        table = channels.Readers.attach(directory)
        reader = channels.RingReader(path, TICK, table.slot("a"))
        table.slot("a").take()
        idle = make(channels, table, reader).idle
        while not reader.ended:
            if len(reader.read(1)):
                reader.commit()
            else:
                idle()
        return reader.lost

    def write() -> int:
        os.sched_setaffinity(0, {cpu})
        writer = channels.RingWriter(path, TICK, 8, readers.bells("a"))
        until(lambda: handled.pid != 0)
        for seq in range(1, count + 1):
            writer.publish(without_seq(ticks(seq, 1)))
            until(lambda: handled.cursor == writer.published)
        writer.close()
        return writer.published

    reader, writer = processes.fork(spin), processes.fork(write)
    assert (writer.result(), reader.result()) == (count, 0)


# #54259: who came late attached to a segment that was unlinked ---------------------------------


def test_attaching_to_what_was_unlinked_is_refused_at_once(ring: Ring) -> None:
    ring.path.unlink()
    with pytest.raises(SegmentRefused, match="cannot be opened: No such file"):
        ring.reader()


def test_a_reader_of_an_unlinked_ring_is_told_and_does_not_wait_for_ever(ring: Ring) -> None:
    reader = ring.reader()
    ring.path.unlink()
    ring.restart()
    ring.publish(3)
    assert not reader.ready
    with pytest.raises(SegmentRefused, match="deleted or replaced"):
        reader.check_whole()


def test_a_restarted_writer_leaves_nobody_on_the_unlinked_ring(ring: Ring) -> None:
    reader = ring.reader()
    ring.restart()
    ring.publish(3)
    assert reader.ready
    assert reader.follow() is not None
    assert seqs(reader.read(100)) == [1, 2, 3]


# CPython gh-82300: who attached and exited unlinked the segment of its owner --------------------


def attach_and_leave(channels_name: str, directory: Path) -> None:
    channels = IMPLEMENTATIONS[channels_name]
    table = channels.Readers.attach(directory)
    channels.RingReader(directory / "ticks.ring", TICK, table.slot("a"))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_reader_that_attaches_and_exits_unlinks_nothing(ring: Ring, start: str) -> None:
    files = sorted(ring.path.parent.iterdir())
    start_process = multiprocessing.get_context(start).Process  # type: ignore[attr-defined]
    child = start_process(target=attach_and_leave, args=(ring.implementation, ring.path.parent))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert sorted(ring.path.parent.iterdir()) == files
    reader = ring.reader("b")
    ring.publish(2)
    assert seqs(reader.read(100)) == [1, 2]


# #52814: readers burned their cores while nothing came -----------------------------------------


@needs_fence
def test_an_idle_reader_in_callback_mode_uses_nearly_no_cpu(
    channels: Implementation, directory: Path, readers: Readers, processes: Processes
) -> None:
    channels.RingWriter(directory / "ticks.ring", TICK, 8, readers.bells("a"))

    def share_of_a_cpu() -> float:
        table = channels.Readers.attach(directory)
        reader = channels.RingReader(directory / "ticks.ring", TICK, table.slot("a"))
        idle = Callback(table.bell("a"), lambda: reader.ready).idle
        used, began, turns = time.process_time_ns(), time.monotonic_ns(), 0
        while time.monotonic_ns() - began < 20 * PARK_SLICE_NS:
            idle()
            turns += 1
        assert turns <= 20
        return (time.process_time_ns() - used) / (time.monotonic_ns() - began)

    assert processes.fork(share_of_a_cpu).result() < 0.1


# #36517: only a spin in native code can pause, and it must not keep the GIL ---------------------


@pytest.mark.parametrize("bare", [True, False])
def test_other_threads_run_while_the_native_poll_spins(ring: Ring, bare: bool) -> None:
    if ring.implementation != "native":
        pytest.skip("a spinner in Python gives the GIL away every 5 ms, as any thread does")
    reader = ring.reader()
    poll: Any = IMPLEMENTATIONS["native"].poll(lambda: reader.ready, reader.watched, bare)
    spinner = threading.Thread(target=poll.spin, args=(LONG_NS,))
    spinner.start()
    turns = sum(1 for _ in range(100_000))
    assert (turns, spinner.is_alive()) == (100_000, True)
    ring.publish(1)  # by a thread that would wait for the GIL until the spin is over
    spinner.join()
