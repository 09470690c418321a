"""What the user can set: ``options`` declares it, ``files`` and ``secrets`` read it."""

from pipeline.settings.feed import LOOPBACK_HOSTS, FeedSettings
from pipeline.settings.files import (
    Complete,
    as_written,
    check_settings,
    default_config,
    load_settings,
    mistaken,
    parse_settings,
)
from pipeline.settings.gateway import OrdersSettings
from pipeline.settings.kinds import SHARES, Exchange, Kind, Section, e4
from pipeline.settings.options import (
    CapitalSettings,
    ChannelSettings,
    Instrument,
    Mode,
    PinningSettings,
    RunSettings,
    SessionSettings,
    Settings,
    StrategySettings,
    WaitingSettings,
)
from pipeline.settings.page import settings_page
from pipeline.settings.recording import RecorderSettings
from pipeline.settings.recovery import PaperSettings, RecoverySettings
from pipeline.settings.risk import RiskSettings
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
    "SHARES",
    "SIMULATOR_SECRETS",
    "CapitalSettings",
    "ChannelSettings",
    "Complete",
    "Exchange",
    "FeedSettings",
    "Instrument",
    "Kind",
    "Mode",
    "OrdersSettings",
    "PaperSettings",
    "PinningSettings",
    "RecorderSettings",
    "RecoverySettings",
    "RiskSettings",
    "RunSettings",
    "Secrets",
    "Section",
    "SessionSettings",
    "Settings",
    "StrategySettings",
    "WaitingSettings",
    "as_written",
    "check_settings",
    "default_config",
    "e4",
    "load_secrets",
    "load_settings",
    "mistaken",
    "parse_settings",
    "settings_page",
]
