"""The verbs that look at a run and speak to it, and those that read its ledger."""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.table import Table

from pipeline.channels.control import Message
from pipeline.channels.inspection import ReaderReport, inspect
from pipeline.channels.line import STRATEGY
from pipeline.channels.locks import lock_is_held
from pipeline.channels.rundir import lock_path
from pipeline.channels.telling import ask_risk
from pipeline.channels.watch import Watch
from pipeline.errors import TickpipeError, UsageError, explain
from pipeline.records import IST, PRICE_SCALE, ProcessState
from pipeline.risk.checking import check_ledger
from pipeline.risk.files import rulebook_for
from pipeline.risk.ledger import Ledger, ledger_path
from pipeline.risk.restoring import restore
from pipeline.risk.session import RiskSession
from pipeline.runtime.exit_codes import ExitCode
from pipeline.verbs.settings import settings_of
from pipeline.verbs.terminal import console, print_rows


def halt(options: argparse.Namespace) -> ExitCode:
    return _tell(options, {"verb": "halt", "reason": options.reason})


def flatten(options: argparse.Namespace) -> ExitCode:
    return _tell(options, {"verb": "flatten", "reason": options.reason})


def resume(options: argparse.Namespace) -> ExitCode:
    """Allow entries again; whoever does it types the name of the run."""
    name = settings_of(options).run.name
    typed = options.unlock
    if typed is None:
        if not sys.stdin.isatty():
            raise UsageError(
                explain(
                    "tickpipe resume without a terminal",
                    rule="whoever allows entries again types the name of the run",
                    cure=f"add --unlock {name}",
                )
            )
        typed = console.input(f"Type the name of the run, {name}, to allow entries again: ")
    return _tell(options, {"verb": "resume", "unlock": typed.strip(), "reason": options.reason})


def status(options: argparse.Namespace) -> ExitCode:
    reply = _ask(options, {"verb": "status"})
    facts, positions, orders = (reply[name] for name in ("facts", "positions", "orders"))
    assert isinstance(facts, Mapping)
    table = Table(box=None, show_header=False)
    for name, value in facts.items():
        table.add_row(str(name), str(value))
    if not lock_is_held(lock_path(settings_of(options).run_directory, STRATEGY)):
        table.add_row(STRATEGY, "not running: nobody asks for entries; risk guards what is open")
    console.print(table)
    assert isinstance(positions, Sequence)
    assert isinstance(orders, Sequence)
    print_rows("open positions", positions)
    print_rows("orders at the broker", orders)
    return ExitCode.OK


def _tell(options: argparse.Namespace, message: Message) -> ExitCode:
    console.print(str(_ask(options, message)["text"]), soft_wrap=True)
    return ExitCode.OK


def _ask(options: argparse.Namespace, message: Message) -> Message:
    return ask_risk(settings_of(options).run_directory, {**message, "by": getpass.getuser()})


def ring(options: argparse.Namespace) -> ExitCode:
    directory = settings_of(options).run_directory
    report = inspect(directory)
    owner = f"pid {report.owner}" + ("" if report.owner_alive else ", DEAD")
    console.print(
        f"{report.path}: {report.state.name.lower()}, capacity {report.capacity:,}, "
        f"epoch {report.epoch}, writer {owner}, claimed {report.claimed:,}, "
        f"published {report.published:,}",
        soft_wrap=True,
    )
    readers = Table(*ReaderReport._fields, box=None)
    for reader in report.readers:
        readers.add_row(*map(str, reader))
    console.print(readers)
    watch = Watch(directory)
    for role, beat in watch.latest().items():
        state = ProcessState(int(beat["state"][0])).name.lower()
        age_ms = (time.monotonic_ns() - int(beat["beat_ns"][0])) / 1e6
        dead = "" if lock_is_held(lock_path(directory, role)) else ", DEAD"
        console.print(f"{role}: {state}, heartbeat {age_ms:,.0f} ms ago{dead}")
    watch.close()
    return ExitCode.OK


# The ledger, also while it is written --------------------------------------------------------


def orders(options: argparse.Namespace) -> ExitCode:
    """Show every order of the day and where it stands."""
    with _ledger(options) as ledger:
        standing = {change.order_id: change for change in ledger.changes()}
        rows = [
            {
                "order": order.order_id,
                "symbol": order.symbol,
                "side": order.side.value,
                "shares": str(order.quantity),
                "filled": str(sum(fill.quantity for fill in fills)),
                "state": str(standing[order.order_id].state)
                if order.order_id in standing
                else "SENT",
                "broker's id": standing[order.order_id].broker_id
                if order.order_id in standing
                else "",
                "reason": order.reason,
            }
            for order, fills in ledger.orders()
        ]
    print_rows("orders", rows)
    return ExitCode.OK


def positions(options: argparse.Namespace) -> ExitCode:
    """Show what is held, as it follows from the ledger."""
    settings = settings_of(options)
    session = RiskSession(settings, rulebook_for(settings))
    with _ledger(options) as ledger:
        restore(session, ledger.history(), 0)
    rows = [
        {
            "position": str(position.position_id),
            "symbol": settings.instruments[position.instrument].symbol,
            "shares": f"{position.quantity:+}",
            "entry": f"{position.entry_e4 / PRICE_SCALE:,.2f}",
        }
        for position in session.book.open_positions()
    ]
    print_rows("positions", rows)
    console.print(f"cash ₹{session.book.cash:,.2f}")
    return ExitCode.OK


def trades(options: argparse.Namespace) -> ExitCode:
    """Show every exit of the day."""
    with _ledger(options) as ledger:
        rows = [
            {
                "trade": str(trade.trade_id),
                "symbol": trade.symbol,
                "side": trade.side,
                "shares": str(trade.quantity),
                "entry": f"{trade.entry_price_e4 / PRICE_SCALE:,.2f}",
                "exit": f"{trade.exit_price_e4 / PRICE_SCALE:,.2f}",
                "net ₹": f"{trade.net_pnl:,.2f}",
                "reason": trade.exit_reason,
            }
            for trade in ledger.trades()
        ]
    print_rows("trades", rows)
    return ExitCode.OK


def ledger(options: argparse.Namespace) -> ExitCode:
    """Reckon everything again from the fills, and say what does not agree."""
    settings = settings_of(options)
    with _ledger(options) as opened:
        mistakes = check_ledger(settings, opened.history(), opened.trades(), rulebook_for(settings))
        console.print(f"{opened!r}", soft_wrap=True)
    for mistake in mistakes:
        console.print(f"wrong: {mistake}", soft_wrap=True)
    if mistakes:
        raise TickpipeError(
            explain(
                f"the ledger has {len(mistakes)} mistake(s)",
                rule="orders, fills, trades, positions and cash follow from each other",
                cure="do not trade with it; compare it with the broker's books, and report it",
            )
        )
    console.print("orders, fills, trades, positions and cash agree")
    return ExitCode.OK


def _ledger(options: argparse.Namespace) -> Ledger:
    """Open the ledger that was named, else today's of the run."""
    if options.file is not None:
        return Ledger.read(options.file)
    return Ledger.read(ledger_path(settings_of(options), datetime.now(IST)))
