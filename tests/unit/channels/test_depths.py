"""The ring of depth, read along with the ticks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.channels import Implementation
from pipeline.channels.depths import DEPTHS, DepthReader
from pipeline.channels.ring import RingWriter
from pipeline.records import DEPTH

CAPACITY = 8


def depths(*tick_seqs: int) -> NDArray[np.void]:
    rows = np.zeros(len(tick_seqs), DEPTH)
    rows["tick_seq"] = tick_seqs
    return rows


@pytest.fixture
def writer(tmp_path: Path, channels: Implementation) -> Iterator[RingWriter]:
    opened = channels.RingWriter(tmp_path / DEPTHS, DEPTH, CAPACITY)
    yield opened
    opened.close()


@pytest.fixture
def reader(tmp_path: Path, channels: Implementation, writer: RingWriter) -> Iterator[DepthReader]:
    opened = DepthReader(tmp_path / DEPTHS, channels)
    yield opened
    opened.close()


def given(reader: DepthReader, *seqs: int) -> list[int]:
    """Return those of the ticks ``seqs`` that have depth."""
    rows = [(seq, reader.of(seq)) for seq in seqs]
    assert all(row is None or row["tick_seq"] == seq for seq, row in rows)
    return [seq for seq, row in rows if row is not None]


def test_a_depth_is_there_for_its_tick_and_for_no_other(
    writer: RingWriter, reader: DepthReader
) -> None:
    writer.publish(depths(2, 3, 6))
    assert given(reader, 1, 2, 3, 4, 5, 6, 7) == [2, 3, 6]
    assert reader.lost == 0


def test_a_depth_that_is_ahead_waits_for_its_tick(writer: RingWriter, reader: DepthReader) -> None:
    writer.publish(depths(5))
    assert given(reader, 4) == []
    assert given(reader, 5) == [5]


def test_a_depth_whose_tick_was_never_asked_for_is_lost(
    writer: RingWriter, reader: DepthReader
) -> None:
    writer.publish(depths(1, 2, 3))
    assert given(reader, 3) == [3]
    assert reader.lost == 2


def test_what_is_overwritten_is_counted_exactly(writer: RingWriter, reader: DepthReader) -> None:
    for seq in range(1, 21):
        writer.publish(depths(seq))
    assert given(reader, *range(1, 21)) == list(range(21 - CAPACITY, 21))
    assert reader.lost == 20 - CAPACITY


def test_more_than_one_read_holds_come_in_order(tmp_path: Path, channels: Implementation) -> None:
    writer = channels.RingWriter(tmp_path / DEPTHS, DEPTH, 2_048)
    reader = DepthReader(tmp_path / DEPTHS, channels)
    writer.publish(depths(*range(1, 1_001)))
    assert given(reader, *range(1, 1_001)) == list(range(1, 1_001))
    reader.close()
    writer.close()


def test_the_depth_of_the_next_feed_follows(
    tmp_path: Path, channels: Implementation, writer: RingWriter, reader: DepthReader
) -> None:
    writer.publish(depths(1))
    another = channels.RingWriter(tmp_path / DEPTHS, DEPTH, CAPACITY)
    another.publish(depths(2))
    assert given(reader, 1, 2, 3) == [1, 2]
    another.close()
