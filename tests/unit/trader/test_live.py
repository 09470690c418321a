"""A LiveTrader before and after its runs: what it refuses, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import SettingsError, StrategyLoadError, UsageError
from pipeline.trader import LiveTrader

Config = dict[str, Any]


def test_by_default_it_polls_and_is_not_running(config: Config) -> None:
    trader = LiveTrader(frozen_config=config)
    assert trader.use_direct_callbacks is False
    assert (trader.is_running, trader.active_position_id, trader.results_path) == (
        False,
        None,
        None,
    )
    assert trader.broker.last_price == 0.0
    assert trader.statistics() == {}
    assert repr(trader) == "<LiveTrader not running>"


def test_a_path_a_dictionary_and_nothing_are_configurations(config: Config, configs: Path) -> None:
    path = configs / "guide.toml"
    of_path = LiveTrader(path).settings
    assert LiveTrader(config_path=str(path)).settings == of_path
    assert LiveTrader(config_dict=config).settings == of_path
    assert LiveTrader(frozen_config=of_path).settings is of_path
    assert LiveTrader().settings.run.name == "default"


def test_two_configurations_are_refused(config: Config) -> None:
    with pytest.raises(UsageError, match=r"LiveTrader\(config_dict, frozen_config\)"):
        LiveTrader(config_dict=config, frozen_config=config)


def test_a_path_in_the_place_of_the_dictionary_is_refused() -> None:
    with pytest.raises(SettingsError, match="frozen_config is a dictionary of sections"):
        LiveTrader(frozen_config="configs/guide.toml")  # type: ignore[arg-type]


def test_a_dictionary_in_the_place_of_the_path_is_refused(config: Config) -> None:
    with pytest.raises(UsageError, match=r"write LiveTrader\(frozen_config=config\)"):
        LiveTrader(config)  # type: ignore[arg-type]


def test_a_strategy_that_cannot_be_loaded_is_told_when_the_trader_is_made(config: Config) -> None:
    config["strategy"]["use"] = "no_such_module:Strategy"
    with pytest.raises(StrategyLoadError, match="no module 'no_such_module'"):
        LiveTrader(config_dict=config)


def test_a_strategy_of_the_program_itself_is_refused(config: Config) -> None:
    config["strategy"]["use"] = "__main__:Mine"
    with pytest.raises(StrategyLoadError, match="put the class into a file of its own"):
        LiveTrader(config_dict=config)


def test_a_program_that_names_itself_as_the_strategys_file_is_told_so(
    config: Config, tmp_path: Path, configs: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from pipeline import Strategy\n"
        "from pipeline.trader import LiveTrader\n"
        "class Mine(Strategy):\n"
        "    def on_tick(self, tick): ...\n"
        f"LiveTrader({str(configs / 'guide.toml')!r}).start()\n"
    )
    config["strategy"]["use"] = f"{program}:Mine"
    with pytest.raises(StrategyLoadError, match="importing the strategy's file made a LiveTrader"):
        LiveTrader(config_dict=config)
    LiveTrader(config_path=configs / "guide.toml")  # and it is no mistake that lasts


def test_a_misspelt_name_is_no_silent_new_one(config: Config) -> None:
    trader = LiveTrader(frozen_config=config)
    with pytest.raises(AttributeError, match="use_direct_callback"):
        trader.use_direct_callback = True  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="the nearest name is 'active_position_id'"):
        trader.active_position  # noqa: B018


@pytest.mark.parametrize("name", ["strategy", "position_manager", "results_exporter", "config"])
def test_the_names_of_the_guides_program_say_where_they_went(config: Config, name: str) -> None:
    trader = LiveTrader(frozen_config=config)
    with pytest.raises(AttributeError, match=rf"LiveTrader has no '{name}'\n  rule: .*\n  cure: "):
        getattr(trader, name)
    assert not hasattr(trader, name)


def test_without_a_run_stop_and_close_position_do_nothing(config: Config) -> None:
    trader = LiveTrader(frozen_config=config)
    trader.stop()
    trader.close_position("Manual")
    with pytest.raises(UsageError, match="risk writes the results when a run ends"):
        trader.results()


def test_a_reason_that_is_too_long_is_refused(config: Config) -> None:
    with pytest.raises(UsageError, match="a reason has at most 96 bytes"):
        LiveTrader(frozen_config=config).close_position("x" * 97)


def test_missing_secrets_are_told_before_anything_starts(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TICKPIPE_JWT", raising=False)
    config["feed"] = {"broker": "smartapi"}
    with pytest.raises(SettingsError, match="the environment lacks"):
        LiveTrader(frozen_config=config).start()


def test_what_is_no_result_box_is_told_before_anything_starts(config: Config) -> None:
    with pytest.raises(UsageError, match="result_box is 7"):
        LiveTrader(frozen_config=config).start(result_box=7)
