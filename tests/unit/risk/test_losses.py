"""Daily loss, drawdown and cool-down."""

from __future__ import annotations

import pytest

from pipeline.risk.losses import Breach, CoolDown, Losses
from pipeline.risk.reasons import Reason
from tests.money import at, e4_of, guide

TEN = at("10:00:00")
NEXT_DAY = at("10:00:00", "2025-10-03")


def losses(*overrides: str) -> Losses:
    return Losses(guide(*overrides).risk)


def test_a_loss_of_the_day_counts_from_its_first_look() -> None:
    daily = losses("risk.daily_loss_max=1000.0")
    assert daily.look(e4_of(100_000), TEN) is None
    assert daily.look(e4_of(105_000), TEN) is None
    assert daily.look(e4_of("99000.01"), TEN) is None
    assert daily.look(e4_of(99_000), TEN) == Breach(Reason.DAILY_LOSS, "loss=1000 max=1000")
    assert daily.look(e4_of(99_000), NEXT_DAY) is None
    assert daily.look(e4_of(98_000), NEXT_DAY) is not None


@pytest.mark.parametrize("other_ns", [0, at("23:59:59", "2025-09-30")])
def test_a_time_that_is_absent_or_of_the_day_before_begins_no_day(other_ns: int) -> None:
    daily = losses("risk.daily_loss_max=1000.0")
    for equity, now_ns in ((100_000, TEN), (99_500, other_ns), (99_500, TEN)):
        assert daily.look(e4_of(equity), now_ns) is None
    assert daily.look(e4_of(99_000), other_ns) is not None


def test_a_drawdown_counts_from_the_highest_equity_of_the_run() -> None:
    drawdown = losses("risk.drawdown_max=1000.0")
    assert drawdown.look(e4_of(100_000), TEN) is None
    assert drawdown.look(e4_of(105_000), TEN) is None
    assert drawdown.look(e4_of("104000.01"), NEXT_DAY) is None
    assert drawdown.look(e4_of("103999.5"), NEXT_DAY) == Breach(
        Reason.MAX_DRAWDOWN, "loss=1000.5 max=1000"
    )


def test_without_limits_nothing_is_watched() -> None:
    assert not losses().watched
    assert losses().look(-e4_of(10**9), TEN) is None


def test_within_the_room_nothing_is_reached_and_one_step_below_it_is() -> None:
    both = losses("risk.daily_loss_max=1000.0", "risk.drawdown_max=600.0")
    for equity in (100_000, 100_500, 100_200):
        assert both.look(e4_of(equity), TEN) is None
    down_e4, up_e4 = both.room()
    assert (down_e4, up_e4) == (e4_of(300) - 1, e4_of(300))
    assert both.look(e4_of(100_200) - down_e4, TEN) is None
    assert both.look(e4_of(99_900), TEN) is not None


def test_a_look_is_due_with_a_new_day() -> None:
    daily = losses("risk.daily_loss_max=1000.0")
    daily.look(e4_of(100_000), TEN)
    assert daily.day_ends_ns == at("00:00:00", "2025-10-02")


COOLING = ("risk.cool_down_stops=2", "risk.cool_down_minutes=15")


def test_entries_pause_after_stop_losses_in_a_row() -> None:
    cool_down = CoolDown(guide(*COOLING).risk)
    cool_down.closed(Reason.STOP_LOSS, TEN)
    assert cool_down.until_ns == 0
    cool_down.closed(Reason.STOP_LOSS, TEN)
    assert cool_down.until_ns == at("10:15:00")


def test_another_exit_between_two_stop_losses_is_no_row() -> None:
    cool_down = CoolDown(guide(*COOLING).risk)
    for reason in (Reason.STOP_LOSS, Reason.TRAILING_STOP, Reason.STOP_LOSS):
        cool_down.closed(reason, TEN)
    assert cool_down.until_ns == 0


def test_after_the_pause_the_row_begins_anew() -> None:
    cool_down = CoolDown(guide(*COOLING).risk)
    for _ in range(3):
        cool_down.closed(Reason.STOP_LOSS, TEN)
    cool_down.closed(Reason.STOP_LOSS, at("11:00:00"))
    assert cool_down.until_ns == at("11:15:00")


def test_without_the_setting_nothing_pauses() -> None:
    cool_down = CoolDown(guide().risk)
    for _ in range(9):
        cool_down.closed(Reason.STOP_LOSS, TEN)
    assert cool_down.until_ns == 0
