"""The guide's loops and every mode give the same trades; a comparison writes what it measured.

Times are not judged here: that is what scripts/compare-modes is for.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.brokers.recorded.files import read_ticks
from pipeline.cli import main
from pipeline.runtime.exit_codes import ExitCode
from pipeline.settings import load_settings
from pipeline.verbs import information
from tests.perf.compare.trades import trades_of
from tests.perf.compare.ways import WAYS
from tests.system.conftest import GUIDE, Tickpipe, finish
from tests.system.golden import golden_trades, row_of, write_day


@pytest.mark.parametrize("name", WAYS)
def test_every_way_that_is_compared_gives_the_same_trades(name: str, tmp_path: Path) -> None:
    day = read_ticks(write_day(tmp_path / "day.csv"), load_settings(GUIDE).instruments)
    assert [row_of(trade) for trade in trades_of(WAYS[name], day)] == golden_trades()


@pytest.mark.timeout(300)
def test_a_quick_comparison_writes_what_it_measured(tickpipe: Tickpipe) -> None:
    options = ("--quick", "--out", "out", "--json", "numbers.json")
    code, output = finish(tickpipe.start("compare", *options))
    assert code == ExitCode.OK, output
    assert "The guide's table" in output
    report = json.loads((tickpipe.folder / "numbers.json").read_text())
    assert report == json.loads((tickpipe.folder / "out" / "modes.json").read_text())
    assert report["trades"]["identical"]
    assert report["trades"]["trades"] > 0
    assert {each["way"] for each in report["loads"]} == set(WAYS)
    for each in report["loads"]:
        assert each["handled"] + each["lost"] == each["sent"]
        assert each["latency"]["wire to strategy"]["samples"] == each["handled"]
        assert each["latency"]["wire to order"]["samples"] > 0
    written = {path.name for path in (tickpipe.folder / "out").iterdir()}
    assert written - {"modes.png"} == {f"modes.{kind}" for kind in ("json", "csv", "html", "md")}


def test_outside_a_checkout_it_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(information, "CHECKOUT", tmp_path)
    assert main(["compare"]) == ExitCode.USAGE
    assert "scripts/compare-modes" in capsys.readouterr().err
