"""What the user can set: ``options`` declares it, ``files`` and ``secrets`` read it."""

from pipeline.settings.files import check_settings, load_settings, mistaken, parse_settings
from pipeline.settings.kinds import Section
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
    SessionSettings,
    Settings,
    StrategySettings,
    WaitingSettings,
    e4,
)
from pipeline.settings.page import settings_page
from pipeline.settings.secrets import (
    LOGINS,
    SECRET_NAMES,
    SECRETS_PREFIX,
    SIMULATOR_SECRETS,
    Secrets,
    load_secrets,
)

__all__ = [
    "LOGINS",
    "LOOPBACK_HOSTS",
    "SECRETS_PREFIX",
    "SECRET_NAMES",
    "SIMULATOR_SECRETS",
    "CapitalSettings",
    "ChannelSettings",
    "FeedSettings",
    "Instrument",
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
    "check_settings",
    "e4",
    "load_secrets",
    "load_settings",
    "mistaken",
    "parse_settings",
    "settings_page",
]
