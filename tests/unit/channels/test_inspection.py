"""A ring seen from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.channels.cell import CellWriter
from pipeline.channels.inspection import ReaderReport, inspect
from pipeline.channels.layout import State
from pipeline.channels.line import FEED, RECORDER, RISK, STRATEGY, TICKS
from pipeline.channels.locks import OwnerLock
from pipeline.channels.readers import Readers
from pipeline.channels.ring import RingReader, RingWriter
from pipeline.channels.rundir import lock_path
from pipeline.errors import UsageError
from pipeline.records import HEARTBEAT, TICK
from tests.rig import ticks

CAPACITY = 16


@pytest.fixture
def readers(directory: Path) -> Iterator[Readers]:
    """Return the table of a run's readers."""
    table = Readers.create(directory, (STRATEGY, RISK))
    yield table
    table.close()


@pytest.fixture
def writer(directory: Path, readers: Readers) -> Iterator[RingWriter]:
    """Return the writer of the run's ring."""
    writer = RingWriter(directory / TICKS, TICK, CAPACITY)
    yield writer
    writer.close()


def test_nothing_to_look_at_is_an_error_with_a_cure(directory: Path) -> None:
    with pytest.raises(UsageError, match="start a run"):
        inspect(directory)


def test_the_writer_is_alive_while_it_holds_its_lock(directory: Path, writer: RingWriter) -> None:
    assert not inspect(directory).owner_alive
    lock = OwnerLock(lock_path(directory, FEED))
    assert inspect(directory).owner_alive
    lock.close()


def test_a_reader_shows_how_far_behind_it_is(
    directory: Path, readers: Readers, writer: RingWriter
) -> None:
    place = readers.slot(RISK)
    reader = RingReader(directory / TICKS, TICK, place)
    place.take()
    writer.publish(ticks(1, 5))
    reader.read(2)
    reader.commit()
    report = inspect(directory)
    assert (report.published, report.claimed, report.state) == (5, 5, State.OPEN)
    (shown,) = report.readers
    assert (shown.name, shown.cursor, shown.behind, shown.lost) == (RISK, 2, 3, 0)
    reader.close()


def test_the_recorder_is_shown_by_what_its_heartbeat_says(
    directory: Path, readers: Readers, writer: RingWriter
) -> None:
    writer.publish(ticks(1, 5))
    assert inspect(directory).readers == ()
    beat = np.zeros(1, HEARTBEAT)
    beat["pid"], beat["last_seq"], beat["lost"], beat["lapped"] = 7, 3, 2, 1
    cell = CellWriter(directory / f"{RECORDER}.beat", HEARTBEAT)
    cell.publish(beat)
    lock = OwnerLock(lock_path(directory, RECORDER))
    shown = ReaderReport(RECORDER, 7, cursor=3, behind=2, lapped=1, lost=2, waits="awake")
    assert inspect(directory).readers == (shown,)
    lock.close()
    assert inspect(directory).readers == (shown._replace(waits="DEAD"),)
    cell.close()


def test_a_reader_is_awake_while_it_holds_its_lock_and_dead_without_it(
    directory: Path, readers: Readers, writer: RingWriter
) -> None:
    readers.slot(RISK).take()
    lock = OwnerLock(lock_path(directory, RISK))
    assert inspect(directory).readers[0].waits == "awake"
    lock.close()
    assert inspect(directory).readers[0].waits == "DEAD"


def test_a_lapped_reader_shows_its_loss(
    directory: Path, readers: Readers, writer: RingWriter
) -> None:
    place = readers.slot(STRATEGY)
    reader = RingReader(directory / TICKS, TICK, place)
    place.take()
    writer.publish(ticks(1, CAPACITY + 7))
    reader.read(100)
    place.declare_gone()
    (shown,) = inspect(directory).readers
    assert (shown.lapped, shown.lost, shown.waits) == (1, 7, "gone")
    reader.close()
