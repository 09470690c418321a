"""The guide's configuration is taken, and what is not says what to do about it."""

from __future__ import annotations

import json
from datetime import time
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from pipeline.errors import SettingsError
from pipeline.settings import Mode, load_settings
from pipeline.trader.arguments import settings_given
from pipeline.trader.config import FIXED, MOVED, REFUSED, settings_of

Config = dict[str, Any]
DUMP = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,"
    "lot_size,instrument_type,segment,exchange\n"
    "15094530,58963,NIFTYCE,NIFTY,0,2099-12-31,26000,0.05,65,CE,NFO-OPT,NFO\n"
)


@pytest.fixture
def guides() -> Config:
    """Return a configuration in the guide's own names, with what it needs here."""
    return {
        "instrument": {
            "symbol": "NIFTY", "exchange": "NFO", "product_type": "INTRADAY",
            "instrument_token": 58963, "lot_size": 75,
        },
        "session": {
            "gates": True, "is_intraday": True, "timezone": "Asia/Kolkata",
            "start_hour": 9, "start_min": 15, "end_hour": 15, "end_min": 30,
            "start_buffer_minutes": 5, "end_buffer_minutes": 20,
            "no_trade_start_minutes": 5, "no_trade_end_minutes": 10,
        },
        "capital": {"initial_capital": 100000.0},
        "risk": {
            "max_positions_per_day": 100, "base_sl_points": 15.0,
            "tp_points": [5.0, 12.0, 20.0, 30.0], "tp_percents": [0.4, 0.3, 0.2, 0.1],
            "use_trail_stop": True, "trail_activation_points": 5.0, "trail_distance_points": 5.0,
            "commission_percent": 0.03, "commission_per_trade": 0.0, "stt_percent": 0.025,
            "exchange_charges_percent": 0.003, "gst_percent": 18.0, "slippage_points": 0.0,
            "tick_size": 0.05,
        },
        "strategy": {
            "use_ema_crossover": True, "use_macd": False, "use_consecutive_green": True,
            "fast_ema": 18, "slow_ema": 42, "consecutive_green_bars": 3,
            "control_base_sl_enabled": True, "control_base_sl_green_ticks": 4,
            "min_warmup_ticks": 50, "noise_filter_enabled": False, "nan_streak_threshold": 9,
        },
        "data_simulation": {"enabled": True, "file_path": "day.csv"},
    }  # fmt: skip


def refusal(config: object) -> str:
    with pytest.raises(SettingsError) as caught:
        settings_of(config, "frozen_config")
    return str(caught.value)


def test_the_guides_names_become_ours(guides: Config) -> None:
    settings = settings_of(guides, "config_dict")
    (instrument,) = settings.instruments
    assert (instrument.symbol, instrument.token, str(instrument.tick_size)) == (
        "NIFTY",
        "58963",
        "0.05",
    )
    assert (settings.session.start, settings.session.end) == (time(9, 15), time(15, 30))
    assert settings.strategy.failures_max == 9
    assert settings.strategy.Enable_control_base_sl_green_ticks
    assert settings.waiting.mode is Mode.POLL


def test_a_simulated_file_is_played_in_lockstep(guides: Config) -> None:
    settings = settings_of(guides, "config_dict")
    assert (settings.feed.broker, settings.feed.recording) == ("recorded", Path("day.csv"))
    assert settings.channels.lockstep


def test_without_a_simulated_file_live_means_smartapi(guides: Config) -> None:
    guides["data_simulation"] = {"enabled": False, "file_path": ""}
    guides["live"] = {"paper_trading": True, "feed_type": "LTP"}
    settings = settings_of(guides, "config_dict")
    assert (settings.feed.broker, settings.feed.mode) == ("smartapi", "ltp")
    assert not settings.channels.lockstep


def test_a_frozen_configuration_is_taken_and_left_as_it_is(guides: Config) -> None:
    frozen = MappingProxyType({k: MappingProxyType(v) for k, v in guides.items()})
    before = json.dumps(guides)
    assert settings_of(frozen, "frozen_config") == settings_of(guides, "config_dict")
    assert json.dumps(guides) == before


def test_the_configurations_that_ship_mean_what_they_mean_to_the_command(
    config: Config, configs: Path
) -> None:
    assert settings_of(config, "config_dict") == load_settings(configs / "guide.toml")


def test_settings_are_taken_as_they_are(config: Config) -> None:
    settings = settings_of(config, "config")
    assert settings_of(settings, "config") is settings


def test_the_golden_configuration_is_taken_with_what_it_lacks(
    shared_data: Path, config: Config
) -> None:
    text = (shared_data / "golden" / "config_20251001.json").read_text(encoding="utf-8")
    golden = json.loads(text)
    del golden["source_run"], golden["expected"], golden["session"]["note"]
    message = refusal(golden)
    assert "feed: missing; it says where ticks come from" in message
    assert "instrument.symbol: missing (Name in results and logs)" in message
    assert "instrument.token: missing" in message
    assert "session.gates: missing" in message
    golden["instrument"] |= {"symbol": "NIFTY-OPTION", "token": "58963"}
    golden["session"]["gates"] = False
    golden["feed"] = config["feed"]
    ours = settings_of(config | {"waiting": {"mode": "poll"}}, "ours")
    assert settings_of(golden, "golden") == ours


def test_every_mistake_is_told_at_once_with_its_cure(guides: Config) -> None:
    guides["risk"]["base_sl_pionts"] = 10.0
    guides["risk"]["risk_per_trade_percent"] = 5.0
    guides["strategy"]["use_macd"] = True
    guides["logging"] = {"verbosity": "INFO"}
    guides["live"] = {"api_key": "abc-secret", "paper_trading": False}
    message = refusal(guides)
    assert message.startswith("frozen_config: 6 mistake(s)\n")
    for told in (
        "risk.base_sl_pionts: unknown key; the nearest valid name is 'base_sl_points'",
        "risk.risk_per_trade_percent: leave it out: an entry buys as many lots as the cash pays",
        "strategy.use_macd: only False is available, got True",
        "logging: leave it out: the level of the log is run.log_level",
        "live.api_key: leave it out: secrets come from the environment",
        "live.paper_trading: only True is available, got False",
    ):
        assert told in message
    assert "abc-secret" not in message


def test_a_secret_under_our_own_names_is_refused_unseen(config: Config) -> None:
    config["feed"]["jwt"] = "very-secret"
    message = refusal(config)
    assert "feed.jwt is a secret (value not shown)" in message
    assert "very-secret" not in message


@pytest.mark.parametrize("nonsense", [None, 7, "configs/guide.toml", ["feed"]])
def test_what_is_no_dictionary_is_refused(nonsense: object) -> None:
    assert "frozen_config is a dictionary of sections" in refusal(nonsense)


def test_hours_that_are_none_are_refused_under_the_guides_name(guides: Config) -> None:
    guides["session"]["start_hour"] = "nine"
    message = refusal(guides)
    assert "session.start_hour: unknown key" in message
    assert "session.start: missing" in message


def test_no_name_of_the_guide_is_in_two_tables() -> None:
    assert len({*MOVED, *FIXED, *REFUSED}) == len(MOVED) + len(FIXED) + len(REFUSED)


def test_a_dictionary_may_leave_the_contract_to_the_brokers_dump(
    guides: Config, tmp_path: Path
) -> None:
    (tmp_path / "instruments.csv").write_text(DUMP)
    named = {"symbol": "NIFTYCE", "exchange": "NFO", "product_type": "INTRADAY"}
    feed = {"broker": "kite", "mode": "full", "instruments_file": str(tmp_path / "instruments.csv")}
    del guides["risk"]["tick_size"]
    settings = settings_given(None, guides | {"instrument": named, "feed": feed}, None)
    (instrument,) = settings.instruments
    assert (instrument.token, instrument.lot_size, str(instrument.tick_size)) == (
        "15094530",
        65,
        "0.05",
    )
