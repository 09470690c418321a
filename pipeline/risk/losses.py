"""What a run may lose before it stops: in a day, from its highest equity, by stops in a row.

Equity is cash plus what is held at the last price, so charges that were paid are in it. Only a
look at it is a look at all positions, and most ticks need none: ``room`` says how far equity may
fall or rise before another look is due, and every position gets its part of it.
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.risk.charges import plain_e4
from pipeline.risk.exits import ANY_E4, NEVER_NS
from pipeline.risk.history import LossMark
from pipeline.risk.hours import DAY_NS, IST_OFFSET_NS, MINUTE_NS, day_of
from pipeline.risk.reasons import Reason
from pipeline.settings import RiskSettings, e4


class Breach(NamedTuple):
    """A limit that is reached."""

    reason: Reason  # of the exits that follow
    context: str  # key=value pairs, separated by blanks


class Losses:
    """The daily loss and the drawdown of a run."""

    def __init__(self, risk: RiskSettings) -> None:
        daily, drawdown = risk.daily_loss_max, risk.drawdown_max
        self._daily_e4 = ANY_E4 if daily is None else e4(daily)
        self._drawdown_e4 = ANY_E4 if drawdown is None else e4(drawdown)
        self.watched = daily is not None or drawdown is not None
        self._day = -1
        self._begin_e4 = 0  # equity at the first look of the day
        self._peak_e4 = -ANY_E4  # the highest equity of the run
        self._equity_e4 = 0  # at the last look

    @property
    def mark(self) -> LossMark | None:
        """What the limits remember; None before the first look, or where nothing is watched."""
        if not self.watched or self._day < 0:
            return None
        return LossMark(self._day, self._begin_e4, self._peak_e4)

    def restore(self, mark: LossMark) -> None:
        """Remember what limits that are gone remembered, and nothing else."""
        self._day, self._begin_e4, self._peak_e4 = mark

    def look(self, equity_e4: int, ts_event_ns: int) -> Breach | None:
        """Take the equity at an exchange time and return the limit that it reaches, if any."""
        if day_of(ts_event_ns) > self._day:  # a time that is absent, or behind, is no new day
            self._day, self._begin_e4 = day_of(ts_event_ns), equity_e4
        self._peak_e4 = max(self._peak_e4, equity_e4)
        self._equity_e4 = equity_e4
        lost_e4, fallen_e4 = self._begin_e4 - equity_e4, self._peak_e4 - equity_e4
        if lost_e4 >= self._daily_e4:
            return Breach(Reason.DAILY_LOSS, _loss(lost_e4, self._daily_e4))
        if fallen_e4 >= self._drawdown_e4:
            return Breach(Reason.MAX_DRAWDOWN, _loss(fallen_e4, self._drawdown_e4))
        return None

    def room(self) -> tuple[int, int]:
        """Return how far equity may fall and rise from the last look with nothing to be seen."""
        floor_e4 = max(self._begin_e4 - self._daily_e4, self._peak_e4 - self._drawdown_e4)
        to_peak_e4 = self._peak_e4 - self._equity_e4
        return self._equity_e4 - floor_e4 - 1, ANY_E4 if self._drawdown_e4 == ANY_E4 else to_peak_e4

    @property
    def day_ends_ns(self) -> int:
        """The exchange time from which another look is due whatever the prices."""
        return (self._day + 1) * DAY_NS - IST_OFFSET_NS if self.watched else NEVER_NS


def _loss(loss_e4: int, most_e4: int) -> str:
    return f"loss={plain_e4(loss_e4)} max={plain_e4(most_e4)}"


class CoolDown:
    """The pause of entries after stop-losses in a row, over all instruments."""

    def __init__(self, risk: RiskSettings) -> None:
        self._stops_max = risk.cool_down_stops
        self._pause_ns = (risk.cool_down_minutes or 0) * MINUTE_NS
        self._stops = 0
        self.until_ns = 0  # exchange time before which there are no entries

    def closed(self, reason: str, ts_event_ns: int) -> None:
        """Take the last exit of a position that closed completely."""
        self._stops = self._stops + 1 if reason == Reason.STOP_LOSS else 0
        if self._stops == self._stops_max:
            self._stops, self.until_ns = 0, ts_event_ns + self._pause_ns
