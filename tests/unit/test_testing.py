"""What a strategy author's tests stand on."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.errors import StrategyFailed, UserError
from pipeline.records import TICK, Action
from pipeline.strategy.contract import Position, Signal, Strategy, Tick, ist
from pipeline.testing import (
    FakeClock,
    SentSignal,
    make_instrument,
    make_strategy_settings,
    make_ticks,
    run_strategy,
)


class Breakout(Strategy):
    """The contract's example."""

    def __init__(self) -> None:
        super().__init__(make_strategy_settings())
        self.high = 0.0
        self.positions: list[Position] = []

    def on_tick(self, tick: Tick) -> Signal | None:
        self.positions.append(self.position)
        new_high = tick.price > self.high > 0
        self.high = max(self.high, tick.price)
        return Signal.buy("new high", stop_loss=self.high - 5) if new_high else None


def test_ticks_have_the_given_prices_exactly() -> None:
    ticks = make_ticks([226.2, 100, Decimal("0.05"), 1.00004])
    assert ticks.dtype == TICK
    assert ticks["price_e4"].tolist() == [2_262_000, 1_000_000, 500, 10_000]


def test_ticks_count_on_in_seq_time_and_volume() -> None:
    ticks = make_ticks([1, 2, 3], step_ms=250, quantity=50, instrument=2)
    assert ticks["seq"].tolist() == [1, 2, 3]
    assert np.diff(ticks["ts_event_ns"]).tolist() == [250_000_000] * 2
    assert np.diff(ticks["ts_recv_ns"]).tolist() == [250_000_000] * 2
    assert ticks["quantity"].tolist() == [50] * 3
    assert ticks["day_volume"].tolist() == [50, 100, 150]
    assert ticks["instrument"].tolist() == [2] * 3


@pytest.mark.parametrize(
    ("start", "shown"),
    [
        ("2026-01-05 09:15:00", "2026-01-05T09:15:00+05:30"),
        ("2026-01-05T09:15:00.000001", "2026-01-05T09:15:00.000001+05:30"),
        ("2026-01-05 03:45:00+00:00", "2026-01-05T09:15:00+05:30"),
    ],
)
def test_the_first_tick_is_at_the_start_in_ist(start: str, shown: str) -> None:
    first_ns = int(make_ticks([1], start=start)["ts_event_ns"][0])
    assert ist(first_ns).isoformat() == shown


def test_no_prices_give_no_ticks() -> None:
    assert make_ticks([]).shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"prices": [100, 0]}, r"prices\[1\] = 0"),
        ({"prices": [-1.5]}, r"prices\[0\] = -1.5"),
        ({"prices": [float("nan")]}, r"prices\[0\] = nan"),
        ({"prices": [1e10]}, r"prices\[0\] = 1"),
        ({"prices": [1], "start": "9.15"}, "start = '9.15'"),
        ({"prices": [1], "step_ms": -1}, "step_ms = -1"),
        ({"prices": [1], "quantity": 2**32}, "quantity = 4294967296"),
        ({"prices": [1], "instrument": 65_535}, "instrument = 65535"),
    ],
)
def test_ticks_that_no_feed_could_deliver_are_refused(arguments: dict[str, Any], what: str) -> None:
    with pytest.raises(UserError, match=what):
        make_ticks(**arguments)


def test_an_instrument_takes_changes_and_refuses_unknown_ones() -> None:
    assert make_instrument(symbol="NIFTY-PUT", lot_size=65).lot_size == 65
    with pytest.raises(ValidationError):
        make_instrument(lotsize=65)


def test_strategy_settings_take_changes_and_refuse_bad_ones() -> None:
    settings = make_strategy_settings(fast_ema=5, parameters={"high": 3})
    assert (settings.fast_ema, settings.parameters) == (5, {"high": 3})
    with pytest.raises(ValidationError):
        make_strategy_settings(fast_ema=42)


def test_a_fake_clock_moves_only_when_told() -> None:
    clock = FakeClock(1_000)
    assert clock.now_ns() == clock.now_ns() == 1_000
    clock.advance(250)
    assert clock.now_ns() == 1_250
    with pytest.raises(UserError, match=r"advance\(-1\)"):
        clock.advance(-1)


def test_a_run_returns_what_the_strategy_wanted() -> None:
    assert run_strategy(Breakout(), make_ticks([100, 99, 101.05])) == [
        SentSignal(3, "TEST-OPTION", Action.BUY, "new high", 101.05, 1.0, 96.05, None)
    ]


def test_a_run_answers_every_entry_as_refused_before_the_next_tick() -> None:
    strategy = Breakout()
    sent = run_strategy(strategy, make_ticks([100, 101, 102, 103]))
    assert [signal.tick_seq for signal in sent] == [2, 3, 4]
    assert all(position.is_flat for position in strategy.positions)


def test_a_run_takes_several_instruments() -> None:
    instruments = (
        make_instrument(symbol="CALL", token="1"),
        make_instrument(symbol="PUT", token="2"),
    )
    ticks = make_ticks([100, 101], instrument=1)
    assert [signal.symbol for signal in run_strategy(Breakout(), ticks, instruments)] == ["PUT"]


def test_a_tick_of_an_unknown_instrument_is_refused() -> None:
    with pytest.raises(UserError, match=r"a tick of instrument 1, with 1 instrument"):
        run_strategy(Breakout(), make_ticks([100], instrument=1))


def test_a_run_of_no_ticks_wants_nothing() -> None:
    assert run_strategy(Breakout(), make_ticks([])) == []


def test_an_exception_of_the_strategy_reaches_its_author() -> None:
    class Broken(Breakout):
        def on_tick(self, tick: Tick) -> Signal | None:
            raise ZeroDivisionError("no volume")

    with pytest.raises(StrategyFailed, match="ZeroDivisionError: no volume") as caught:
        run_strategy(Broken(), make_ticks([100]))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
