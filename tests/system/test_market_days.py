"""The calendar as a user meets it: the verb and its refusals."""

from __future__ import annotations

import pytest

from pipeline.runtime.exit_codes import ExitCode
from tests.system.conftest import Tickpipe, finish
from tests.system.test_bad_input import explained


def test_the_verb_shows_a_day_and_who_says_so(tickpipe: Tickpipe) -> None:
    code, output = finish(tickpipe.start("calendar", "2026-11-24"))
    assert code == ExitCode.OK, output
    assert "Tuesday, 2026-11-24, IST" in output
    assert "Prakash Gurpurb Sri Guru Nanak Dev" in output
    assert "NSE/CMTR/71775" in output


@pytest.mark.parametrize(
    ("day", "told"),
    [
        ("2027-01-04", "2027-01-04 is outside the calendar"),
        ("2025-10-01", "2025-10-01 is outside the calendar"),
        ("24.11.2026", "a date is YYYY-MM-DD"),
    ],
)
def test_a_date_that_the_data_does_not_have_is_refused(
    tickpipe: Tickpipe, day: str, told: str
) -> None:
    code, output = finish(tickpipe.start("calendar", day))
    assert code == ExitCode.USAGE, output
    assert told in output
    assert explained(output)
