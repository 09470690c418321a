"""The recorded day in one process: 106 exits of 48 positions, row for row, to the paisa."""

from __future__ import annotations

import csv
import json
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.backtest import BacktestResult, backtest
from pipeline.brokers.recorded.files import read_ticks
from pipeline.results.files import read_results
from pipeline.risk.ledger import Ledger
from pipeline.settings import Settings, load_settings
from tests.money import at, instrument_of

PAISA = Decimal("0.01")


def paisa(amount: Decimal) -> Decimal:
    return amount.quantize(PAISA, ROUND_HALF_UP)


@pytest.fixture(scope="module")
def settings(configs: Path) -> Settings:
    return load_settings(configs / "guide.toml")


@pytest.fixture(scope="module")
def ticks(shared_data: Path, settings: Settings) -> NDArray[np.void]:
    name = "live_ticks_20251001_NIFTY_option.csv.gz"
    return read_ticks(shared_data / "nse_ticks" / name, settings.instruments)


@pytest.fixture(scope="module")
def result(settings: Settings, ticks: NDArray[np.void]) -> BacktestResult:
    return backtest(settings, ticks)


@pytest.fixture(scope="module")
def golden(shared_data: Path) -> list[dict[str, str]]:
    with (shared_data / "golden" / "trades_20251001.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def golden_config(shared_data: Path) -> dict[str, Any]:
    text = (shared_data / "golden" / "config_20251001.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


@pytest.mark.parametrize("section", ["session", "capital", "risk", "strategy", "instrument"])
def test_the_guide_s_configuration_is_the_recorded_one(
    settings: Settings, golden_config: dict[str, Any], section: str
) -> None:
    ours = settings.instruments[0] if section == "instrument" else getattr(settings, section)
    for name, value in golden_config[section].items():
        if name == "note":
            assert not settings.session.gates, value
        elif section == "session" and name in ("start", "end"):
            assert f"{getattr(ours, name):%H:%M}" == value, name
        elif isinstance(value, list):
            assert [float(part) for part in getattr(ours, name)] == value, name
        elif isinstance(value, float):
            assert float(getattr(ours, name)) == value, name
        else:
            assert getattr(ours, name) == value, name


def test_every_exit_is_the_golden_one(result: BacktestResult, golden: list[dict[str, str]]) -> None:
    ours = [
        (
            Decimal(trade.entry_price_e4) / 10_000,
            Decimal(trade.exit_price_e4) / 10_000,
            trade.quantity,
            trade.gross_pnl,
            paisa(trade.exit_charges),
            paisa(trade.gross_pnl - trade.exit_charges),
            trade.exit_reason,
        )
        for trade in result.trades
    ]
    theirs = [
        (
            Decimal(row["entry_price"]),
            Decimal(row["exit_price"]),
            int(row["qty"]),
            Decimal(row["gross_pnl"]),
            Decimal(row["commission"]),
            Decimal(row["net_pnl"]),
            row["exit_reason"],
        )
        for row in golden
    ]
    assert len(theirs) == 106
    assert ours == theirs


def test_the_sums_are_the_golden_ones(
    result: BacktestResult, golden: list[dict[str, str]], golden_config: dict[str, Any]
) -> None:
    exact = sum(trade.gross_pnl - trade.exit_charges for trade in result.trades)
    assert exact == Decimal("44671.45464525")
    assert float(paisa(Decimal(exact))) == golden_config["expected"]["sum_net_pnl"]
    rounded = sum(paisa(trade.gross_pnl - trade.exit_charges) for trade in result.trades)
    assert rounded == sum(Decimal(row["net_pnl"]) for row in golden) == Decimal("44671.51")


def test_the_final_cash_is_the_golden_one_and_follows_from_the_trades(
    result: BacktestResult, settings: Settings
) -> None:
    assert paisa(result.cash) == Decimal("142505.55")
    nets = sum(trade.net_pnl for trade in result.trades)
    assert result.cash == settings.capital.initial_capital + nets
    assert result.summary.net_pnl == nets


def test_the_day_ends_flat_without_a_session_end(
    result: BacktestResult, golden_config: dict[str, Any]
) -> None:
    expected = golden_config["expected"]
    reasons = [trade.exit_reason for trade in result.trades]
    assert {reason: reasons.count(reason) for reason in set(reasons)} == expected["by_reason"]
    assert len({trade.position_id for trade in result.trades}) == expected["positions"]
    assert result.ticks == expected["ticks"]
    assert result.statistics.position == 0
    assert (result.signals, result.refusals, result.failed) == (48, [], None)


def test_with_the_gates_on_the_day_is_flat_from_ten_past_three(
    configs: Path, ticks: NDArray[np.void]
) -> None:
    day = backtest(load_settings(configs / "guide.toml", ["session.gates=true"]), ticks)
    assert day.statistics.position == 0
    assert max(trade.exit_ns for trade in day.trades) < at("15:10:00")
    assert {refusal.code for refusal in day.refusals} == {"OUTSIDE_SESSION"}
    assert len(day.refusals) == 2  # the golden entries of 15:15:45 and 15:22:12


def test_with_the_charges_of_the_day_cash_is_still_the_initial_cash_and_all_nets(
    configs: Path, ticks: NDArray[np.void]
) -> None:
    """₹20 an order and STT of 0.1 % of the premium take a quarter of the day's profit."""
    settings = instrument_of(
        load_settings(configs / "guide.toml", ['risk.charges="zerodha"']), kind="option"
    )
    day = backtest(settings, ticks)
    assert day.cash == settings.capital.initial_capital + sum(t.net_pnl for t in day.trades)
    assert day.cash == Decimal("131350.15")
    assert all(trade.exit_charges % PAISA == 0 for trade in day.trades)
    assert all(trade.exit_charges >= 20 for trade in day.trades)


def test_with_the_calendar_a_day_that_it_does_not_have_has_no_entry(
    configs: Path, ticks: NDArray[np.void]
) -> None:
    overrides = ["session.gates=true", "session.calendar=true"]
    day = backtest(load_settings(configs / "guide.toml", overrides), ticks)
    assert day.trades == []
    assert {refusal.code for refusal in day.refusals} == {"MARKET_CLOSED"}
    assert "date=2025-10-01 exchange=NFO" in day.refusals[0].context


def test_with_the_gates_on_a_position_open_at_the_flat_time_ends_with_the_session(
    configs: Path, ticks: NDArray[np.void]
) -> None:
    """The golden day holds nothing at 15:10, but a position at 14:40: the session ends at 15:00."""
    overrides = ["session.gates=true", 'session.end="15:00"']
    day = backtest(load_settings(configs / "guide.toml", overrides), ticks)
    last = day.trades[-1]
    first_after = np.flatnonzero(ticks["ts_event_ns"] >= at("14:40:00"))[0]
    assert (last.exit_reason, last.exit_seq) == ("Session End", first_after + 1)
    assert last.exit_price_e4 == ticks["price_e4"][first_after]
    assert [t.exit_reason for t in day.trades].count("Session End") == 1


def test_a_day_that_stops_with_a_position_open_closes_it_at_the_last_price(
    settings: Settings, ticks: NDArray[np.void], result: BacktestResult
) -> None:
    entry = result.trades[0].entry_seq
    short = backtest(settings, ticks[: entry + 1])
    (trade,) = short.trades
    assert (trade.exit_reason, trade.exit_seq) == ("Session End", entry + 1)
    assert trade.exit_price_e4 == ticks["price_e4"][entry]


def test_the_same_day_twice_gives_the_same_trades(
    settings: Settings, ticks: NDArray[np.void], result: BacktestResult, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.sqlite"
    again = backtest(settings, ticks, ledger_path=path)
    assert again.trades == result.trades
    with Ledger.open(path) as ledger:
        assert ledger.trades() == result.trades
        assert sum(len(fills) for _, fills in ledger.orders()) == 154


def test_the_results_file_says_what_was_run_and_what_came_of_it(
    result: BacktestResult, settings: Settings, tmp_path: Path
) -> None:
    run = settings.run.model_copy(update={"results_dir": tmp_path})
    path = result.write(settings.model_copy(update={"run": run}), source="day.csv.gz")
    parameters, rows = read_results(path)
    assert len(rows) == 106
    expected = {
        "Data Source": "day.csv.gz",
        "Ticks": "32591",
        "Signals": "48",
        "Refused Signals": "0",
        "risk.base_sl_points": "15.0",
        "Positions": "48",
        "Final Cash": "142505.55",
    }
    assert {name: parameters[name] for name in expected} == expected
