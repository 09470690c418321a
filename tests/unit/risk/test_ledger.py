"""What was written comes back exactly, and survives the process."""

from __future__ import annotations

import os
import signal as signals
import sqlite3
import stat
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.brokers.contract import Side
from pipeline.errors import TickpipeError, UserError
from pipeline.risk.ledger import MEMORY, REFUSALS_WAITING_MAX, Ledger
from pipeline.risk.limits import Code, Refusal
from tests.money import fill, order, trade

REFUSAL = Refusal(Code.POSITION_OPEN, "instrument=0 held=75", 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture(params=["file", "memory"])
def ledger(request: pytest.FixtureRequest, path: Path) -> Iterator[Ledger]:
    with Ledger.open(path if request.param == "file" else MEMORY) as opened:
        yield opened


def test_orders_come_back_with_their_fills_oldest_first(ledger: Ledger) -> None:
    first, second = order(order_id="E0"), order(Side.SELL, order_id="X1")
    fills = [fill(second, 25), fill(second, 50)]
    ledger.order_sent(first)
    ledger.order_sent(second)
    for each in fills:
        ledger.filled(each)
    assert ledger.orders() == [(first, []), (second, fills)]
    assert type(ledger.orders()[0][0].side) is Side


def test_trades_come_back_exactly_to_the_last_digit(ledger: Ledger) -> None:
    written = trade("0.000000000000001", charges="22.231938", gross_pnl=Decimal("1E+3"))
    ledger.traded(written)
    (read,) = ledger.trades()
    assert read == written
    assert str(read.gross_pnl) == "1E+3"
    assert type(read.exit_charges) is Decimal


def test_money_is_text_in_the_file(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.traded(trade("817.768062"))
    with sqlite3.connect(path) as database:
        ((kind, text),) = database.execute("SELECT typeof(gross_pnl), gross_pnl FROM trades")
    assert (kind, text) == ("text", "817.768062")


def test_events_and_settings_come_back(ledger: Ledger) -> None:
    ledger.event("halt", "kill_switch", 5)
    ledger.settings_used([("run.name", "one")])
    ledger.settings_used([("run.name", "two"), ("risk.base_sl_points", "15.0")])
    assert ledger.events() == [("halt", "kill_switch", 5)]
    assert ledger.settings() == [("run.name", "two"), ("risk.base_sl_points", "15.0")]


def test_an_order_id_is_written_once(ledger: Ledger) -> None:
    ledger.order_sent(order(order_id="251001N0001E0"))
    with pytest.raises(TickpipeError, match="order 251001N0001E0 is in the ledger already"):
        ledger.order_sent(order(Side.SELL, order_id="251001N0001E0"))


def test_a_transaction_that_an_exception_leaves_writes_nothing(ledger: Ledger) -> None:
    def fail() -> None:
        with ledger.transaction():
            ledger.order_sent(order())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert ledger.orders() == []
    ledger.order_sent(order())
    assert len(ledger.orders()) == 1


def test_refusals_wait_for_the_next_transaction_and_can_be_read_at_once(path: Path) -> None:
    with Ledger.open(path) as ledger, Ledger.open(path) as other:
        ledger.refused(REFUSAL)
        assert (ledger.refusals(), other.refusals()) == ([REFUSAL], [])
        with ledger.transaction():
            ledger.order_sent(order())
        assert (ledger.refusals(), other.refusals()) == ([REFUSAL], [REFUSAL])


def test_when_orders_were_sent_goes_with_the_next_transaction(path: Path) -> None:
    with Ledger.open(path) as ledger, Ledger.open(path) as other:
        ledger.handed_over("E0", 77)
        assert (ledger.times_sent(), other.times_sent()) == ({"E0": 77}, {})
        with ledger.transaction():
            ledger.handed_over("X1", 88)
        assert ledger.times_sent() == other.times_sent() == {"E0": 77, "X1": 88}


def test_refusals_do_not_wait_for_ever(path: Path) -> None:
    with Ledger.open(path) as ledger, Ledger.open(path) as other:
        for _ in range(REFUSALS_WAITING_MAX + 1):
            ledger.refused(REFUSAL)
        assert len(other.refusals()) == REFUSALS_WAITING_MAX


def test_refusals_that_wait_are_written_when_it_closes(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.refused(REFUSAL)
    with Ledger.open(path) as ledger:
        assert ledger.refusals() == [REFUSAL]
        assert type(ledger.refusals()[0].code) is Code


def test_only_its_owner_can_read_it_and_its_companions(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.order_sent(order())
        modes = {
            each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.glob("ledger*")
        }
    assert modes == dict.fromkeys(
        ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"], 0o600
    )


def test_a_ledger_that_others_could_read_is_closed_to_them(path: Path) -> None:
    Ledger.open(path).close()
    path.chmod(0o644)
    Ledger.open(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_synchronous_and_writes_ahead(path: Path) -> None:
    with Ledger.open(path) as ledger:
        assert ledger._database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert ledger._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_what_was_committed_survives_a_kill_and_what_was_not_is_gone(path: Path) -> None:
    child = os.fork()
    if child == 0:
        ledger = Ledger.open(path)
        ledger.order_sent(order(order_id="E0"))
        ledger._database.execute("BEGIN IMMEDIATE")
        ledger.order_sent(order(order_id="X1"))
        os.kill(os.getpid(), signals.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signals.SIGKILL
    with Ledger.open(path) as ledger:
        assert [sent.order_id for sent, _ in ledger.orders()] == ["E0"]


def test_a_database_of_another_program_is_refused_and_untouched(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE photos (name TEXT)")
    with pytest.raises(UserError, match="a database of another program"):
        Ledger.open(path)
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT name FROM sqlite_schema").fetchall() == [("photos",)]


def test_another_version_is_refused(path: Path) -> None:
    Ledger.open(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 9")
    with pytest.raises(UserError, match="version 9, this program writes 3"):
        Ledger.open(path)


@pytest.mark.parametrize("content", [b"not a database at all, but text", b"x" * 8192])
def test_a_file_that_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(UserError, match="file is not a database"):
        Ledger.open(path)


def test_a_link_and_a_folder_that_is_not_there_are_refused(path: Path) -> None:
    path.symlink_to(path.parent / "elsewhere")
    with pytest.raises(UserError, match=r"ledger\.sqlite"):
        Ledger.open(path)
    with pytest.raises(UserError, match="No such file"):
        Ledger.open(path.parent / "nowhere" / "ledger.sqlite")
