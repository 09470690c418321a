"""The ring of gaps, beside that of the ticks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.channels import Implementation
from pipeline.channels.gaps import GAPS, GAPS_CAPACITY, GapReader
from pipeline.channels.ring import RingWriter
from pipeline.records import GAP


def gaps(*seconds: int) -> NDArray[np.void]:
    rows = np.zeros(len(seconds), GAP)
    rows["reason"], rows["ended_ns"] = b"stalled", seconds
    return rows


@pytest.fixture
def writer(tmp_path: Path, channels: Implementation) -> Iterator[RingWriter]:
    opened = channels.RingWriter(tmp_path / GAPS, GAP, GAPS_CAPACITY)
    yield opened
    opened.close()


@pytest.fixture
def reader(tmp_path: Path, channels: Implementation, writer: RingWriter) -> Iterator[GapReader]:
    opened = GapReader(tmp_path / GAPS, channels)
    yield opened
    opened.close()


def test_a_gap_is_there_once_it_is_published_and_once_only(
    writer: RingWriter, reader: GapReader
) -> None:
    assert not reader.ready
    writer.publish(gaps(7, 8))
    assert reader.ready
    assert reader.take()["ended_ns"].tolist() == [7, 8]
    assert not reader.ready
    assert not len(reader.take())


def test_the_gaps_of_the_next_feed_follow(
    tmp_path: Path, channels: Implementation, writer: RingWriter, reader: GapReader
) -> None:
    writer.publish(gaps(1))
    another = channels.RingWriter(tmp_path / GAPS, GAP, GAPS_CAPACITY)
    another.publish(gaps(2))
    assert [reader.take()["ended_ns"].tolist() for _ in range(3)] == [[1], [2], []]
    another.publish(gaps(3))
    assert reader.ready
    another.close()


def test_more_gaps_than_there_is_room_for_cost_the_oldest(
    writer: RingWriter, reader: GapReader
) -> None:
    writer.publish(gaps(*range(GAPS_CAPACITY + 10)))
    assert reader.take()["ended_ns"].tolist() == list(range(10, GAPS_CAPACITY + 10))
