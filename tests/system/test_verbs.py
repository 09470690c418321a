"""The verbs that are not covered by a day's trades."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.brokers.recorded.files import read_ticks
from pipeline.channels import choose
from pipeline.cli import _parser, _verb, main
from pipeline.runtime.exit_codes import ExitCode
from pipeline.settings import load_settings
from tests.system.conftest import GUIDE, ROOT, Tickpipe, finish
from tests.system.golden import golden_trades, row_of, write_day, write_steady_day
from tests.system.running import STEADY, Run


def test_the_demo_generates_a_day_trades_it_and_says_where_the_results_are(
    tickpipe: Tickpipe,
) -> None:
    directory = f'channels.directory="{tickpipe.run_directory}"'
    code, output = finish(tickpipe.start("demo", "--seconds", 2, "--set", directory))
    assert code == ExitCode.OK, output
    (results,) = (tickpipe.results / "demo").glob("forward_test_results_*.csv")
    assert str(results.name) in output
    assert "Final Cash" in output


def test_the_same_seed_generates_the_same_file(tickpipe: Tickpipe) -> None:
    for name in ("one.csv", "two.csv"):
        code, output = tickpipe.tell("generate", name, "--ticks", 500, "--date", "2026-01-05")
        assert code == ExitCode.OK, output
    one, two = ((tickpipe.folder / name).read_bytes() for name in ("one.csv", "two.csv"))
    assert one == two
    instruments = load_settings(GUIDE).instruments
    assert len(read_ticks(tickpipe.folder / "one.csv", instruments)) == 500


def test_a_generated_file_of_many_instruments_names_them(tickpipe: Tickpipe) -> None:
    code, output = tickpipe.tell("generate", "many.csv.gz", "--instruments", 3, "--ticks", 50)
    assert code == ExitCode.OK, output
    first = load_settings(GUIDE).instruments[0]
    names = [first.model_copy(update={"symbol": f"SYM-{n}"}) for n in (1, 2, 3)]
    ticks = read_ticks(tickpipe.folder / "many.csv.gz", names)
    assert sorted(set(ticks["instrument"].tolist())) == [0, 1, 2]
    assert len(ticks) == 150


def test_each_role_can_be_run_alone(tickpipe: Tickpipe) -> None:
    day = write_day(tickpipe.folder / "day.csv")
    recorded = ("--set", 'feed.broker="recorded"', "--set", f'feed.recording="{day}"')
    lockstep = ("--set", "channels.lockstep=true")
    roles = [tickpipe.trade("run", role, *recorded, *lockstep) for role in ("risk", "strategy")]
    code, output = tickpipe.run("run", "feed", *recorded, *lockstep)
    assert code == ExitCode.OK, output
    for process in roles:
        code, output = finish(process)
        assert code == ExitCode.OK, output
    assert [row_of(trade) for trade in tickpipe.trades()] == golden_trades()


def test_a_running_ring_can_be_looked_at(tickpipe: Tickpipe) -> None:
    day = write_steady_day(tickpipe.folder / "day.csv")
    run = Run(tickpipe, tickpipe.trade("replay", day, *STEADY))
    tickpipe.wait_for(lambda: run.beat("risk", "ticks") > 0, "the run to trade")
    directory = f'channels.directory="{tickpipe.run_directory}"'
    code, output = tickpipe.tell("ring", "--config", GUIDE, "--set", directory)
    assert code == ExitCode.OK, output
    assert f"open, capacity 65,536, epoch 1, writer pid {run.beat('feed', 'pid')}," in output
    for role in ("strategy", "risk"):
        assert str(run.beat(role, "pid")) in output
        assert f"{role}: running, heartbeat" in output


def test_a_ring_that_is_not_there_is_told(tickpipe: Tickpipe) -> None:
    directory = f'channels.directory="{tickpipe.run_directory}"'
    code, output = tickpipe.tell("ring", "--config", GUIDE, "--set", directory)
    assert code == ExitCode.USAGE, output
    assert "no ring in" in output


def test_show_config_shows_every_setting_and_no_secret(
    tickpipe: Tickpipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKPIPE_JWT", "very-secret")
    code, output = tickpipe.tell("show-config", "--set", "strategy.fast_ema=9")
    assert code == ExitCode.OK, output
    assert "strategy.fast_ema = 9" in output
    assert "very-secret" not in output


def with_dump(folder: Path) -> Path:
    """Return a configuration whose instrument has its token and lot from the broker's dump."""
    dump = folder / "instruments.csv"
    dump.write_text(
        "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,"
        "lot_size,instrument_type,segment,exchange\n"
        "15094530,58963,NIFTYCE,NIFTY,0,2099-12-31,26000,0.05,65,CE,NFO-OPT,NFO\n"
    )
    example = (GUIDE.parent / "kite.example.toml").read_text()
    head, _, rest = example.partition("\n[[instruments]]")
    row = f'instruments_file = "{dump}"\n[[instruments]]\nsymbol = "NIFTYCE"\nexchange = "NFO"\n'
    row += 'product_type = "INTRADAY"\n\n'
    config = folder / "my.toml"
    config.write_text(head + "\n" + row + "[session]" + rest.partition("[session]")[2])
    return config


@pytest.mark.parametrize("verb", ["check-config", "show-config"])
def test_what_the_instrument_dump_fills_in_is_shown(tickpipe: Tickpipe, verb: str) -> None:
    config = with_dump(tickpipe.folder)
    code, output = tickpipe.tell(verb, "--config", config)
    assert code == ExitCode.OK, output
    taken = "token 15094530, lot_size 65, tick_size 0.05, kind option, underlying NIFTY"
    assert f"note: NIFTYCE: {taken} (from {tickpipe.folder}/instruments.csv)" in output
    assert verb == "check-config" or "instruments.0.token = 15094530" in output


@pytest.mark.parametrize("verb", ["halt", "flatten", "status", "resume --unlock default"])
def test_who_speaks_to_risk_takes_its_instruments_from_the_dump_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    directory = f'channels.directory="{tmp_path / "shm"}"'
    chosen = ["--config", str(with_dump(tmp_path)), "--set", directory]
    assert main([*verb.split(), *chosen]) == ExitCode.CONTROL_REFUSED  # nobody listens
    assert "control.sock" in capsys.readouterr().err


def test_a_reader_of_the_output_that_went_away_changes_nothing(tmp_path: Path) -> None:
    gone, output = os.pipe()
    os.close(gone)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "show-config", "--config", GUIDE],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    os.close(output)
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")


def test_version_says_which_implementation_runs(tickpipe: Tickpipe) -> None:
    code, output = finish(tickpipe.start("version", "--verbose"))
    assert code == ExitCode.OK, output
    name = choose("auto").name
    assert f"channels: {name} (" in output
    assert ", because the extension is" in output


VERBS = "demo run replay backtest compare ring simulate generate calendar check-config "
VERBS += "show-config version"


@pytest.mark.parametrize("verb", VERBS.split())
def test_every_verb_has_help_with_worked_examples(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    paragraph = capsys.readouterr().out.partition("examples:")[2].partition("\n\n")[0]
    examples = paragraph.splitlines()
    commands = [line.strip() for line in examples if line]
    assert commands
    assert all(command.startswith(f"tickpipe {verb}") for command in commands), commands


def test_every_verb_is_a_function_that_is_there() -> None:
    (table,) = (each for each in _parser()._actions if isinstance(each.choices, dict))
    verbs = {name: parser.get_default("verb") for name, parser in table.choices.items()}
    assert set(VERBS.split()) <= set(verbs)
    for name, verb in verbs.items():
        assert callable(_verb(verb)), name


@pytest.mark.parametrize("verb", ["trading.run", "control.status"])
def test_no_verb_waits_for_what_only_another_one_needs(verb: str) -> None:
    """A web server and an HTTP client take longer to import than all the rest."""
    program = f"import sys, pipeline.cli as c; c._verb({verb!r}); print(*sys.modules, sep=chr(10))"
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported = set(answer.stdout.split())
    assert "numpy" in imported
    assert not imported & {"aiohttp", "httpx", "pyarrow", "pipeline.simulator.process"}


def test_a_verb_that_is_none_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["trade"])
    assert ended.value.code == ExitCode.USAGE


def test_a_speed_without_the_simulator_is_refused(tickpipe: Tickpipe, tmp_path: Path) -> None:
    code, output = tickpipe.run("replay", tmp_path / "day.csv", "--speed", "5")
    assert code == ExitCode.USAGE, output
    assert "--through-simulator" in output
