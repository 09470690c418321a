from __future__ import annotations

import pytest

from pipeline import errors
from pipeline.runtime.exit_codes import ExitCode, describe, exit_code_of, named


def classes_below(base: type[errors.TickpipeError]) -> list[type[errors.TickpipeError]]:
    below = base.__subclasses__()
    return below + [each for kind in below for each in classes_below(kind)]


@pytest.mark.parametrize("kind", classes_below(errors.TickpipeError))
def test_every_error_that_is_raised_on_purpose_has_a_code_of_its_own(
    kind: type[errors.TickpipeError],
) -> None:
    assert exit_code_of(kind("why")) not in (ExitCode.OK, ExitCode.FAILED)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.AuthRefused("401"), ExitCode.AUTH_REFUSED),
        (errors.FeedLost("8 attempts"), ExitCode.FEED_LOST),
        (errors.SegmentRefused("short"), ExitCode.CHANNEL_BROKEN),
        (errors.BadSignal("42"), ExitCode.STRATEGY_FAILED),
        (errors.StrategyLoadError("no such file"), ExitCode.BAD_STRATEGY),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
        (ZeroDivisionError("a defect"), ExitCode.FAILED),
        (errors.TickpipeError("of no kind"), ExitCode.FAILED),
    ],
)
def test_the_most_specific_class_decides(error: BaseException, code: ExitCode) -> None:
    assert exit_code_of(error) is code


def test_an_error_class_that_is_new_counts_as_its_nearest_known_ancestor() -> None:
    class TokenExpired(errors.AuthRefused):
        pass

    assert exit_code_of(TokenExpired("at 06:00")) is ExitCode.AUTH_REFUSED


def test_the_numbers_never_change() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "FAILED": 1,
        "USAGE": 2,
        "BAD_SETTINGS": 3,
        "BAD_TICK_FILE": 4,
        "BAD_STRATEGY": 5,
        "PORT_IN_USE": 6,
        "ALREADY_RUNNING": 7,
        "AUTH_REFUSED": 8,
        "FEED_LOST": 9,
        "STRATEGY_FAILED": 10,
        "CHILD_DIED": 11,
        "CHANNEL_BROKEN": 12,
        "CONTROL_REFUSED": 13,
        "RECORDING_FAILED": 14,
        "LEDGER_FAILED": 15,
        "INTERRUPTED": 130,
    }


def test_a_restart_helps_where_the_cause_may_have_passed() -> None:
    assert {code for code in ExitCode if code.restart_helps} == {
        ExitCode.FEED_LOST,
        ExitCode.CHILD_DIED,
        ExitCode.CHANNEL_BROKEN,
    }


@pytest.mark.parametrize("code", ExitCode)
def test_a_code_is_described_by_number_name_and_meaning(code: ExitCode) -> None:
    assert describe(code.value) == f"exit code {code.value} {code.name}: {code.meaning}"


@pytest.mark.parametrize(
    ("returncode", "words"),
    [
        (-9, "killed by SIGKILL"),
        (-15, "killed by SIGTERM"),
        (-40, "killed by signal 40"),
        (77, "exit code 77, which is not one of tickpipe's"),
    ],
)
def test_what_is_not_a_code_is_described_too(returncode: int, words: str) -> None:
    assert describe(returncode) == words
    assert named(returncode) is None
