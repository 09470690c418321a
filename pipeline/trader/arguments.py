"""What LiveTrader is made from: one configuration, and a strategy that can be loaded."""

from __future__ import annotations

from pathlib import Path

from pipeline.brokers.files import complete_live
from pipeline.errors import StrategyLoadError, UsageError, explain
from pipeline.settings import Settings, default_config, load_settings
from pipeline.strategy.loading import load_strategy
from pipeline.trader.config import settings_of

_OWN_FILE = "a strategy is imported by a process of its own"
_loading: list[Settings] = []  # not empty while a strategy's file is being imported


def settings_given(path: object, config_dict: object, frozen_config: object) -> Settings:
    """Return the settings that LiveTrader's arguments mean; without any, configs/paper.toml.

    Raises UsageError for two of them and SettingsError with every mistake in one.
    """
    given = {"config_path": path, "config_dict": config_dict, "frozen_config": frozen_config}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise UsageError(
            explain(
                f"LiveTrader({', '.join(named)})",
                rule="a trader has one configuration",
                cure="give one of them",
            )
        )
    if not named:
        return load_settings(default_config(), complete=complete_live)
    if path is None:
        return settings_of(given[named[0]], named[0], complete_live)
    if not isinstance(path, str | Path):
        raise UsageError(
            explain(
                f"LiveTrader() got a {type(path).__name__} as config_path",
                rule="the first argument is the path of a TOML file",
                cure="write LiveTrader(frozen_config=config)",
            )
        )
    return load_settings(Path(path), complete=complete_live)


def try_strategy(settings: Settings) -> None:
    """Load the strategy, so that its mistakes are told. Raises StrategyLoadError.

    A program that names itself as the strategy's file would start itself for ever.
    """
    if settings.strategy.use.startswith("__main__:"):
        raise _refusal(f"strategy.use = {settings.strategy.use!r}")
    if _loading:
        raise _refusal("importing the strategy's file made a LiveTrader")
    _loading.append(settings)
    try:
        load_strategy(settings.strategy)
    finally:
        _loading.clear()


def _refusal(what: str) -> StrategyLoadError:
    return StrategyLoadError(
        explain(
            what,
            rule=f"{_OWN_FILE}, which runs all that stands in its file at the left margin",
            cure='put the class into a file of its own: strategy.use = "that_file.py:Class"',
        )
    )
