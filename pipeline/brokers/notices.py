"""What a broker said in words, made fit for a log: short lines without secrets, and few. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

CHARACTERS_MAX = 200
MASK = "***"

# So many of a kind are told at once; what comes faster than one in INTERVAL_NS is only counted. A
# peer that goes mad must not fill the disk, nor slow the feed down by what it writes.
AT_ONCE_MAX = 5
INTERVAL_NS = 10 * 1_000_000_000


class Said(StrEnum):
    """The kinds of what a broker says; each is counted for itself."""

    ORDER = "order"
    ERROR = "error"
    MESSAGE = "message"
    TEXT = "text"  # that means nothing
    SEQUENCE = "sequence"  # numbers of ticks that went back


class Notices:
    """Lets through a few notices of each kind, and says how many it kept back."""

    def __init__(self) -> None:
        self._credit = dict.fromkeys(Said, AT_ONCE_MAX)
        self._earned_ns = dict.fromkeys(Said, 0)
        self._kept_back = dict.fromkeys(Said, 0)

    def tell(self, kind: Said, text: str, now_ns: int) -> str:
        """Return ``text``, with the number of those kept back before it; "" to keep it back."""
        self._earn(kind, now_ns)
        if not self._credit[kind]:
            self._kept_back[kind] += 1
            return ""
        self._credit[kind] -= 1
        more, self._kept_back[kind] = self._kept_back[kind], 0
        return f"{text} (and {more:,} more of this kind, not shown)" if more else text

    def _earn(self, kind: Said, now_ns: int) -> None:
        """One more may be told for every interval that has passed, up to AT_ONCE_MAX."""
        earned = (now_ns - self._earned_ns[kind]) // INTERVAL_NS
        if earned > 0:
            self._credit[kind] = min(AT_ONCE_MAX, self._credit[kind] + earned)
            self._earned_ns[kind] = now_ns


def notice_of(text: str, describe: Callable[[str], str], secrets: Sequence[str]) -> str:
    """Return ``describe(text)`` with every one of ``secrets`` masked, before and after.

    Describing can bring a secret to light (JSON escapes) or hide one (quoting).
    """
    return masked(describe(masked(text, secrets)), secrets)[:CHARACTERS_MAX]


def masked(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, MASK) if secret else text
    return text
