"""The guide's rules 1-3, with numbers that can be checked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.records import Action
from pipeline.strategies.momentum import Momentum
from pipeline.strategy.contract import FLAT, Position, Signal, Tick
from pipeline.testing import make_instrument, make_strategy_settings, make_ticks, run_strategy

OPTION = make_instrument()
HELD = Position(position_id=7, quantity=75, entry_price=100.0, stop=85.0)
PENDING = Position(entry_pending=True)


def momentum(**changes: Any) -> Momentum:
    """Return the strategy without warm-up, so that examples stay short."""
    return Momentum(make_strategy_settings(**({"min_warmup_ticks": 1} | changes)))


def see(strategy: Momentum, prices: Sequence[float], instrument: int = 0) -> list[Signal | None]:
    rows = make_ticks(prices, instrument=instrument).tolist()
    return [strategy.on_tick(Tick._make((*row, OPTION))) for row in rows]


def buys_at(strategy: Momentum, prices: Sequence[float]) -> list[int]:
    """Return the numbers (from 1) of the ticks that gave a BUY, risk refusing each."""
    sent = run_strategy(strategy, make_ticks(prices))
    assert all(signal.action is Action.BUY for signal in sent)
    return [signal.tick_seq for signal in sent]


def test_buys_at_the_third_green_tick_at_its_price() -> None:
    signals = run_strategy(momentum(), make_ticks([100, 101, 102, 103]))
    assert [(s.tick_seq, s.price, s.reason) for s in signals] == [
        (4, 103.0, "ema crossover, 3 green ticks")
    ]


def test_the_first_tick_is_not_green() -> None:
    assert buys_at(momentum(consecutive_green_bars=1), [100, 101]) == [2]


def test_an_equal_price_ends_the_green_ticks() -> None:
    assert buys_at(momentum(), [100, 101, 102, 102, 103, 104, 105]) == [7]


def test_a_falling_price_ends_the_green_ticks() -> None:
    assert buys_at(momentum(), [100, 101, 102, 101.95, 102, 102.05, 102.1]) == [7]


def test_both_emas_start_at_the_first_price() -> None:
    # Spans 1 and 3: α = 1 and 1/2. Slow: 100, 99, 99; fast: 100, 98, 99. Equal is not above.
    strategy = momentum(fast_ema=1, slow_ema=3, consecutive_green_bars=1)
    assert buys_at(strategy, [100, 98, 99]) == []


def test_the_alpha_of_the_fast_ema_is_two_over_span_plus_one() -> None:
    # Fast: 100, 99, 99.8 with α = 1/2; slow: 100, 99.5, 99.775. With α = 1/3 fast is 99.76.
    strategy = momentum(fast_ema=3, slow_ema=7, consecutive_green_bars=1)
    assert buys_at(strategy, [100, 98, 100.6]) == [3]


def test_the_alpha_of_the_slow_ema_is_two_over_span_plus_one() -> None:
    # Slow: 100, 99, 99.1 with α = 1/2. With α = 1/3 it would be 99.29, above the fast 99.2.
    strategy = momentum(fast_ema=1, slow_ema=3, consecutive_green_bars=1)
    assert buys_at(strategy, [100, 98, 99.2]) == [3]


def test_green_ticks_below_the_slow_ema_do_not_buy() -> None:
    assert buys_at(momentum(), [100, 50, 51, 52, 53, 54]) == []


def test_green_ticks_alone_buy_with_the_crossover_switched_off() -> None:
    strategy = momentum(use_ema_crossover=False)
    sent = run_strategy(strategy, make_ticks([100, 50, 51, 52, 53]))
    assert [(s.tick_seq, s.reason) for s in sent] == [(5, "3 green ticks")]


def test_the_50th_tick_may_signal_and_the_49th_may_not() -> None:
    rising = [100 + step for step in range(52)]
    assert buys_at(momentum(min_warmup_ticks=50), rising) == [50, 51, 52]


def test_nothing_is_bought_while_a_position_is_held() -> None:
    strategy = momentum()
    strategy.position = HELD
    assert see(strategy, [100, 101, 102, 103, 104]) == [None] * 5


def test_nothing_is_bought_while_a_signal_is_unanswered() -> None:
    strategy = momentum()
    strategy.position = PENDING
    assert see(strategy, [100, 101, 102, 103, 104]) == [None] * 5


def test_green_ticks_are_counted_while_a_position_is_held() -> None:
    strategy = momentum()
    strategy.position = HELD
    see(strategy, [100, 101, 102, 103])
    strategy.position = FLAT
    assert see(strategy, [104])[0] is not None


def hold_and_close(strategy: Momentum, reason: str, position_id: int = 7) -> None:
    """Let a position be seen open for three falling ticks, then close it."""
    strategy.position = HELD._replace(position_id=position_id)
    see(strategy, [100, 99, 98])
    strategy.position = FLAT
    strategy.on_position_closed(position_id, reason)


def green_ticks_needed(strategy: Momentum, instrument: int = 0) -> int:
    """Return how many green ticks the strategy waits for, high above every EMA."""
    see(strategy, [1000, 999], instrument)
    signals = see(strategy, [1001, 1002, 1003, 1004, 1005], instrument)
    return next(green for green, signal in enumerate(signals, 1) if signal is not None)


def test_four_green_ticks_are_needed_after_a_stop_loss() -> None:
    strategy = momentum()
    hold_and_close(strategy, "Stop Loss")
    assert green_ticks_needed(strategy) == 4


def test_four_stay_needed_while_risk_refuses_the_entry() -> None:
    strategy = momentum()
    hold_and_close(strategy, "Stop Loss")
    assert [green_ticks_needed(strategy), green_ticks_needed(strategy)] == [4, 4]


def test_three_are_needed_again_after_an_exit_of_another_kind() -> None:
    for reason in ("Trailing Stop", "Take Profit", "Session End", "Other"):
        strategy = momentum()
        hold_and_close(strategy, "Stop Loss")
        hold_and_close(strategy, reason, position_id=8)
        assert green_ticks_needed(strategy) == 3, reason


def test_three_are_needed_again_after_an_entry_whose_close_was_never_told() -> None:
    strategy = momentum()
    hold_and_close(strategy, "Stop Loss")
    strategy.position = HELD._replace(position_id=8)
    see(strategy, [100])
    strategy.position = FLAT
    assert green_ticks_needed(strategy) == 3


def test_a_stop_loss_changes_nothing_with_the_control_switched_off() -> None:
    strategy = momentum(Enable_control_base_sl_green_ticks=False)
    hold_and_close(strategy, "Stop Loss")
    assert green_ticks_needed(strategy) == 3


def test_a_position_that_lived_between_two_ticks_counts_too() -> None:
    strategy = momentum()
    assert see(strategy, [100, 101, 102, 103])[-1] is not None
    strategy.on_position_closed(7, "Stop Loss")  # opened and stopped; no tick saw it
    assert green_ticks_needed(strategy) == 4


def test_instruments_keep_their_own_counts_and_stops() -> None:
    strategy = momentum()
    hold_and_close(strategy, "Stop Loss")
    assert green_ticks_needed(strategy, instrument=1) == 3
    assert green_ticks_needed(strategy, instrument=0) == 4
