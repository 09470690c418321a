from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.channels.layout import READERS_MAX
from pipeline.channels.readers import FILE_NAME, Readers
from tests.rig import Processes


def test_whoever_attaches_finds_the_readers_by_name(readers: Readers, directory: Path) -> None:
    other = Readers.attach(directory)
    assert [other.slot(name).name for name in ("b", "a")] == ["b", "a"]
    with pytest.raises(ValueError, match="'c' is not in list"):
        other.slot("c")
    other.close()


def test_a_slot_is_nobodys_until_it_is_taken(readers: Readers) -> None:
    slot = readers.slot("a")
    assert (slot.pid, slot.gone, slot.cursor, slot.lapped, slot.lost) == (0, False, 0, 0, 0)
    slot.take()
    assert slot.pid == os.getpid()
    assert readers.slot("b").pid == 0


def test_what_a_reader_says_is_seen_through_every_mapping(
    readers: Readers, directory: Path, processes: Processes
) -> None:
    def read() -> int:
        slot = Readers.attach(directory).slot("b")
        slot.take()
        slot.cursor = 2**40
        slot.count_loss(3, 2**33)
        return os.getpid()

    pid = processes.fork(read).result()
    slot, neighbour = readers.slot("b"), readers.slot("a")
    assert (slot.pid, slot.cursor, slot.lapped, slot.lost) == (pid, 2**40, 3, 2**33)
    assert (neighbour.pid, neighbour.cursor, neighbour.lapped, neighbour.lost) == (0, 0, 0, 0)


def test_gone_is_said_by_anybody_and_taken_back_by_the_next_reader(
    readers: Readers, directory: Path
) -> None:
    slot = readers.slot("a")
    slot.take()
    other = Readers.attach(directory)
    other.slot("a").declare_gone()
    assert slot.gone
    assert not readers.slot("b").gone
    slot.take()
    assert not slot.gone
    other.close()


def test_the_names_are_there_before_the_table_appears(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def look_then_rename(source: Path, target: Path) -> None:
        Path(source).replace(target)
        table = Readers.attach(directory)
        seen.append(table.slot("b").name)
        table.close()

    monkeypatch.setattr(os, "rename", look_then_rename)
    Readers.create(directory, ("a", "b")).close()
    assert seen == ["b"]


def test_a_table_holds_eight_readers_and_no_more(directory: Path) -> None:
    names = [f"reader {number}" for number in range(READERS_MAX)]
    table = Readers.create(directory, names)
    assert [table.slot(name).name for name in names] == names
    table.close()
    with pytest.raises(AssertionError, match="9 readers, at most 8"):
        Readers.create(directory, [*names, "one too many"])


def test_a_closed_table_leaves_no_mapping(directory: Path) -> None:
    table = Readers.create(directory, ("a", "b"))
    table.slot("a")
    table.bell("a")
    table.bells("a", "b")
    table.close()
    assert str(directory / FILE_NAME) not in Path("/proc/self/maps").read_text()
