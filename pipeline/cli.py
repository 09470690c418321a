"""The command line. The only argument parser; each verb is a few lines that call one room.

A verb is named here and imported when it is run: no command waits for what another one needs.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from pipeline import __version__
from pipeline.errors import TickpipeError
from pipeline.runtime.exit_codes import ExitCode, exit_code_of
from pipeline.runtime.stopping import ends_on_ctrl_c
from pipeline.settings import Mode, default_config
from pipeline.simulator import DEFAULT_PORT

Verb = Callable[[argparse.Namespace], ExitCode]
Table: TypeAlias = "argparse._SubParsersAction[_Parser]"

_EXIT_CODES = "exit codes:\n" + "\n".join(
    f"  {code.value:>3}  {code.name:<16} {code.meaning}" for code in ExitCode
)

_FAULTS = """
a fault script is TOML, a table for each fault:
  [[faults]]
  tick = 2000            before this tick is sent; or time = "10:15", of the recording
  kind = "reset"
  symbol = "…"           only for the connections that carry it (all)
  missed = 50            ticks that pass then without being sent (0)
kinds, and what else each may say:
{kinds}

a fault script of orders has [[order_faults]] with order, from 1, and kind, one of
  {order_kinds}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    try:
        options = _parser().parse_args(arguments)
        with ends_on_ctrl_c():
            verb = _verb(options.verb)
        return verb(options)
    except TickpipeError as error:
        print(f"error: {error}", file=sys.stderr)
        return exit_code_of(error)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _verb(name: str) -> Verb:
    """Return the verb of that name, with its module: "trading.run"."""
    module, _, function = name.partition(".")
    verb: Verb = getattr(importlib.import_module(f"pipeline.verbs.{module}"), function)
    return verb


class _Parser(argparse.ArgumentParser):
    """A parser whose help ends with what takes long to gather."""

    more_help: Callable[[], str] = str  # "", for most

    def format_help(self) -> str:
        return super().format_help() + self.more_help()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tickpipe",
        description="A live-trading tick pipeline: feed, strategy and risk as processes.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    table = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    for add in (
        _add_demo,
        _add_run,
        _add_replay,
        _add_backtest,
        _add_record,
        _add_ticks,
        _add_compare,
        _add_ring,
        _add_control_verbs,
        _add_simulate,
        _add_generate,
        _add_settings_verbs,
    ):
        add(table)
    return parser


def _add(
    table: Table,
    name: str,
    verb: str,
    help: str,
    examples: str,
) -> _Parser:
    parser = table.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog="examples:\n"
        + "".join(f"  tickpipe {line}\n" for line in examples.splitlines())
        + "\nexit codes: 0 when it ended as it should; the others are in `tickpipe --help`",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(verb=verb)
    return parser


def _add_demo(table: Table) -> None:
    demo = _add(
        table,
        "demo",
        "trading.demo",
        "play a generated day through the whole pipeline, with a live display",
        "demo\ndemo --mode poll --seconds 30",
    )
    _trading_options(demo)
    demo.add_argument("--seconds", type=float, default=15, help="how long the day takes (15)")
    demo.add_argument("--seed", type=int, default=7, help="seed of the generated day (7)")


def _add_run(table: Table) -> None:
    run = _add(
        table,
        "run",
        "trading.run",
        "trade: start feed, strategy and risk, and watch them",
        "run --config configs/paper.toml\nrun --mode poll --set pinning.strategy=[1]\n"
        "run risk --config configs/paper.toml      (one process alone)",
    )
    run.add_argument(
        "role", nargs="?", choices=("feed", "strategy", "risk"), help="run only this process, here"
    )
    run.add_argument(
        "--confirm-live",
        metavar="WORDS",
        help="with orders.live = true: the run's name or LIVE, in place of typing it",
    )
    _trading_options(run)


def _add_replay(table: Table) -> None:
    replay = _add(
        table,
        "replay",
        "trading.replay",
        "play a recorded day through the real processes, in lockstep",
        "replay day.csv --config configs/guide.toml\n"
        "replay day.csv.gz --mode poll --results out\n"
        "replay day.csv --through-simulator\n"
        "replay day.csv --through-simulator --speed 100 --free-running",
    )
    _tick_file(replay)
    _trading_options(replay)
    replay.add_argument(
        "--through-simulator",
        action="store_true",
        help="let the simulator send it over a real WebSocket",
    )
    replay.add_argument(
        "--speed",
        type=_speed,
        default=None,
        metavar="N|max",
        help="times real time, with --through-simulator (max)",
    )
    replay.add_argument(
        "--free-running",
        action="store_true",
        help="do not wait for strategy and risk between ticks; fast readers are needed",
    )


def _add_backtest(table: Table) -> None:
    backtest = _add(
        table,
        "backtest",
        "trading.backtest",
        "trade a recorded day in this process, with the same strategy and risk code",
        "backtest day.csv --config configs/guide.toml\nbacktest day.csv --set session.gates=true",
    )
    _tick_file(backtest)
    _trading_options(backtest)


def _add_record(table: Table) -> None:
    record = _add(
        table,
        "record",
        "trading.record",
        "record ticks and gaps to Parquet: the feed and the recorder, nothing that trades",
        "record\nrecord --config my.toml --out recordings\n"
        "run --set recorder.directory=recordings      (beside a run that trades)",
    )
    _config_options(record)
    record.add_argument(
        "--out", type=Path, metavar="DIR", help="where to (recorder.directory, else recordings)"
    )


def _add_ticks(table: Table) -> None:
    ticks = _add(
        table,
        "ticks",
        "recordings.ticks",
        "show what is in a tick file or a recording, or write it in another form",
        "ticks recordings/2026-11-23\nticks day.csv.gz --parquet recordings\n"
        "ticks recordings/2026-11-23/ticks/NIFTY25NOVFUT.parquet --csv nifty.csv",
    )
    _tick_file(ticks)
    _config_options(ticks)
    ticks.add_argument("--csv", type=Path, metavar="FILE", help="CSV to write")
    ticks.add_argument("--parquet", type=Path, metavar="DIR", help="recording to write")


def _add_compare(table: Table) -> None:
    compare = _add(
        table,
        "compare",
        "information.compare",
        "measure the modes beside the loops of the guide, and check that the trades are the same",
        "compare\ncompare --quick --json numbers.json\ncompare --out /tmp/here --runs 3",
    )
    compare.add_argument(
        "--out", type=Path, default=Path("results/compare"), metavar="DIR", help="for the results"
    )
    compare.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    compare.add_argument("--quick", action="store_true", help="a slice, in half a minute")
    compare.add_argument("--runs", type=int, default=1, help="runs of every load (1)")


def _add_ring(table: Table) -> None:
    ring = _add(
        table,
        "ring",
        "control.ring",
        "look at the ring of a running pipeline from outside",
        "ring\nring --config configs/paper.toml\nring --set run.name=nifty",
    )
    _config_options(ring)


def _add_control_verbs(table: Table) -> None:
    for name, verb, help in (
        ("halt", "control.halt", "no entries any more; exits go on (a running run)"),
        ("flatten", "control.flatten", "halt, and close everything now (a running run)"),
    ):
        parser = _add(table, name, verb, help, f'{name}\n{name} --reason "news" --config my.toml')
        parser.add_argument("--reason", default="", help="why, for the ledger")
        _config_options(parser)
    resume = _add(
        table,
        "resume",
        "control.resume",
        "allow entries again; the name of the run has to be typed (a running run)",
        "resume\nresume --unlock default",
    )
    resume.add_argument("--reason", default="", help="why, for the ledger")
    resume.add_argument("--unlock", metavar="NAME", help="the name of the run, without a terminal")
    _config_options(resume)
    status = _add(
        table,
        "status",
        "control.status",
        "show what risk holds and whether it takes entries (a running run)",
        "status\nstatus --config my.toml",
    )
    _config_options(status)
    for name, verb, help in (
        ("orders", "control.orders", "show every order of the day, from the ledger"),
        ("positions", "control.positions", "show what is held, from the ledger"),
        ("trades", "control.trades", "show every exit of the day, from the ledger"),
    ):
        parser = _add(table, name, verb, help, f"{name}\n{name} --file results/ledger.sqlite")
        _ledger_options(parser)
    ledger = _add(
        table,
        "ledger",
        "control.ledger",
        "check a ledger: everything is reckoned again from the fills",
        "ledger check\nledger check --file results/ledger.sqlite",
    )
    ledger.add_argument("what", choices=("check",), help="what to do with it")
    _ledger_options(ledger)


def _ledger_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--file", type=Path, metavar="FILE", help="the ledger (today's of the run)")
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="where the ledger is (run.results_dir)"
    )
    _config_options(parser)


def _add_simulate(table: Table) -> None:
    simulate = _add(
        table,
        "simulate",
        "simulation.simulate",
        "be an exchange on this machine that plays a tick file in the protocol of feed.broker",
        "simulate day.csv\nsimulate day.csv --speed 100 --port 9000\nsimulate day.csv --speed max\n"
        "simulate day.csv --config configs/kite.example.toml\n"
        "simulate day.csv --speed 60 --faults faults.toml --report report.json",
    )
    simulate.more_help = _fault_kinds
    _tick_file(simulate)
    _config_options(simulate)
    simulate.add_argument(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        help=f"port on 127.0.0.1, 0 = any ({DEFAULT_PORT})",
    )
    simulate.add_argument(
        "--speed", type=_speed, default=1.0, metavar="N|max", help="times real time (1)"
    )
    simulate.add_argument(
        "--faults", type=Path, metavar="FILE", help="fault script: what goes wrong, see below"
    )
    simulate.add_argument(
        "--order-faults",
        type=Path,
        metavar="FILE",
        help="fault script of orders, see below",
    )
    simulate.add_argument(
        "--report", type=Path, metavar="FILE", help="JSON to write: what was delivered, broken"
    )


def _add_generate(table: Table) -> None:
    generate = _add(
        table,
        "generate",
        "simulation.generate",
        "write a realistic synthetic day of ticks",
        "generate day.csv\ngenerate day.csv.gz --seed 42 --ticks 50000\n"
        "generate day.csv --instruments 20 --date 2026-01-05",
    )
    generate.add_argument("file", type=Path, help="CSV to write; .gz is compressed")
    generate.add_argument("--seed", type=int, default=7, help="same seed, same bytes (7)")
    generate.add_argument(
        "--date", default=None, metavar="YYYY-MM-DD", help="day of the ticks (the last weekday)"
    )
    generate.add_argument("--instruments", type=int, default=1, help="how many (1)")
    generate.add_argument("--ticks", type=int, default=30_000, help="ticks per instrument (30000)")


def _fault_kinds() -> str:
    from pipeline.simulator.order_faults import KINDS
    from pipeline.simulator.script import describe_faults

    return _FAULTS.format(kinds=describe_faults(), order_kinds=", ".join(KINDS))


def _add_settings_verbs(table: Table) -> None:
    check = _add(
        table,
        "check-config",
        "settings.check_config",
        "say every mistake of a configuration, or that there is none",
        "check-config --config configs/paper.toml",
    )
    _config_options(check)
    show = _add(
        table,
        "show-config",
        "settings.show_config",
        "show every setting in force; secrets are masked",
        "show-config\nshow-config --config my.toml --set waiting.mode=poll",
    )
    _config_options(show)
    calendar = _add(
        table,
        "calendar",
        "information.calendar",
        "show what the exchanges do on a day: hours, holidays, lots, and who says so",
        "calendar\ncalendar 2026-11-24",
    )
    calendar.add_argument("date", nargs="?", metavar="YYYY-MM-DD", help="the day (today)")
    version = _add(table, "version", "information.version", "show the version", "version --verbose")
    version.add_argument("--verbose", action="store_true", help="and what it runs on")
    version.set_defaults(number=__version__)


def _config_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        default=default_config(),
        metavar="FILE",
        help="configuration (configs/paper.toml)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override one setting; may be repeated",
    )


def _trading_options(parser: argparse.ArgumentParser) -> None:
    _config_options(parser)
    parser.add_argument(
        "--mode",
        choices=[mode.value for mode in Mode],
        help="how strategy and risk wait for ticks (waiting.mode)",
    )
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="where the results go (run.results_dir)"
    )


def _tick_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        type=Path,
        help="tick file: timestamp,price,volume; .gz allowed; or a recording: Parquet, a day",
    )


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0, nor max")
    return speed
