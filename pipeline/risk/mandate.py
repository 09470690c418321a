"""Whether risk takes entries: the state of trading, who may change it to what.

    ACTIVE      entries and exits
    REDUCING    no entries; what is held is closed by its rules and by the strategy
    HALTED      as REDUCING, for a reason that somebody must look at

Cancels and exits pass in every state. A halt is lifted by ``resume`` only, and by nothing else:
``reduce`` leaves it as it is, and so does a new day.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from pipeline.errors import TickpipeError, explain


class TradingState(StrEnum):
    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


class Mandate(NamedTuple):
    """The state and why. Its text is what the ledger keeps, and ``parse`` reads it back."""

    state: TradingState = TradingState.ACTIVE
    reason: str = ""

    def halt(self, reason: str) -> Mandate:
        """Return what a halt makes of it; the first of two halts keeps its reason."""
        return self if self.state is TradingState.HALTED else Mandate(TradingState.HALTED, reason)

    def reduce(self, reason: str) -> Mandate:
        held = self.state is TradingState.HALTED
        return self if held else Mandate(TradingState.REDUCING, reason)

    def resume(self, reason: str) -> Mandate:
        return Mandate(TradingState.ACTIVE, reason)

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


class Event(NamedTuple):
    """What a person should know of, for the ledger."""

    kind: str
    text: str
    ts_ns: int  # exchange time of the newest tick


STATE = "state"  # the kind of an event whose text is a Mandate
