"""What risk may do: the state of trading, and what may follow it.

    ACTIVE      entries and exits
    REDUCING    no entries; what is held is closed by its rules and by the strategy
    HALTED      as REDUCING, for a reason that somebody must look at

Cancels and exits pass in every state. A halt is lifted by a resume only, and by nothing else: to
reduce leaves it as it is, and so does a new day. A halt by the loss of a day ends with its day.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from pipeline.errors import TickpipeError, explain
from pipeline.risk.reasons import Reason

_SINCE = re.compile(r", since [0-9]{4}-[0-9]{2}-[0-9]{2}$")


class TradingState(StrEnum):
    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


class Mandate(NamedTuple):
    """The state and why. Its text is what the ledger keeps, and ``parse`` reads it back."""

    state: TradingState = TradingState.ACTIVE
    reason: str = ""

    def asked(self, wanted: Mandate) -> Mandate:
        """Return what follows when ``wanted`` is asked for; the first halt keeps its reason."""
        stays = self.is_halted and wanted.state is not TradingState.ACTIVE
        return self if stays else wanted

    @property
    def is_halted(self) -> bool:
        return self.state is TradingState.HALTED

    @property
    def takes_entries(self) -> bool:
        return self.state is TradingState.ACTIVE

    def __str__(self) -> str:
        return f"{self.state} {self.reason}".rstrip()

    @classmethod
    def parse(cls, text: str) -> Mandate:
        """Read the text of a mandate. Raises TickpipeError for anything else."""
        state, _, reason = text.partition(" ")
        if state not in TradingState.__members__:
            raise TickpipeError(
                explain(
                    f"a state of trading {text!r}",
                    rule=f"it begins with {', '.join(TradingState)}",
                    cure="the ledger was written by another version; start with a new one",
                )
            )
        return cls(TradingState(state), reason)

    @classmethod
    def after(cls, requests: Iterable[str]) -> Mandate:
        """Return what follows from the texts of all that was asked for, oldest first."""
        mandate = cls()
        for text in requests:
            mandate = mandate.asked(cls.parse(text))
        return mandate

    @classmethod
    def into_the_next_day(cls, requests: Iterable[str], day: date) -> Mandate:
        """Return what outlasts ``day``, of whose ledger these are the requests, oldest first."""
        mandate = cls()
        for text in requests:
            wanted = cls.parse(text)
            if wanted.reason != Reason.DAILY_LOSS:
                mandate = mandate.asked(wanted)
        if mandate.takes_entries:
            return cls()
        since = "" if _SINCE.search(mandate.reason) else f", since {day}"
        return mandate._replace(reason=mandate.reason + since)


CARRIED = "carried"  # the kind of an event: a halt of an earlier day, with which this one begins
STATE = "state"  # the kind of an event whose text is a mandate that was asked for
