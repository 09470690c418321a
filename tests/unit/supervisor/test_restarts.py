from __future__ import annotations

import pytest

from pipeline.runtime.exit_codes import ExitCode
from pipeline.supervisor import restarts
from pipeline.supervisor.plan import ROLES
from pipeline.supervisor.restarts import Action, Verdict, before_it_began, on_death, on_hang

KILLED = -9


@pytest.mark.parametrize("role", ROLES)
def test_who_ended_well_changes_nothing(role: str) -> None:
    verdict = on_death(role, 0)
    assert verdict.action is Action.CARRY_ON
    assert verdict.exit_code is ExitCode.OK
    assert not verdict.stop


def test_a_killed_strategy_leaves_risk_to_guard_the_position() -> None:
    verdict = on_death("strategy", KILLED)
    assert verdict.action is Action.CARRY_ON
    assert not verdict.stop
    assert verdict.exit_code is ExitCode.CHILD_DIED
    assert "risk guards the open positions" in verdict.meaning


@pytest.mark.parametrize("code", [ExitCode.STRATEGY_FAILED, ExitCode.BAD_STRATEGY])
def test_a_strategy_that_gave_up_stops_the_run_in_order(code: ExitCode) -> None:
    verdict = on_death("strategy", code)
    assert verdict.action is Action.STOP_IN_ORDER
    assert verdict.stop
    assert verdict.exit_code is code


@pytest.mark.parametrize(
    ("returncode", "code"),
    [
        (KILLED, ExitCode.CHILD_DIED),
        (9, ExitCode.FEED_LOST),
        (8, ExitCode.AUTH_REFUSED),
        (4, ExitCode.BAD_TICK_FILE),
        (1, ExitCode.FAILED),
    ],
)
def test_without_a_feed_risk_flattens_as_stale_and_the_feeds_own_code_stands(
    returncode: int, code: ExitCode
) -> None:
    verdict = on_death("feed", returncode)
    assert verdict.action is Action.FLATTEN
    assert verdict.exit_code is code
    assert not verdict.stop, "risk closes first; a stop from outside would give another reason"


@pytest.mark.parametrize("returncode", [KILLED, 1, 12])
def test_without_risk_everything_stops_at_once_and_says_so_loudly(returncode: int) -> None:
    verdict = on_death("risk", returncode)
    assert verdict.action is Action.STOP_AT_ONCE
    assert verdict.stop
    assert "OPEN POSITIONS ARE UNGUARDED" in verdict.meaning


@pytest.mark.parametrize("recovers", [False, True])
def test_a_risk_that_never_began_leaves_nothing_unguarded_that_this_run_opened(
    recovers: bool,
) -> None:
    died = on_death("risk", 12)
    verdict = before_it_began(died, recovers=recovers)
    assert (verdict.action, verdict.exit_code) == (died.action, died.exit_code)
    assert "this run opened nothing" in verdict.meaning
    assert ("an earlier one left open is unguarded" in verdict.meaning) is recovers
    again = on_death("risk", KILLED, restarts_left=1)
    assert before_it_began(again, recovers=recovers) == again


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("returncode", [77, -11, -40])
def test_a_death_that_names_no_code_is_a_child_that_died(role: str, returncode: int) -> None:
    assert on_death(role, returncode).exit_code is ExitCode.CHILD_DIED


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("returncode", [-15, -2])
def test_a_child_stopped_before_it_had_handlers_is_no_death_while_stopping(
    role: str, returncode: int
) -> None:
    assert on_death(role, returncode, stopping=True).exit_code is ExitCode.OK
    assert on_death(role, returncode).exit_code is ExitCode.CHILD_DIED


def test_risk_killed_for_its_slowness_while_stopping_is_still_loud() -> None:
    assert "UNGUARDED" in on_death("risk", KILLED, stopping=True).meaning


@pytest.mark.parametrize("role", ROLES)
def test_who_hangs_is_dealt_with_as_if_killed(role: str) -> None:
    assert on_hang(role).action is on_death(role, KILLED).action
    assert on_hang(role).meaning == on_death(role, KILLED).meaning


def test_a_strategy_that_never_returned_is_the_strategys_failure() -> None:
    assert on_hang("strategy").exit_code is ExitCode.STRATEGY_FAILED
    assert on_hang("feed").exit_code is ExitCode.CHILD_DIED


@pytest.mark.parametrize(
    "verdict", [on_death("feed", KILLED, restarts_left=1), on_hang("feed", restarts_left=1)]
)
def test_a_feed_that_was_killed_or_hung_is_started_again(verdict: Verdict) -> None:
    assert verdict.action is Action.START_AGAIN
    assert verdict.exit_code is ExitCode.OK, "a run that lived on ended well"
    assert not verdict.stop


@pytest.mark.parametrize("returncode", [1, 4, 8, 9])
def test_a_feed_that_said_why_it_ended_is_not_started_again(returncode: int) -> None:
    assert on_death("feed", returncode, restarts_left=1).action is Action.FLATTEN


@pytest.mark.parametrize(
    "verdict", [on_death("risk", KILLED, restarts_left=1), on_hang("risk", restarts_left=1)]
)
def test_a_risk_that_was_killed_or_hung_is_started_again(verdict: Verdict) -> None:
    assert verdict.action is Action.START_AGAIN
    assert verdict.exit_code is ExitCode.OK
    assert "takes the open positions over" in verdict.meaning


def test_a_risk_that_said_why_it_ended_is_not_started_again() -> None:
    assert on_death("risk", 1, restarts_left=1).action is Action.STOP_AT_ONCE


def test_a_strategy_is_not_started_again() -> None:
    assert on_death("strategy", KILLED, restarts_left=1) == on_death("strategy", KILLED)
    assert on_hang("strategy", restarts_left=1) == on_hang("strategy")


@pytest.mark.parametrize(
    ("returncode", "code"), [(KILLED, ExitCode.CHILD_DIED), (14, ExitCode.RECORDING_FAILED)]
)
def test_without_its_recorder_a_run_goes_on_and_says_so_at_the_end(
    returncode: int, code: ExitCode
) -> None:
    verdict = on_death("recorder", returncode)
    assert verdict.action is Action.CARRY_ON
    assert not verdict.stop
    assert verdict.exit_code is code
    assert on_hang("recorder").action is Action.CARRY_ON


def test_a_recorder_that_was_killed_is_started_again_and_one_that_cannot_write_is_not() -> None:
    assert on_death("recorder", KILLED, restarts_left=1).action is Action.START_AGAIN
    cannot_write = int(ExitCode.RECORDING_FAILED)
    assert on_death("recorder", cannot_write, restarts_left=1) == on_death("recorder", cannot_write)
    assert on_hang("recorder", restarts_left=1) == on_hang("recorder")


def test_a_run_that_only_records_is_not_told_of_positions() -> None:
    for code in (-9, 1, int(ExitCode.CHILD_DIED)):
        said = restarts.without_risk(restarts.on_death("feed", code)).meaning
        assert said == "Recording ends; nothing was traded"
