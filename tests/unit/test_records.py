"""Every record has the size, order and alignment that both sides of a process boundary assume."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from pipeline.records import (
    DEPTH,
    GAP,
    HEARTBEAT,
    INSTRUMENTS_MAX,
    POSITION,
    PRICE_SCALE,
    REASON_BYTES,
    SIGNAL,
    TICK,
    Action,
    ExitKind,
    Gap,
    GapReason,
    ProcessState,
    positions_dtype,
)
from pipeline.strategy.contract import Tick

CARRIED = {
    "TICK": TICK,
    "DEPTH": DEPTH,
    "SIGNAL": SIGNAL,
    "HEARTBEAT": HEARTBEAT,
    "GAP": GAP,
    "positions of 1": positions_dtype(1),
    "positions of 3": positions_dtype(3),
}
RECORDS = {**CARRIED, "POSITION": POSITION}


def each(records: dict[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("record", records.values(), ids=list(records))


def fields(record: np.dtype[np.void]) -> list[tuple[str, np.dtype[Any], int]]:
    assert record.fields is not None
    assert record.names is not None
    return [(name, *record.fields[name][:2]) for name in record.names]


@pytest.mark.parametrize(
    ("record", "size"),
    [
        (TICK, 64),
        (DEPTH, 256),
        (SIGNAL, 176),
        (POSITION, 48),
        (HEARTBEAT, 208 + 7 * 48),
        (positions_dtype(1), 24 + 48),
        (positions_dtype(3), 24 + 3 * 48),
    ],
)
def test_the_sizes_are_these(record: np.dtype[np.void], size: int) -> None:
    assert record.itemsize == size


@each(CARRIED)
def test_what_a_channel_carries_starts_with_seq(record: np.dtype[np.void]) -> None:
    name, kind, offset = fields(record)[0]
    assert (name, kind, offset) == ("seq", np.dtype("<u8"), 0)


@each(RECORDS)
def test_every_field_is_naturally_aligned(record: np.dtype[np.void]) -> None:
    for name, kind, offset in fields(record):
        width = 8 if kind.subdtype else 1 if kind.kind == "S" else kind.itemsize
        assert offset % width == 0, f"{name} of {width} bytes stands at {offset}"


@each(RECORDS)
def test_records_in_a_row_stay_aligned(record: np.dtype[np.void]) -> None:
    assert record.itemsize % 8 == 0


@each(RECORDS)
def test_no_byte_is_without_a_name(record: np.dtype[np.void]) -> None:
    ends = [(offset, offset + kind.itemsize) for _, kind, offset in fields(record)]
    assert all(before[1] == after[0] for before, after in pairwise(ends))
    assert ends[-1][1] == record.itemsize


@each(RECORDS)
def test_every_number_is_little_endian(record: np.dtype[np.void]) -> None:
    assert record == record.newbyteorder("<")


@each(RECORDS)
def test_prices_and_times_are_signed_64_bit_integers(record: np.dtype[np.void]) -> None:
    for name, kind, _ in fields(record):
        if name.endswith(("_e4", "_ns")):
            assert kind.base == np.dtype("<i8"), name


def test_a_price_of_five_paise_is_exact() -> None:
    tick = np.zeros(1, TICK)
    tick["price_e4"] = round(0.05 * PRICE_SCALE)
    assert tick["price_e4"][0] == 500


def test_a_tick_can_number_every_instrument() -> None:
    assert np.iinfo(TICK["instrument"]).max == INSTRUMENTS_MAX
    assert np.iinfo(SIGNAL["instrument"]).max == INSTRUMENTS_MAX


def test_a_reason_has_its_own_limit() -> None:
    assert SIGNAL["reason"].itemsize == REASON_BYTES


def test_the_positions_cell_has_one_position_for_each_instrument() -> None:
    cell = np.zeros(1, positions_dtype(3))
    assert cell["positions"].shape == (1, 3)
    assert cell["positions"].dtype == POSITION


def test_a_zeroed_record_means_nothing_happened_yet() -> None:
    assert (Action(0), ExitKind(0), ProcessState(0)) == (
        Action.HOLD,
        ExitKind.NONE,
        ProcessState.STARTING,
    )


@pytest.mark.parametrize("kind", [Action, ExitKind, ProcessState])
def test_the_numbers_of_an_enum_have_no_holes(kind: Any) -> None:
    assert [int(member) for member in kind] == list(range(len(kind)))


def test_the_first_fields_of_a_strategys_tick_are_those_of_the_record() -> None:
    assert TICK.names is not None
    renamed = {"instrument": "instrument_index"}
    expected = tuple(renamed[name] if name in renamed else name for name in TICK.names)
    assert Tick._fields[: len(expected)] == expected


def test_a_gap_that_the_feed_noticed_is_told_with_its_length_and_whose_it_is() -> None:
    gap = Gap(GapReason.STALLED, 0, 10**18, 10**18 + 2_500_000_000, range(4, 7))
    assert gap.text == "stalled for 2.5 s: 3 instrument(s) from 4"
