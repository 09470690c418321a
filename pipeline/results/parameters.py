"""The settings that a run used, flat, for its results and its ledger; secrets are never in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel

from pipeline.settings import Settings

MASK = "***"
_SECRET_NAME = re.compile(r"key|secret|token|password|passwd|pwd|jwt|pin|totp|auth", re.IGNORECASE)


def settings_rows(settings: Settings) -> list[tuple[str, str]]:
    """Return (dotted name, value) of every setting, in the order of docs/settings.md.

    A URL is shown without user and query, and a parameter of the user's strategy that is named
    like a secret is masked.
    """
    return list(_rows("", settings))


def _rows(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        for key in type(value).model_fields:
            yield from _rows(f"{name}.{key}" if name else key, getattr(value, key))
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        for number, part in enumerate(value):
            yield from _rows(f"{name}.{number}", part)
    elif isinstance(value, dict):
        for key, part in value.items():
            shown = MASK if _SECRET_NAME.search(key) else _text(part)
            yield f"{name}.{key}", shown
    else:
        yield name, bare_url(str(value)) if name == "feed.url" else _text(value)


def _text(value: object) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return str(value)


def bare_url(url: str) -> str:
    """Return ``url`` without what may be secret in it: user, password, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
