"""A recorded day gives the guide's own 106 exits, whichever way it is played."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.conftest import Tickpipe
from tests.system.golden import row_of

EXITS = 106


@pytest.mark.parametrize("mode", ["poll", "callback", "adaptive"])
def test_replay_gives_the_golden_exits_in_every_mode(
    tickpipe: Tickpipe, golden_day: Path, golden_rows: list[tuple[str, ...]], mode: str
) -> None:
    code, output = tickpipe.run("replay", golden_day, "--mode", mode)
    assert code == 0, output
    assert [row_of(trade) for trade in tickpipe.trades()[:EXITS]] == golden_rows


def test_backtest_gives_the_golden_exits(
    tickpipe: Tickpipe, golden_day: Path, golden_rows: list[tuple[str, ...]]
) -> None:
    code, output = tickpipe.run("backtest", golden_day)
    assert code == 0, output
    assert [row_of(trade) for trade in tickpipe.trades()[:EXITS]] == golden_rows


@pytest.mark.parametrize("mode", ["poll", "callback"])
def test_the_day_through_a_real_websocket_gives_the_golden_exits(
    tickpipe: Tickpipe, golden_day: Path, golden_rows: list[tuple[str, ...]], mode: str
) -> None:
    code, output = tickpipe.run("replay", golden_day, "--through-simulator", "--mode", mode)
    assert code == 0, output
    assert [row_of(trade) for trade in tickpipe.trades()[:EXITS]] == golden_rows


@pytest.mark.parametrize("verb", ["replay", "backtest"])
def test_with_the_gates_on_the_day_ends_flat_by_ten_past_three(
    tickpipe: Tickpipe, golden_day: Path, verb: str
) -> None:
    code, output = tickpipe.run(verb, golden_day, "--set", "session.gates=true")
    assert code == 0, output
    last = tickpipe.trades()[-1]
    assert last["exit_time"][11:19] <= "15:10:59", last
    assert all(trade["entry_time"][11:19] < "15:10:00" for trade in tickpipe.trades())
