"""Stop, trailing stop, targets and session end, tick by tick. Entry at 100 ₹ unless said."""

from __future__ import annotations

import pytest

from pipeline.records import ExitKind
from pipeline.risk.exits import (
    NEVER_NS,
    Exit,
    ExitRules,
    ExitWatch,
    exits_due,
)
from pipeline.risk.reasons import kind_of, target_number
from tests.money import e4_of, guide

RULES = ExitRules.of(guide().risk)
NO_TARGETS = ExitRules.of(guide("risk.tp_points=[]", "risk.tp_percents=[]").risk)


def watch_of(rules: ExitRules = RULES, lots: int = 10, flat_ns: int = NEVER_NS) -> ExitWatch:
    return ExitWatch(rules, e4_of(100), lots, flat_ns)


def walk(
    watch: ExitWatch, *prices: float, lots: int | None = None, now_ns: int = 0
) -> list[list[Exit]]:
    """Give ``prices`` in turn and return the exits of each tick."""
    left = watch.lots if lots is None else lots
    exits = []
    for price in prices:
        due = list(exits_due(watch, e4_of(price), now_ns, left))
        left -= sum(exit.lots for exit in due)
        exits.append(due)
    return exits


def test_the_stop_loss_sells_everything_at_entry_less_the_stop_and_not_before() -> None:
    assert walk(watch_of(), 100, 85.05, 85) == [[], [], [Exit("Stop Loss", 10)]]


def test_a_price_that_gaps_through_the_stop_is_a_stop_loss() -> None:
    assert walk(watch_of(), 60) == [[Exit("Stop Loss", 10)]]


def test_the_trailing_stop_arms_at_the_activation_and_not_before() -> None:
    assert walk(watch_of(NO_TARGETS), 104.95, 99.95) == [[], []]
    assert walk(watch_of(NO_TARGETS), 105, 100) == [[], [Exit("Trailing Stop", 10)]]


def test_the_trailing_stop_follows_the_high_and_never_falls() -> None:
    watch = watch_of(NO_TARGETS)
    assert walk(watch, 105, 112, 108, 107.05) == [[], [], [], []]
    assert watch.stop_e4 == e4_of(107)
    assert walk(watch, 107) == [[Exit("Trailing Stop", 10)]]


def test_once_armed_the_base_stop_still_comes_first() -> None:
    assert walk(watch_of(NO_TARGETS), 105, 85) == [[], [Exit("Stop Loss", 10)]]


def test_without_a_trailing_stop_a_high_arms_nothing() -> None:
    settings = guide("risk.use_trail_stop=false", "risk.tp_points=[]", "risk.tp_percents=[]")
    rules = ExitRules.of(settings.risk)
    assert walk(watch_of(rules), 130, 86) == [[], []]


def test_each_target_sells_its_part_of_the_initial_lots_and_the_last_the_rest() -> None:
    assert walk(watch_of(), 105, 112, 120, 130) == [
        [Exit("Take Profit 1", 4)],
        [Exit("Take Profit 2", 3)],
        [Exit("Take Profit 3", 2)],
        [Exit("Take Profit 4", 1)],
    ]


def test_a_target_fires_once() -> None:
    assert walk(watch_of(), 105, 104, 105, 106) == [[Exit("Take Profit 1", 4)], [], [], []]


def test_a_jump_over_several_targets_fires_each_of_them_on_that_tick() -> None:
    assert walk(watch_of(), 121) == [
        [Exit("Take Profit 1", 4), Exit("Take Profit 2", 3), Exit("Take Profit 3", 2)]
    ]


@pytest.mark.parametrize(
    ("lots", "sold"),
    [
        (1, [1]),  # the first target sells all there is
        (2, [1, 1]),
        (3, [1, 1, 1]),
        (4, [1, 1, 1, 1]),
        (5, [2, 1, 1, 1]),
        (9, [3, 2, 1, 3]),
        (29, [11, 8, 5, 5]),
    ],
)
def test_parts_are_rounded_down_to_lots_at_least_one_at_most_what_is_left(
    lots: int, sold: list[int]
) -> None:
    (exits,) = walk(watch_of(lots=lots), 140)
    assert [exit.lots for exit in exits] == sold


def test_the_parts_are_decimal_and_not_binary() -> None:
    rules = ExitRules.of(guide("risk.tp_points=[5.0, 6.0]", "risk.tp_percents=[0.29, 0.1]").risk)
    (exits,) = walk(watch_of(rules, lots=100), 105)  # int(100 * 0.29) is 28 in binary
    assert exits == [Exit("Take Profit 1", 29)]


def test_from_the_flat_time_on_everything_is_sold_whatever_the_price() -> None:
    assert walk(watch_of(flat_ns=1_000), 100, now_ns=999) == [[]]
    assert walk(watch_of(flat_ns=1_000), 100, now_ns=1_000) == [[Exit("Session End", 10)]]
    assert walk(watch_of(flat_ns=1_000), 85, now_ns=1_000) == [[Exit("Session End", 10)]]


def test_with_everything_on_its_way_out_nothing_more_is_sold() -> None:
    assert walk(watch_of(), 85, lots=0) == [[]]
    assert walk(watch_of(), 131, lots=0) == [[]]


def test_the_extremes_are_those_of_every_tick_the_exit_included() -> None:
    watch = watch_of()
    walk(watch, 103, 97, 131, 84)
    assert (watch.low_e4, watch.high_e4) == (e4_of(84), e4_of(131))


def test_an_activation_of_zero_arms_at_the_first_price_that_is_not_below_the_entry() -> None:
    rules = ExitRules.of(guide("risk.trail_activation_points=0.0").risk)
    watch = watch_of(rules)
    walk(watch, 99.9)
    assert not watch.armed
    assert not watch.quiet_low_e4 <= e4_of(100) <= watch.quiet_high_e4
    walk(watch, 100)
    assert watch.armed


@pytest.mark.parametrize("before", [(), (103,), (97,), (105,), (113, 109), (104.95, 86)])
def test_inside_the_quiet_band_a_tick_changes_nothing(before: tuple[float, ...]) -> None:
    watch = watch_of()
    walk(watch, *before)
    state = (watch.low_e4, watch.high_e4, watch.stop_e4, watch.armed, watch.targets_reached)
    for price_e4 in (watch.quiet_low_e4, watch.quiet_high_e4):
        if watch.quiet_low_e4 <= price_e4 <= watch.quiet_high_e4:
            assert not exits_due(watch, price_e4, 0, 10)
        after = (watch.low_e4, watch.high_e4, watch.stop_e4, watch.armed, watch.targets_reached)
        assert after == state


def test_just_outside_the_quiet_band_something_changes() -> None:
    watch = watch_of()
    walk(watch, 103, 97)
    assert watch.quiet_high_e4 == e4_of(103)
    assert watch.quiet_low_e4 == e4_of(97)


def rules_of(*overrides: str) -> ExitRules:
    return ExitRules.of(guide("risk.tp_points=[]", "risk.tp_percents=[]", *overrides).risk)


BREAKEVEN = rules_of(
    "risk.use_trail_stop=false",
    "risk.breakeven_gain_points=10.0",
    "risk.breakeven_stop_points=0.5",
)


def test_after_its_gain_the_breakeven_stop_closes_just_better_than_the_entry() -> None:
    assert walk(watch_of(BREAKEVEN), 109.95, 100.5) == [[], []]
    watch = watch_of(BREAKEVEN)
    assert walk(watch, 110, 100.55) == [[], []]
    assert watch.stop_e4 == e4_of("100.5")
    assert walk(watch, 100.5) == [[Exit("Breakeven Stop", 10)]]


def test_a_gap_through_breakeven_and_stop_is_a_stop_loss() -> None:
    assert walk(watch_of(BREAKEVEN), 110, 85) == [[], [Exit("Stop Loss", 10)]]


def test_the_higher_of_breakeven_and_trailing_stop_closes() -> None:
    both = rules_of("risk.breakeven_gain_points=5.0", "risk.trail_distance_points=8.0")
    assert walk(watch_of(both), 105, 99) == [[], [Exit("Breakeven Stop", 10)]]
    assert walk(watch_of(both), 112, 104) == [[], [Exit("Trailing Stop", 10)]]


def test_a_position_that_is_too_old_is_closed_after_the_stops_and_before_the_targets() -> None:
    rules = ExitRules.of(guide("risk.time_limit_minutes=2").risk)
    minute_ns = 60_000_000_000

    def old(now_ns: int, price: float) -> list[list[Exit]]:
        watch = ExitWatch(rules, e4_of(100), 10, entry_ns=5 * minute_ns)
        assert watch.due_ns == 7 * minute_ns
        return walk(watch, price, now_ns=now_ns)

    assert old(7 * minute_ns - 1, 100) == [[]]
    assert old(7 * minute_ns, 100) == [[Exit("Time Limit", 10)]]
    assert old(7 * minute_ns, 130) == [[Exit("Time Limit", 10)]]
    assert old(7 * minute_ns, 85) == [[Exit("Stop Loss", 10)]]


def test_a_short_position_is_stopped_above_its_entry_and_taken_below() -> None:
    def short() -> ExitWatch:
        return ExitWatch(RULES, e4_of(100), 10, sign=-1)

    assert short().stop_e4 == e4_of(115)
    assert walk(short(), 114.95, 115) == [[], [Exit("Stop Loss", 10)]]
    assert walk(short(), 95) == [[Exit("Take Profit 1", 4)]]
    assert walk(short(), 95, 100) == [[Exit("Take Profit 1", 4)], [Exit("Trailing Stop", 6)]]
    watch = short()
    walk(watch, 103, 96)
    assert (watch.low_e4, watch.high_e4) == (e4_of(96), e4_of(103))


def test_a_lower_entry_price_has_its_target_seen_within_what_was_the_quiet_band() -> None:
    watch = watch_of()
    walk(watch, 103)
    watch.restart(e4_of(97), 20)
    assert watch.quiet_high_e4 < e4_of(102)
    assert walk(watch, 102) == [[Exit("Take Profit 1", 8)]]


def test_another_entry_price_moves_the_stop_and_keeps_what_was_seen() -> None:
    watch = watch_of()
    walk(watch, 103, 97)
    watch.restart(e4_of(104), 20)
    assert watch.stop_e4 == e4_of(89)
    assert (watch.low_e4, watch.high_e4, watch.lots) == (e4_of(97), e4_of(104), 20)


@pytest.mark.parametrize(
    ("reason", "kind", "number"),
    [
        ("Stop Loss", ExitKind.STOP_LOSS, 0),
        ("Trailing Stop", ExitKind.TRAILING_STOP, 0),
        ("Take Profit 1", ExitKind.TAKE_PROFIT, 1),
        ("Take Profit 12", ExitKind.TAKE_PROFIT, 12),
        ("Session End", ExitKind.SESSION_END, 0),
        ("Breakeven Stop", ExitKind.BREAKEVEN_STOP, 0),
        ("Time Limit", ExitKind.TIME_LIMIT, 0),
        ("Strategy Signal: Take Profit 1", ExitKind.OTHER, 0),
        ("Take Profit ²", ExitKind.OTHER, 0),
        ("Keyboard Interrupt", ExitKind.OTHER, 0),
    ],
)
def test_a_reason_has_a_kind(reason: str, kind: ExitKind, number: int) -> None:
    assert (kind_of(reason), target_number(reason)) == (kind, number)
