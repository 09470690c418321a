"""From the guide's configuration dictionary to Settings. Pure.

Every section and key of docs/settings.md is taken, and the guide's own names in the tables below.
A key of the guide that has no meaning here is refused with what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.errors import SettingsError, explain
from pipeline.settings import Complete, Settings, as_written, check_settings, mistaken

Table = dict[str, Any]

MOVED = {  # the guide's key -> ours
    "instrument.instrument_token": "instrument.token",
    "risk.tick_size": "instrument.tick_size",
    "strategy.nan_streak_threshold": "strategy.failures_max",
    "strategy.control_base_sl_enabled": "strategy.Enable_control_base_sl_green_ticks",
    "live.feed_type": "feed.mode",
    "data_simulation.file_path": "feed.recording",
}
_SPELT: dict[str, Callable[[Any], object]] = {
    "live.feed_type": lambda mode: str(mode).lower(),
    "instrument.instrument_token": str,
}
_OFF = ("macd", "vwap", "rsi_filter", "htf_trend", "bollinger_bands", "stochastic", "atr")
FIXED: dict[str, object] = {  # taken with this value and with no other: it is so here
    **{f"strategy.use_{name}": False for name in _OFF},
    "strategy.use_consecutive_green": True,
    "strategy.indicator_update_mode": "tick",
    "session.is_intraday": True,
    "session.timezone": "Asia/Kolkata",
    "live.paper_trading": True,
}
_SECRET = "secrets come from the environment, see configs/live.example.toml"
_LOTS = "an entry buys as many lots as the cash pays"
REFUSED = {  # sections and keys of the guide, and why to leave them out
    "debug": "nothing here reads it",
    "debug_production": "nothing here reads it",
    "logging": "the level of the log is run.log_level",
    "backtest": "`tickpipe backtest` takes the same sections as a live run",
    "instrument_mappings": "lot_size and tick_size stand in instrument",
    **{f"live.{name}": _SECRET for name in ("api_key", "client_code", "pin", "totp_secret")},
    "risk.risk_per_trade_percent": _LOTS,
    "risk.max_position_value_percent": _LOTS,
    "strategy.nan_recovery_threshold": "one good tick sets the count back",
}
_GUIDES_OWN = ("live", "data_simulation")  # sections that say where ticks come from
_NO_FEED = (
    'feed: missing; it says where ticks come from, for example {"broker": "recorded", '
    '"recording": "day.csv"} for a file, or {"broker": "smartapi"} for SmartAPI'
)


def settings_of(config: object, source: str, complete: Complete = as_written) -> Settings:
    """Return ``config``, a mapping in the guide's shape or in ours (or Settings), as Settings.

    ``source`` is what a message calls it; ``complete`` may add to it. Raises SettingsError with
    every mistake at once.
    """
    if isinstance(config, Settings):
        return config
    if not isinstance(config, Mapping):
        raise SettingsError(
            explain(
                f"{source} is {config!r}",
                rule=f"{source} is a dictionary of sections",
                cure='for example tomllib.loads(Path("configs/paper.toml").read_text())',
            )
        )
    mistakes: list[str] = []
    table = _in_our_words(_plain(config), mistakes)
    settings, more = check_settings(complete(table, source), source)
    if settings is None or mistakes:
        mistakes += [mistake.replace("instruments.0.", "instrument.") for mistake in more]
        cure = "correct these keys; docs/user-guide-callbacks.md has the guide's names and ours"
        raise mistaken(source, mistakes, cure)
    return settings


def _plain(value: Any) -> Any:
    """Return ``value`` with every mapping in it, a frozen one too, as a new dict."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _in_our_words(config: Table, mistakes: list[str]) -> Table:
    """Return ``config`` with our keys; what is refused goes to ``mistakes``."""
    _join_hours(config)
    ours: Table = {}
    for section, content in _with_source(config).items():
        if section in REFUSED:
            mistakes.append(f"{section}: leave it out: {REFUSED[section]}")
        elif isinstance(content, dict):
            _take_section(section, content, ours, mistakes)
        else:
            ours[section] = content
    if "instrument" in ours and "instruments" not in ours:
        ours["instruments"] = [ours.pop("instrument")]
    if "feed" not in ours:
        mistakes.append(_NO_FEED)
        ours["feed"] = {"broker": "smartapi"}  # so that it is told once
    ours.setdefault("waiting", {"mode": "poll"})  # use_direct_callbacks decides
    return ours


def _take_section(section: str, content: Table, ours: Table, mistakes: list[str]) -> None:
    if section not in _GUIDES_OWN:
        ours.setdefault(section, {})
    for key, value in content.items():
        name = f"{section}.{key}"
        if name in REFUSED:
            mistakes.append(f"{name}: leave it out: {REFUSED[name]}")
        elif name in FIXED:
            if value != FIXED[name]:
                mistakes.append(f"{name}: only {FIXED[name]!r} is available, got {value!r}")
        else:
            there, our_key = (MOVED[name] if name in MOVED else name).split(".", 1)
            ours.setdefault(there, {})[our_key] = _SPELT[name](value) if name in _SPELT else value


def _with_source(config: Table) -> Table:
    """Return ``config`` with the source of ticks that the guide's sections mean.

    The guide's file simulation waited for its loop, so a file is played in lockstep.
    """
    config = {**config}
    simulation = config.pop("data_simulation", {})
    if isinstance(simulation, dict) and simulation.pop("enabled", False):
        config["data_simulation"] = simulation
        config["feed"] = {"broker": "recorded"} | config.pop("feed", {})
        config["channels"] = {"lockstep": True} | config.pop("channels", {})
    elif "live" in config:
        config["feed"] = {"broker": "smartapi"} | config.pop("feed", {})
    return config


def _join_hours(config: Table) -> None:
    """start_hour = 9 and start_min = 15 are start = "09:15" here, and the end likewise."""
    hours = config["session"] if "session" in config else None
    for edge in ("start", "end"):
        names = (f"{edge}_hour", f"{edge}_min")
        if isinstance(hours, dict) and all(isinstance(hours.get(name), int) for name in names):
            hour, minute = (hours.pop(name) for name in names)
            hours[edge] = f"{hour:02}:{minute:02}"
