"""What follows when a process of the run ends or hangs. Everything about that lives here.

    feed      killed, hung           another one goes on with a new ring, feed.restarts_max times
              any other death        risk closes every position ("stale_feed"), and the run ends
    strategy  failed, not loadable   stop in order: risk closes every position
              any other death        carry on: no new entries, risk guards what is open (I5)
    risk      killed, hung           another one takes the ledger and the ring up where they are,
                                     recovery.restarts_max times
              any other death        stop at once: nobody guards what is open, if it ever began
    recorder  killed                 another one goes on with its recording, recorder.restarts_max
                                     times
              any other death        carry on: ticks are not recorded any more

Who hangs is killed and then counts as dead. A feed of live ticks is started again, for it holds
nothing that its ring and its table do not; risk, for the ledger has all that it knew (I6); and the
recorder, for what it has written says up to where. A strategy
would come back without what it knew; for it the run's exit code says whether starting again helps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from pipeline.runtime.exit_codes import ExitCode, named
from pipeline.runtime.stopping import STOP_RETURNCODES


class Action(StrEnum):
    """What the supervisor does about the processes that are left."""

    CARRY_ON = "carry on"
    START_AGAIN = "start another one"
    FLATTEN = "risk flattens and ends, the others end after it"
    STOP_IN_ORDER = "stop in order"
    STOP_AT_ONCE = "stop at once"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, what it means for a person, and how the run ends because of it."""

    action: Action
    meaning: str
    exit_code: ExitCode  # OK = this does not change how the run ends

    @property
    def stop(self) -> bool:
        """True when the supervisor itself stops the others; FLATTEN is left to risk."""
        return self.action in (Action.STOP_IN_ORDER, Action.STOP_AT_ONCE)


@dataclass(frozen=True, slots=True)
class _Policy:
    action: Action
    meaning: str


_ENDED_WELL = _Policy(Action.CARRY_ON, "it ended as it should")
_REPLACED = {
    "feed": _Policy(Action.START_AGAIN, "Starting another one; risk guards the open positions"),
    "risk": _Policy(Action.START_AGAIN, "Starting another one; it takes the open positions over"),
    "recorder": _Policy(Action.START_AGAIN, "Starting another one; it goes on with the recording"),
}
_STALE = _Policy(Action.FLATTEN, "Risk closes every position and the run ends")
_GUARDED = _Policy(Action.CARRY_ON, "No new entries; risk guards the open positions by its rules")
_GIVEN_UP = _Policy(Action.STOP_IN_ORDER, "Risk closes every position and the run ends")
_UNGUARDED = _Policy(
    Action.STOP_AT_ONCE,
    "OPEN POSITIONS ARE UNGUARDED: look at them in the broker's terminal now",
)

_UNRECORDED = _Policy(Action.CARRY_ON, "Ticks are not recorded any more; the run goes on")

_ON_DEATH = {
    "feed": _STALE,
    "strategy": _GUARDED,
    "risk": _UNGUARDED,
    "recorder": _UNRECORDED,
}
_ON_CODE = {
    ("strategy", ExitCode.STRATEGY_FAILED): _GIVEN_UP,
    ("strategy", ExitCode.BAD_STRATEGY): _GIVEN_UP,
}
_RESTARTED = {(role, ExitCode.CHILD_DIED) for role in _REPLACED}  # it named no reason why another
# one should fail too
_CODE_OF_HANG = {
    "feed": ExitCode.CHILD_DIED,
    "strategy": ExitCode.STRATEGY_FAILED,  # on_tick never returned
    "risk": ExitCode.CHILD_DIED,
    "recorder": ExitCode.RECORDING_FAILED,
}


def on_death(
    role: str, returncode: int, *, stopping: bool = False, restarts_left: int = 0
) -> Verdict:
    """Return what follows when ``role`` ended with ``returncode`` (negative: killed by a signal).

    ``stopping`` says that the supervisor had asked it to stop. The run ends with the code that
    the process named itself, CHILD_DIED where it could name none.
    """
    stopped_before_it_ran = stopping and returncode in STOP_RETURNCODES
    if returncode == ExitCode.OK or stopped_before_it_ran:
        return _verdict(_ENDED_WELL, ExitCode.OK)
    code = named(returncode) or ExitCode.CHILD_DIED
    if restarts_left > 0 and (role, code) in _RESTARTED:
        return _verdict(_REPLACED[role], ExitCode.OK)
    special = (role, code)
    return _verdict(_ON_CODE[special] if special in _ON_CODE else _ON_DEATH[role], code)


def on_hang(role: str, *, restarts_left: int = 0) -> Verdict:
    """Return what follows when ``role`` missed its heartbeats and was killed for it."""
    code = _CODE_OF_HANG[role]
    if restarts_left > 0 and (role, code) in _RESTARTED:
        return _verdict(_REPLACED[role], ExitCode.OK)
    return _verdict(_ON_DEATH[role], code)


def before_it_began(verdict: Verdict, *, recovers: bool) -> Verdict:
    """Return ``verdict`` on a risk that sent nothing: it ended before it had its place in the run.

    With ``recovers`` an earlier run may have left something open.
    """
    if verdict.exit_code is ExitCode.OK:
        return verdict
    earlier = "; what an earlier one left open is unguarded" if recovers else ""
    return replace(verdict, meaning=f"It never began: this run opened nothing{earlier}")


def without_risk(verdict: Verdict) -> Verdict:
    """Return ``verdict`` with what it means for a run that only records."""
    meanings = {
        Action.FLATTEN: "Recording ends; nothing was traded",
        Action.START_AGAIN: "Starting another one; recording goes on",
        Action.CARRY_ON: "Ticks are not recorded any more",
    }
    if verdict.exit_code is ExitCode.OK and verdict.action is Action.CARRY_ON:
        return verdict
    if verdict.action not in meanings:
        return verdict
    return replace(verdict, meaning=meanings[verdict.action])


def _verdict(policy: _Policy, code: ExitCode) -> Verdict:
    return Verdict(policy.action, policy.meaning, code)
