"""What a broker said in words, made fit for a log: one short line without secrets. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

CHARACTERS_MAX = 200
MASK = "***"


def notice_of(text: str, describe: Callable[[str], str], secrets: Sequence[str]) -> str:
    """Return ``describe(text)`` with every one of ``secrets`` masked, before and after.

    Describing can bring a secret to light (JSON escapes) or hide one (quoting).
    """
    return masked(describe(masked(text, secrets)), secrets)[:CHARACTERS_MAX]


def masked(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, MASK) if secret else text
    return text
