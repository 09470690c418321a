"""What only the extension has: the choice, the layout, the two kinds on one segment, the spin."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import pipeline.channels
from pipeline.channels import IMPLEMENTATIONS, Implementation, choose
from pipeline.channels.layout import PARKED_OFFSET
from pipeline.channels.readers import FILE_NAME
from pipeline.errors import ChannelError, QueueFull
from pipeline.records import TICK
from tests.rig import Processes, assert_intact, ticks, until, without_seq

if "native" not in IMPLEMENTATIONS:
    pytest.skip(pipeline.channels.NATIVE_MISSING, allow_module_level=True)

from pipeline.channels import _native, native

PAIRS = [("native", "reference"), ("reference", "native"), ("native", "native")]
ROOT = Path(__file__).resolve().parents[3]
HOUR_NS = 3_600 * 10**9


@pytest.fixture(params=PAIRS, ids="-to-".join)
def pair(request: pytest.FixtureRequest) -> tuple[Implementation, Implementation]:
    """Return the implementation of the writer and that of the reader."""
    writer, reader = request.param
    return IMPLEMENTATIONS[writer], IMPLEMENTATIONS[reader]


Pair = tuple[Implementation, Implementation]


# Both kinds on one segment -------------------------------------------------------------------


def test_a_ring_of_one_kind_is_read_by_the_other(pair: Pair, directory: Path) -> None:
    ours, theirs = pair
    table, other_table = ours.Readers.create(directory, ("a",)), theirs.Readers.attach(directory)
    path = directory / "ticks.ring"
    writer = ours.RingWriter(path, TICK, 8, table.bells("a"))
    reader = theirs.RingReader(path, TICK, other_table.slot("a"))
    got: list[int] = []
    for count in (1, 3, 8, 12, 0, 5):
        writer.publish(without_seq(ticks(writer.published + 1, count)))
        rows = reader.read(100)
        assert_intact(rows)
        got += rows["seq"].tolist()
    reader.commit()
    assert got == [*range(1, 13), *range(17, 30)]
    assert (reader.lost, reader.lapped) == (4, 1)
    assert (table.slot("a").cursor, table.slot("a").lost) == (29, 4)
    writer.close(failed=True)
    assert reader.ended
    assert reader.abandoned


def test_a_queue_of_one_kind_is_read_by_the_other(pair: Pair, directory: Path) -> None:
    ours, theirs = pair
    writer = ours.QueueWriter(directory / "signals.queue", TICK, 4)
    reader = theirs.QueueReader(directory / "signals.queue", TICK)
    writer.put(ticks(1, 3))
    with pytest.raises(QueueFull, match="no room for 2 more, 3 of 4"):
        writer.put(ticks(4, 2))
    assert (reader.waiting, reader.full_count) == (3, 1)
    assert_intact(reader.take())
    writer.put(ticks(4, 4))
    assert reader.take()["seq"].tolist() == [4, 5, 6, 7]


def test_a_cell_of_one_kind_is_read_by_the_other(pair: Pair, directory: Path) -> None:
    ours, theirs = pair
    writer = ours.CellWriter(directory / "some.cell", TICK)
    reader = theirs.CellReader(directory / "some.cell", TICK)
    assert reader.latest() is None
    for seq in range(1, 10):
        writer.publish(ticks(seq, 1))
    row = reader.latest()
    assert row is not None
    assert row["seq"].tolist() == [9]
    assert_intact(row)


def test_a_bell_of_one_kind_is_rung_by_the_other(
    pair: Pair, directory: Path, processes: Processes
) -> None:
    ours, theirs = pair
    table = ours.Readers.create(directory, ("a",))
    child = processes.fork(
        lambda: theirs.Readers.attach(directory).bell("a").park(lambda: False, HOUR_NS)
    )
    until(lambda: (directory / FILE_NAME).read_bytes()[PARKED_OFFSET] == 1)
    table.bells("a").ring()
    child.result()


# The choice ----------------------------------------------------------------------------------


def test_auto_is_native_where_it_is_there() -> None:
    assert choose("auto").name == choose("native").name == "native"
    assert choose("reference").name == "reference"


def test_without_the_extension_auto_is_the_reference_and_native_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline.channels, "NATIVE_MISSING", "it is not there")
    monkeypatch.delitem(IMPLEMENTATIONS, "native")
    assert choose("auto").name == "reference"
    with pytest.raises(ChannelError, match=r"it is not there\n(.|\n)*cure: install gcc"):
        choose("native")


def test_an_extension_that_cannot_be_imported_is_told_and_the_reference_runs() -> None:
    code = (
        "import sys; sys.modules['pipeline.channels._native'] = None\n"
        "from pipeline.channels import NATIVE_MISSING, choose\n"
        "print(choose('auto').name, NATIVE_MISSING)"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert output.startswith("reference the extension is not there: ")


def test_the_extension_was_built_for_this_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    assert native.layout_differences() == []
    monkeypatch.setitem(_native.LAYOUT, "TAKEN", 1)
    monkeypatch.setitem(_native.LAYOUT, "bell", 1)
    assert native.layout_differences() == ["TAKEN", "bell"]


# Closing and bad arguments -------------------------------------------------------------------


def test_a_closed_end_says_so_and_does_not_touch_the_mapping(directory: Path) -> None:
    channels = choose("native")
    table = channels.Readers.create(directory, ("a",))
    writer = channels.RingWriter(directory / "ticks.ring", TICK, 8, table.bells("a"))
    reader = channels.RingReader(directory / "ticks.ring", TICK, table.slot("a"))
    bell, bells = table.bell("a"), table.bells("a")
    writer.close()
    reader.close()
    table.close()
    calls: list[Callable[[], object]] = [
        lambda: writer.publish(ticks(1, 1)),
        lambda: writer.close(),
        lambda: reader.read(1),
        lambda: reader.ready,
        lambda: reader.commit(),
        lambda: bell.park(lambda: False),
        lambda: bell.ring(),
        lambda: bells.ring(),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="closed"):
            call()


@pytest.mark.parametrize(
    ("size", "slot_size", "capacity", "message"),
    [
        (4_096, 60, 8, "a slot of 60 bytes is not a number of words"),
        (4_096, 0, 8, "a slot of 0 bytes"),
        (4_096, 64, 7, "capacity 7 is not a power of two"),
        (4_096, 64, 0, "capacity 0"),
        (4_096, 64, 64, "4096 bytes of mapping, 4736 needed"),
    ],
)
def test_a_mapping_that_does_not_hold_the_channel_is_refused(
    size: int, slot_size: int, capacity: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        _native.Writer(mmap.mmap(-1, size), TICK, slot_size, capacity)
    with pytest.raises(ValueError, match=message):
        _native.SlotReader(mmap.mmap(-1, size), slot_size, capacity, False)


def test_rows_of_two_dimensions_are_refused(directory: Path) -> None:
    writer = choose("native").RingWriter(directory / "ticks.ring", TICK, 8)
    with pytest.raises(ValueError, match="2 dimensions"):
        writer.publish(np.zeros((2, 2), TICK))
    assert writer.published == 0


def test_rows_in_reverse_are_published_as_they_are_seen(directory: Path) -> None:
    channels = choose("native")
    writer = channels.CellWriter(directory / "some.cell", TICK)
    reader = channels.CellReader(directory / "some.cell", TICK)
    writer.publish(ticks(1, 3)[::-1])
    row = reader.latest()
    assert row is not None
    assert row["price_e4"] == ticks(1, 1)["price_e4"]


def test_what_ready_raises_ends_the_park_and_is_raised(directory: Path) -> None:
    bell = choose("native").Readers.create(directory, ("a",)).bell("a")
    with pytest.raises(ZeroDivisionError):
        bell.park(lambda: bool(1 // 0), HOUR_NS)
    assert (directory / FILE_NAME).read_bytes()[PARKED_OFFSET] == 0


# Spinning ------------------------------------------------------------------------------------


@pytest.fixture
def word() -> mmap.mmap:
    return mmap.mmap(-1, 4_096)


@pytest.mark.parametrize("yielding", [False, True])
def test_a_spin_ends_when_another_process_changes_a_word(
    word: mmap.mmap, processes: Processes, yielding: bool
) -> None:
    watch = _native.Watch(((word, 8), (word, 128)))
    words = memoryview(word).cast("Q")
    watch.look()

    def change() -> None:
        until(lambda: words[0] == 1)
        words[16] = 7

    child = processes.fork(change)
    words[0] = 1  # not a word that is watched
    assert watch.spin(HOUR_NS, yielding)
    child.result()


def test_a_change_between_the_look_and_the_spin_ends_the_spin(word: mmap.mmap) -> None:
    watch = _native.Watch(((word, 8),))
    watch.look()
    word[8] = 1
    assert watch.spin(HOUR_NS, False)
    watch.look()
    assert not watch.spin(1_000, False)


def test_a_spin_that_nobody_ends_returns_after_its_time(word: mmap.mmap) -> None:
    watch = _native.Watch(((word, 8),))
    before = time.monotonic_ns()
    assert not watch.spin(2_000_000, False)
    assert time.monotonic_ns() - before >= 2_000_000


def test_a_spinner_and_a_parked_reader_let_other_threads_run(
    word: mmap.mmap, directory: Path
) -> None:
    watch = _native.Watch(((word, 8),))
    watch.look()
    spinner = threading.Thread(target=lambda: watch.spin(HOUR_NS, False))
    spinner.start()
    word[8] = 1  # by this thread, which would wait for ever if the spinner kept the GIL
    spinner.join()
    table = choose("native").Readers.create(directory, ("a",))
    bell = table.bell("a")
    sleeper = threading.Thread(target=lambda: bell.park(lambda: False, HOUR_NS))
    sleeper.start()
    until(lambda: (directory / FILE_NAME).read_bytes()[PARKED_OFFSET] == 1)
    with pytest.raises(BufferError, match="parked"):
        bell.close()
    bell.ring()
    sleeper.join()


@pytest.mark.parametrize("words", [((4,),), tuple((None, 0) for _ in range(2))])
def test_what_is_no_word_is_refused(words: object) -> None:
    with pytest.raises(TypeError):
        _native.Watch(words)  # type: ignore[arg-type]


def test_a_word_outside_the_mapping_or_across_words_is_refused(word: mmap.mmap) -> None:
    with pytest.raises(ValueError, match="4096 bytes of mapping, 4104 needed"):
        _native.Watch(((word, 4_096),))
    with pytest.raises(ValueError, match="offset 4 is not that of a word"):
        _native.Watch(((word, 4),))
    with pytest.raises(ValueError, match="more than 8 words"):
        _native.Watch(((word, 8),) * 9)


def test_adaptive_spins_then_parks_and_is_woken_by_a_change(
    directory: Path, word: mmap.mmap
) -> None:
    bell = choose("native").Readers.create(directory, ("a",)).bell("a")
    looks: list[int] = []

    def ready() -> bool:
        looks.append((directory / FILE_NAME).read_bytes()[PARKED_OFFSET])
        return looks[-1] == 1

    native.adaptive(bell, ready, ((word, 8),), 100).idle()
    assert looks == [0, 1]

    def change_behind_the_look() -> bool:
        word[8] += 1
        looks.append(2)
        return False

    native.adaptive(bell, change_behind_the_look, ((word, 8),), 3_600_000_000).idle()
    assert looks == [0, 1, 2]


def test_the_objects_hold_no_mapping_when_they_are_gone(directory: Path) -> None:
    def mappings() -> int:
        return Path("/proc/self/maps").read_text().count(str(directory))

    channels = choose("native")
    table = channels.Readers.create(directory, ("a",))
    for _ in range(3):
        writer = channels.RingWriter(directory / "ticks.ring", TICK, 8, table.bells("a"))
        reader = channels.RingReader(directory / "ticks.ring", TICK, table.slot("a"))
        writer.publish(ticks(1, 1))
        assert len(reader.read(1)) == 1
        reader.close()
        writer.close()
    assert mappings() == 1, os.listdir(directory)
    table.close()
