"""What real orders need before anything starts: words that somebody typed, and a login. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.errors import SettingsError, explain
from pipeline.settings import Secrets, Settings, load_secrets

CONFIRMATION = "TICKPIPE_CONFIRM_LIVE"  # the words typed at the start


def order_login(settings: Settings, environment: Mapping[str, str]) -> Secrets:
    """Return the login of orders. Raises SettingsError where real orders were not confirmed,
    and for a login that lacks something."""
    refuse_unconfirmed(settings, environment)
    return load_secrets(settings.orders, environment)


def refuse_unconfirmed(settings: Settings, environment: Mapping[str, str]) -> None:
    """Raise SettingsError unless the orders are not real, or somebody typed that they are."""
    words = (settings.run.name, "LIVE")
    typed = environment[CONFIRMATION] if CONFIRMATION in environment else ""
    if settings.orders.live and typed not in words:
        raise SettingsError(
            explain(
                f"real orders to {settings.orders.gateway} were not confirmed, typed {typed!r}",
                rule=f"with orders.live = true somebody types {' or '.join(words)} at the start",
                cure=f"type it when asked, or export {CONFIRMATION}={settings.run.name}",
            )
        )
