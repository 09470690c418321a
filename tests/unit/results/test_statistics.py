"""Figures from trades, and n/a where the sample cannot give them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pipeline.results.statistics import Summary, money, summarise
from tests.money import at, trade

START = Decimal(1_000)


def summary_of(*nets: float | str) -> Summary:
    trades = [trade(net, trade_id=number) for number, net in enumerate(nets, start=1)]
    return summarise(trades, START)


def shown(summary: Summary) -> dict[str, str]:
    return {name: value for name, value, _ in summary.figures()}


def test_counts_and_sums() -> None:
    trades = [
        trade(30, trade_id=1, charges=2, position_id=1),
        trade(-10, trade_id=2, charges=1, position_id=1),
        trade(0, trade_id=3, position_id=2),
    ]
    figures = shown(summarise(trades, START))
    assert {name: figures[name] for name in list(figures)[:9]} == {
        "Positions": "2",
        "Trades": "3",
        "Winning Trades": "1",
        "Losing Trades": "1",
        "Win Rate %": "33.33",
        "Gross P&L": "23.00",
        "Charges": "3.00",
        "Net P&L": "20.00",
        "Final Cash": "1020.00",
    }


def test_profit_factor_is_wins_over_losses() -> None:
    assert summary_of(30, -10, 15, -5).profit_factor == 3


def test_expectancy_is_share_of_wins_times_win_less_share_of_losses_times_loss() -> None:
    wins, losses = Decimal(3) / 4, Decimal(1) / 4
    assert summary_of(10, 20, 30, -40).expectancy == wins * 20 - losses * 40


def test_drawdown_is_measured_from_the_highest_equity_so_far() -> None:
    summary = summary_of(500, -300, 100, -450, 1000)  # 1500, 1200, 1300, 850
    assert summary.max_drawdown == -650
    assert summary.max_drawdown_part == Decimal(850) / 1500 - 1
    assert shown(summary)["Max Drawdown %"] == "-43.33"


def test_drawdown_counts_the_start_as_a_high() -> None:
    assert summary_of(-100, 50).max_drawdown == -100
    assert summary_of(-100, 50).max_drawdown_part == Decimal("-0.1")


def test_the_deepest_fall_in_rupees_and_in_percent_may_be_two_falls() -> None:
    summary = summary_of(-500, 9_500, -1_000)  # 500; 10 000; 9 000
    assert summary.max_drawdown == -1_000
    assert summary.max_drawdown_part == Decimal("-0.5")


def test_best_worst_and_average_duration() -> None:
    trades = [
        trade(5, trade_id=1, exit_ns=at("10:01:00")),
        trade(-7, trade_id=2, exit_ns=at("10:02:00")),
    ]
    figures = shown(summarise(trades, START))
    assert figures["Best Trade"] == "5.00"
    assert figures["Worst Trade"] == "-7.00"
    assert figures["Average Duration (min)"] == "1.50"


def test_without_trades_what_needs_one_is_not_available() -> None:
    figures = shown(summary_of())
    needing = ("Win Rate %", "Expectancy", "Best Trade", "Worst Trade", "Average Duration (min)")
    assert {figures[name] for name in needing} == {"n/a (needs a trade)"}
    assert figures["Profit Factor"] == "n/a (needs a losing trade)"
    assert (figures["Net P&L"], figures["Max Drawdown"], figures["Final Cash"]) == (
        "0.00",
        "0.00",
        "1000.00",
    )


def test_without_a_loss_there_is_no_profit_factor() -> None:
    assert shown(summary_of(5, 0))["Profit Factor"] == "n/a (needs a losing trade)"


def test_every_figure_has_its_formula() -> None:
    assert all(figure.formula for figure in summary_of().figures())


@pytest.mark.parametrize(
    ("amount", "text"), [("1.005", "1.01"), ("-1.005", "-1.01"), ("1.0049", "1.00"), ("2", "2.00")]
)
def test_money_is_rounded_half_up_to_the_paisa(amount: str, text: str) -> None:
    assert money(Decimal(amount)) == text
