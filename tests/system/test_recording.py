"""The recorder beside whole runs: complete, replayable, and never in the way."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path

import pytest

from pipeline.brokers.recorded.files import write_ticks
from pipeline.brokers.recorded.journal import own_directory
from pipeline.cli import main
from pipeline.runtime.exit_codes import ExitCode
from pipeline.simulator.generator import generate_day
from tests.system.conftest import GUIDE, Tickpipe
from tests.system.golden import row_of

COUNT = 3_000


@pytest.fixture
def day(tmp_path: Path) -> Path:
    path = tmp_path / "day.csv"
    write_ticks(path, generate_day(seed=11, date=date(2026, 1, 5), ticks_per_instrument=COUNT))
    return path


def test_a_lockstep_run_over_a_websocket_is_recorded_whole_and_replays_to_the_same_trades(
    tickpipe: Tickpipe, day: Path, tmp_path: Path
) -> None:
    rec = tmp_path / "rec"
    to_rec = ("--set", f'recorder.directory="{rec}"')
    code, output = tickpipe.run("replay", day, "--through-simulator", *to_rec)
    assert code == 0, output
    traded = [row_of(trade) for trade in tickpipe.trades()]
    assert len(traded) > 5
    (path,) = rec.glob("recording-*.json")
    counted = json.loads(path.read_text())["counted"]["ticks"]
    assert counted["recorded"] + counted["lost"] == counted["published"] == COUNT
    assert counted["lost"] == 0
    for verb in ("replay", "backtest"):
        tickpipe.clear_results()
        code, output = tickpipe.run(verb, rec / "2026-01-05")
        assert code == 0, output
        assert [row_of(trade) for trade in tickpipe.trades()] == traded, verb


def test_a_full_disk_ends_the_recorder_and_the_run_goes_on_to_its_normal_end(
    tickpipe: Tickpipe, day: Path, small_disk: Path
) -> None:
    few = ("--set", "recorder.flush_seconds_max=0.001")
    code, output = tickpipe.run("replay", day, "--set", f'recorder.directory="{small_disk}"', *few)
    assert code == ExitCode.RECORDING_FAILED, output
    assert "No space left on device" in output
    assert "recorder died: exit code 14" in output
    assert "Ticks are not recorded any more; the run goes on" in output
    assert len(tickpipe.trades()) > 5


@pytest.mark.parametrize("why", ["no directory", "no pyarrow"])
def test_a_run_that_could_not_record_is_refused_before_it_starts(
    day: Path,
    tmp_path: Path,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("no directory")
    place = tmp_path / "file" / "rec" if why == "no directory" else tmp_path / "rec"
    if why == "no pyarrow":
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    chosen = ("--config", str(GUIDE), "--set", f'recorder.directory="{place}"')
    assert main(["replay", str(day), *chosen]) == ExitCode.USAGE
    told = capsys.readouterr().err
    cure = "correct recorder.directory" if why == "no directory" else "pip install pyarrow"
    assert cure in told
    assert not place.exists()


def test_a_directory_that_is_recorded_to_is_refused_before_anything_starts(
    tickpipe: Tickpipe, day: Path, tmp_path: Path
) -> None:
    lock = own_directory(tmp_path / "rec")
    code, output = tickpipe.run("replay", day, "--set", f'recorder.directory="{tmp_path / "rec"}"')
    lock.close()
    assert code == ExitCode.ALREADY_RUNNING
    assert "one recorder writes to a directory at a time" in output
    assert not list(tickpipe.results.glob("*.csv"))


def test_csv_becomes_parquet_and_csv_again(tickpipe: Tickpipe, day: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.csv"
    for arguments in (
        (day, "--parquet", tmp_path / "rec"),
        (tmp_path / "rec" / "2026-01-05", "--csv", again),
    ):
        process = tickpipe.start("ticks", *arguments, "--config", GUIDE)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
    assert "3,000" in output
    assert again.read_bytes() == day.read_bytes()
