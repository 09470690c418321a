"""Risk dies again and again with open orders; afterwards nothing is lost and nothing is twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stress.kills import LIMITS, comparable, kill_at_a_broker, kill_on_paper

KILLS = 5

pytestmark = pytest.mark.stress


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_on_paper_kills_change_no_trade(seed: int, tmp_path: Path) -> None:
    outcome, quiet = kill_on_paper(seed, KILLS, tmp_path)
    assert outcome.wrong == []
    if not outcome.lost:  # a signal that died with risk is not acted on by the next (I4)
        assert comparable(outcome.trades) == comparable(quiet) != []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_at_a_broker_that_misbehaves_its_book_is_the_ledger_and_no_order_is_sent_twice(
    seed: int, tmp_path: Path
) -> None:
    outcome, exchange = kill_at_a_broker(seed, KILLS, tmp_path)
    assert outcome.wrong == []
    assert exchange.tags, "orders were sent"
    assert outcome.trades


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_exits_that_rest_and_are_cancelled_close_no_more_than_is_held_and_all_of_it(
    seed: int, tmp_path: Path
) -> None:
    outcome, exchange = kill_at_a_broker(seed, KILLS, tmp_path, *LIMITS)
    assert outcome.wrong == []
    assert exchange.told["rests"]
    assert exchange.told["cancelled"]
