"""What a result_box is told: each change of position between two looks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.records import ExitKind, positions_dtype
from pipeline.settings import Instrument, Settings
from pipeline.trader.config import settings_of
from pipeline.trader.events import events, open_position_id


@pytest.fixture
def instruments(config: dict[str, Any]) -> tuple[Instrument, ...]:
    settings: Settings = settings_of(config, "config")
    first = settings.instruments[0]
    return first, first.model_copy(update={"symbol": "OTHER"})


def positions(*rows: dict[str, int]) -> NDArray[np.void]:
    """Return a positions record of two instruments, fields that are not named 0."""
    record = np.zeros(1, positions_dtype(2))
    for index, fields in enumerate(rows):
        for name, value in fields.items():
            record["positions"][0][name][index] = value
    return record


HELD = {"position_id": 3, "quantity": 750, "entry_price_e4": 1_012_500}


def test_an_entry_says_how_many_and_at_what_price(instruments: tuple[Instrument, ...]) -> None:
    assert events(None, positions(HELD), instruments) == [
        "BOUGHT 750 NIFTY-OPTION @ ₹101.25 (position 3)"
    ]


def test_a_part_that_was_sold_says_what_is_left(instruments: tuple[Instrument, ...]) -> None:
    after = positions(HELD | {"quantity": 450})
    assert events(positions(HELD), after, instruments) == ["SOLD 300 NIFTY-OPTION, 450 left"]


def test_a_close_says_why(instruments: tuple[Instrument, ...]) -> None:
    after = positions({"closed_id": 3, "closed_kind": ExitKind.TRAILING_STOP})
    assert events(positions(HELD), after, instruments) == [
        "CLOSED NIFTY-OPTION: Trailing Stop (position 3)"
    ]


def test_a_close_and_the_next_entry_between_two_looks_are_two_lines(
    instruments: tuple[Instrument, ...],
) -> None:
    after = positions({}, HELD | {"position_id": 4, "closed_id": 3, "closed_kind": 1})
    assert events(positions({}, HELD), after, instruments) == [
        "CLOSED OTHER: Stop Loss (position 3)",
        "BOUGHT 750 OTHER @ ₹101.25 (position 4)",
    ]


def test_without_a_change_there_is_nothing_to_say(instruments: tuple[Instrument, ...]) -> None:
    assert events(positions(HELD), positions(HELD), instruments) == []
    assert events(None, positions(), instruments) == []


def test_the_active_position_is_the_oldest_open_one() -> None:
    assert open_position_id(None) is None
    assert open_position_id(positions()) is None
    assert open_position_id(positions(HELD, HELD | {"position_id": 2})) == 2
