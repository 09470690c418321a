from __future__ import annotations

import os
import platform
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.channels import Implementation, choose
from pipeline.channels.layout import PARKED_OFFSET
from pipeline.channels.readers import FILE_NAME, Readers
from pipeline.channels.waiting import (
    PARK_SLICE_NS,
    Adaptive,
    Bell,
    Callback,
    Poll,
    PollYielding,
    Waiting,
    refuse_parking_without_fence,
)
from pipeline.errors import ChannelError
from tests.rig import Processes, bell_word, until

FOREVER_NS = 3_600 * 10**9

needs_fence = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="pure Python parks on x86-64 only"
)


@pytest.fixture
def table(readers: Readers, directory: Path) -> Path:
    """Return the file of the table of readers ``a`` and ``b``."""
    return directory / FILE_NAME


@pytest.fixture
def bell(readers: Readers) -> Bell:
    return readers.bell("a")


def is_parked(table: Path, index: int = 0) -> bool:
    return table.read_bytes()[PARKED_OFFSET + index] == 1


def is_asleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].startswith("S")


@needs_fence
def test_a_parked_reader_returns_when_another_process_rings(
    channels: Implementation,
    directory: Path,
    readers: Readers,
    table: Path,
    processes: Processes,
) -> None:
    def park() -> tuple[bool, bool]:
        bell = channels.Readers.attach(directory).bell("a")
        rung = bell.park(lambda: False, FOREVER_NS)
        return rung, is_parked(table)

    child = processes.fork(park)
    until(lambda: is_parked(table) and is_asleep(child.pid))
    readers.bells("a", "b").ring()
    assert child.result() == [True, False]


@needs_fence
def test_a_ring_between_the_look_and_the_sleep_is_not_lost(readers: Readers, bell: Bell) -> None:
    bells = readers.bells("a")

    def publish_just_after_the_look() -> bool:
        bells.ring()
        return False

    assert bell.park(publish_just_after_the_look, FOREVER_NS)


@needs_fence
def test_a_park_that_nobody_ends_returns_after_its_slice(bell: Bell, table: Path) -> None:
    looks: list[bool] = []

    def look() -> bool:
        looks.append(is_parked(table))
        return False

    before = time.monotonic_ns()
    assert not bell.park(look, 3_000_000), "nobody rang"
    assert time.monotonic_ns() - before >= 3_000_000
    assert looks == [True]
    assert not is_parked(table)


@needs_fence
def test_a_reader_with_something_to_read_does_not_sleep(bell: Bell, table: Path) -> None:
    assert bell.park(lambda: True, FOREVER_NS)
    assert not is_parked(table)


@needs_fence
def test_a_ring_of_the_last_park_does_not_end_the_next(readers: Readers, bell: Bell) -> None:
    bells = readers.bells("a")

    def rung() -> bool:
        bells.ring()
        return True

    bell.park(rung, FOREVER_NS)
    assert not bell.park(lambda: False, 3_000_000)


def test_a_reader_that_is_not_parked_is_not_rung(readers: Readers, table: Path) -> None:
    readers.bells("a", "b").ring()
    assert (bell_word(table, 0), bell_word(table, 1)) == (0, 0)


@needs_fence
def test_only_the_readers_of_a_writer_are_rung(readers: Readers, bell: Bell, table: Path) -> None:
    rung: list[int] = []

    def ring_the_other_then_ours() -> bool:
        readers.bells("b").ring()
        rung.append(bell_word(table, 0))
        readers.bells("a").ring()
        rung.append(bell_word(table, 0))
        return True

    bell.park(ring_the_other_then_ours, FOREVER_NS)
    assert rung == [0, 1]


def test_a_slice_ends_soon_enough_to_look_at_signals() -> None:
    assert PARK_SLICE_NS <= 50_000_000


@needs_fence
def test_a_signal_handler_runs_and_ends_the_park(
    channels: Implementation,
    directory: Path,
    readers: Readers,
    table: Path,
    processes: Processes,
) -> None:
    def park() -> list[int]:
        noted: list[int] = []
        signal.signal(signal.SIGUSR1, lambda number, _: noted.append(number))
        channels.Readers.attach(directory).bell("a").park(lambda: False, FOREVER_NS)
        return noted

    child = processes.fork(park)
    until(lambda: is_parked(table) and is_asleep(child.pid))
    os.kill(child.pid, signal.SIGUSR1)
    assert child.result() == [int(signal.SIGUSR1)]


def test_parking_is_refused_where_python_has_no_fence() -> None:
    with pytest.raises(ChannelError, match=r"callback mode on aarch64\n(.|\n)*cure: set waiting"):
        refuse_parking_without_fence("aarch64")
    refuse_parking_without_fence("x86_64")


@pytest.mark.parametrize(
    "make", [Callback, lambda bell, ready: Adaptive(bell, ready, 50)], ids=["callback", "adaptive"]
)
def test_on_another_machine_only_a_bell_with_a_fence_is_parked_on(
    bell: Bell, make: Callable[..., Waiting], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    if bell.fences_everywhere:
        make(bell, lambda: True).idle()
        return
    with pytest.raises(ChannelError, match="callback mode on aarch64"):
        make(bell, lambda: True)


@needs_fence
def test_callback_parks_when_idle(bell: Bell, table: Path) -> None:
    looks: list[bool] = []

    def look() -> bool:
        looks.append(is_parked(table))
        return True

    Callback(bell, look).idle()
    assert looks == [True]


@needs_fence
def test_adaptive_spins_and_does_not_park_when_something_comes(bell: Bell, table: Path) -> None:
    looks: list[bool] = []

    def third_time() -> bool:
        looks.append(is_parked(table))
        return len(looks) == 3

    Adaptive(bell, third_time, spin_us=60_000_000).idle()
    assert looks == [False, False, False]


@needs_fence
def test_adaptive_parks_when_nothing_came(bell: Bell, table: Path) -> None:
    looks: list[bool] = []

    def once_parked() -> bool:
        looks.append(is_parked(table))
        return looks[-1]

    Adaptive(bell, once_parked, spin_us=200).idle()
    assert looks[-1] is True
    assert set(looks[:-1]) <= {False}


def test_pollers_do_not_sleep_and_the_yielding_one_yields(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    yields: list[None] = []
    monkeypatch.setattr(os, "sched_yield", lambda: yields.append(None))
    Poll().idle()
    assert len(yields) == 0
    PollYielding().idle()
    assert len(yields) == 1


@needs_fence
def test_each_of_eight_readers_is_rung_when_it_is_parked(
    channels: Implementation, directory: Path
) -> None:
    names = [str(number) for number in range(8)]
    readers = channels.Readers.create(directory, names)
    everyone = readers.bells(*names)
    rung: list[int] = []

    def ring() -> bool:
        everyone.ring()
        rung.append(sum(bell_word(directory / FILE_NAME, index) << index for index in range(8)))
        return True

    for name in names:
        readers.bell(name).park(ring, FOREVER_NS)
    assert rung == [0b1, 0b11, 0b111, 0b1111, 0b11111, 0b111111, 0b1111111, 0b11111111]
    readers.close()


def test_pure_python_channels_are_refused_where_stores_are_reordered() -> None:
    with pytest.raises(ChannelError, match="pure-Python channels on aarch64"):
        choose("reference", "aarch64")
    assert choose("reference", "x86_64").name == "reference"
