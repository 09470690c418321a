"""A recorded day as a broker: it hands out its ticks in order. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SettingsError, explain
from pipeline.records import TICK_WITH_DEPTH


class Recording:
    """Hands out each of its TICK rows once; whoever takes them may write on them.

    The feed takes, stamps ``ts_recv_ns`` and publishes; when to take is the feed's business.
    """

    def __init__(self, ticks: NDArray[np.void]) -> None:
        self._ticks = ticks
        self._position = 0

    def __repr__(self) -> str:
        return f"Recording({self._position} of {len(self._ticks)} ticks given)"

    @property
    def ended(self) -> bool:
        """True when every tick has been given."""
        return self._position >= len(self._ticks)

    def next(self, limit: int) -> NDArray[np.void]:
        """Return the next TICK rows, at most ``limit``; none at the end."""
        start = self._position
        self._position = min(start + limit, len(self._ticks))
        return self._ticks[start : self._position]


def refuse_missing_depth(wanted: bool, ticks: NDArray[np.void]) -> None:
    """Raise SettingsError where the strategy asks for depth and the recording has none."""
    if wanted and ticks.dtype != TICK_WITH_DEPTH:
        raise SettingsError(
            explain(
                "strategy.depth = true, and the recording has no depth",
                rule="on_depth is called with what the broker sent, and nothing is made up",
                cure="play it with --set strategy.depth=false",
            )
        )
