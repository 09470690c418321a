"""What the user can set: ``options`` declares it, ``files`` and ``secrets`` read it."""

from pipeline.settings.files import load_settings, parse_settings
from pipeline.settings.options import (
    LOOPBACK_HOSTS,
    CapitalSettings,
    ChannelSettings,
    FeedSettings,
    Instrument,
    Mode,
    PinningSettings,
    RiskSettings,
    RunSettings,
    Section,
    SessionSettings,
    Settings,
    StrategySettings,
    WaitingSettings,
    e4,
)
from pipeline.settings.page import settings_page
from pipeline.settings.secrets import (
    SECRET_NAMES,
    SECRETS_PREFIX,
    SIMULATOR_SECRETS,
    Secrets,
    load_secrets,
)
from pipeline.settings.values import SHARES, Exchange, Kind

__all__ = [
    "LOOPBACK_HOSTS",
    "SECRETS_PREFIX",
    "SECRET_NAMES",
    "SHARES",
    "SIMULATOR_SECRETS",
    "CapitalSettings",
    "ChannelSettings",
    "Exchange",
    "FeedSettings",
    "Instrument",
    "Kind",
    "Mode",
    "PinningSettings",
    "RiskSettings",
    "RunSettings",
    "Secrets",
    "Section",
    "SessionSettings",
    "Settings",
    "StrategySettings",
    "WaitingSettings",
    "e4",
    "load_secrets",
    "load_settings",
    "parse_settings",
    "settings_page",
]
