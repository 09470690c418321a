"""What follows when somebody halts, reduces or resumes."""

from __future__ import annotations

from datetime import date
from itertools import product

import pytest

from pipeline.errors import TickpipeError
from pipeline.risk.mandate import Mandate, TradingState

ACTIVE, REDUCING, HALTED = TradingState


@pytest.mark.parametrize(("now", "wanted"), list(product(TradingState, TradingState)))
def test_only_a_resume_lifts_a_halt(now: TradingState, wanted: TradingState) -> None:
    after = Mandate(now, "first").asked(Mandate(wanted, "second"))
    stays = now is HALTED and wanted is not ACTIVE
    assert after == (Mandate(now, "first") if stays else Mandate(wanted, "second"))


def test_entries_are_taken_in_one_state_only() -> None:
    assert [Mandate(state).takes_entries for state in TradingState] == [True, False, False]


@pytest.mark.parametrize("mandate", [Mandate(), Mandate(HALTED, "daily_loss"), Mandate(REDUCING)])
def test_its_text_is_read_back(mandate: Mandate) -> None:
    assert Mandate.parse(str(mandate)) == mandate


def test_what_was_asked_for_gives_the_mandate_again() -> None:
    assert Mandate.after([]) == Mandate()
    asked = ["HALTED kill_switch", "REDUCING quiet day"]
    assert Mandate.after(asked) == Mandate(HALTED, "kill_switch")
    assert Mandate.after([*asked, "ACTIVE looked at it"]) == Mandate(ACTIVE, "looked at it")


def test_another_text_is_refused() -> None:
    with pytest.raises(TickpipeError, match="it begins with ACTIVE, REDUCING, HALTED"):
        Mandate.parse("halted")


@pytest.mark.parametrize(
    ("requests", "next_day"),
    [
        ([], Mandate()),
        (["HALTED halt by a: news"], Mandate(HALTED, "halt by a: news, since 2026-11-26")),
        (["HALTED max_drawdown"], Mandate(HALTED, "max_drawdown, since 2026-11-26")),
        (["HALTED daily_loss"], Mandate()),
        (["HALTED halt by a", "ACTIVE resume by a"], Mandate()),
        (["HALTED daily_loss", "HALTED halt by a"], Mandate(HALTED, "halt by a, since 2026-11-26")),
        (["REDUCING quiet", "HALTED daily_loss"], Mandate(REDUCING, "quiet, since 2026-11-26")),
        (["HALTED halt by a, since 2026-11-20"], Mandate(HALTED, "halt by a, since 2026-11-20")),
    ],
)
def test_all_but_a_halt_by_the_loss_of_the_day_outlasts_it(
    requests: list[str], next_day: Mandate
) -> None:
    assert Mandate.into_the_next_day(requests, date(2026, 11, 26)) == next_day
