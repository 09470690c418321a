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

from pipeline.brokers.contract import OrderState, Side
from pipeline.errors import AlreadyRunning, LedgerFailed, TickpipeError, UserError
from pipeline.risk.history import Change, Event, Mark
from pipeline.risk.ledger import LAZY_MAX, MEMORY, Ledger
from pipeline.risk.limits import Code, Refusal
from tests.money import e4_of, fill, order, trade

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
    ledger.put(first)
    ledger.put(second)
    for each in fills:
        ledger.put(each)
    assert ledger.orders() == [(first, []), (second, fills)]
    assert type(ledger.orders()[0][0].side) is Side


def test_trades_come_back_exactly_to_the_last_digit(ledger: Ledger) -> None:
    written = trade("0.000000000000001", charges="22.231938", gross_pnl=Decimal("1E+3"))
    ledger.put(written)
    (read,) = ledger.trades()
    assert read == written
    assert str(read.gross_pnl) == "1E+3"
    assert type(read.exit_charges) is Decimal


def test_money_is_text_in_the_file(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.put(trade("817.768062"))
    with sqlite3.connect(path) as database:
        ((kind, text),) = database.execute("SELECT typeof(gross_pnl), gross_pnl FROM trades")
    assert (kind, text) == ("text", "817.768062")


def test_events_and_settings_come_back(ledger: Ledger) -> None:
    ledger.put(Event("halt", "kill_switch", 5))
    ledger.settings_used([("run.name", "one")])
    ledger.settings_used([("run.name", "two"), ("risk.base_sl_points", "15.0")])
    assert ledger.events() == [Event("halt", "kill_switch", 5)]
    assert ledger.settings() == [("run.name", "two"), ("risk.base_sl_points", "15.0")]


def test_an_order_id_is_written_once(ledger: Ledger) -> None:
    ledger.put(order(order_id="251001N0001E0"))
    with pytest.raises(TickpipeError, match="order 251001N0001E0 is in the ledger already"):
        ledger.put(order(Side.SELL, order_id="251001N0001E0"))


def test_nothing_is_written_before_the_commit_and_all_of_it_after(path: Path) -> None:
    with Ledger.open(path) as ledger, Ledger.read(path) as other:
        ledger.put(order(order_id="E0"))
        ledger.put(fill(order(order_id="E0")))
        assert other.orders() == []
        ledger.commit()
        assert (
            other.orders()
            == ledger.orders()
            == [(order(order_id="E0"), [fill(order(order_id="E0"))])]
        )


def test_an_order_that_is_taken_back_was_never_there(ledger: Ledger) -> None:
    ledger.put(order(order_id="E0"))
    ledger.put(order(order_id="X1"))
    ledger.take_back([order(order_id="E0")])
    ledger.commit()
    assert [each.order_id for each, _ in ledger.orders()] == ["X1"]
    ledger.put(order(order_id="E0"))


def test_refusals_wait_for_the_next_commit_and_can_be_read_at_once(path: Path) -> None:
    with Ledger.open(path) as ledger, Ledger.read(path) as other:
        ledger.refused(REFUSAL)
        assert (ledger.refusals(), other.refusals()) == ([REFUSAL], [])
        ledger.put(order())
        ledger.commit()
        assert (ledger.refusals(), other.refusals()) == ([REFUSAL], [REFUSAL])


def test_when_orders_were_sent_goes_with_the_next_commit(path: Path) -> None:
    with Ledger.open(path) as ledger, Ledger.read(path) as other:
        ledger.handed_over("E0", 77)
        assert (ledger.times_sent(), other.times_sent()) == ({"E0": 77}, {})
        ledger.handed_over("X1", 88)
        ledger.commit()
        assert ledger.times_sent() == other.times_sent() == {"E0": 77, "X1": 88}


def test_refusals_do_not_wait_for_ever(path: Path) -> None:
    with Ledger.open(path) as ledger, Ledger.read(path) as other:
        for _ in range(LAZY_MAX + 1):
            ledger.refused(REFUSAL)
        assert len(other.refusals()) == LAZY_MAX


def test_history_has_the_order_of_what_happened_over_all_tables_and_restarts(path: Path) -> None:
    entry, exit = order(order_id="E0"), order(Side.SELL, order_id="X1")
    change = Change("E0", OrderState.FILLED, 75, 75 * e4_of(100), "B1", "")
    mark = Mark(1, 0, 75, e4_of(100), e4_of(99), e4_of(101), 0, 7, e4_of(100), "")
    with Ledger.open(path) as ledger:
        for record in (entry, fill(entry), change, mark):
            ledger.put(record)
    with Ledger.open(path) as ledger:
        ledger.put(Event("halt", "who: why", 5))
        higher = mark._replace(high_e4=e4_of(105))
        for record in (higher, exit, fill(exit)):
            ledger.put(record)
        ledger.commit()
        expected = [entry, fill(entry), change, Event("halt", "who: why", 5), higher, exit]
        assert ledger.history() == [*expected, fill(exit)]
    with Ledger.open(path) as ledger:
        assert ledger.history() == [*expected, fill(exit)]
        assert ledger.marks() == [higher], "the last one of a position counts"


def test_one_process_writes_it_at_a_time_and_others_read(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.put(order())
        ledger.commit()
        with pytest.raises(AlreadyRunning, match="is written by another process"):
            Ledger.open(path)
        with Ledger.read(path) as other:
            assert len(other.orders()) == 1
    Ledger.open(path).close()


def test_who_reads_cannot_write_and_makes_no_file(path: Path) -> None:
    with pytest.raises(UserError, match="no ledger"):
        Ledger.read(path)
    with pytest.raises(UserError, match="unable to open database file"):
        Ledger.read(path.parent)
    Ledger.open(path).close()
    with Ledger.read(path) as other:
        other.put(order())
        with pytest.raises(LedgerFailed, match="readonly"):
            other.commit()
        other.take_back([order()])


def full(path: Path) -> Ledger:
    """Return a ledger without room for another page."""
    ledger = Ledger.open(path)
    ledger._database.execute("PRAGMA max_page_count = 1")
    return ledger


def test_what_cannot_be_written_waits_and_is_written_when_there_is_room(path: Path) -> None:
    ledger = full(path)
    sent = [order(order_id=f"E{number}", reason="x" * 4_000) for number in range(9)]
    for each in sent:
        ledger.put(each)
    with pytest.raises(LedgerFailed, match="database or disk is full; 9 records wait"):
        ledger.commit()
    assert not ledger.try_commit()
    assert ledger.failed == "database or disk is full"
    assert [each for each, _ in ledger.orders()] == sent, "what waits can be read"
    ledger.refused(REFUSAL)  # of these nothing is kept meanwhile
    ledger._database.execute("PRAGMA max_page_count = 10000")
    assert ledger.try_commit()
    assert ledger.failed == ""
    ledger.close()
    with Ledger.read(path) as other:
        assert [each for each, _ in other.orders()] == sent
        assert other.refusals() == []


def test_refusals_that_wait_are_written_when_it_closes(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.refused(REFUSAL)
    with Ledger.open(path) as ledger:
        assert ledger.refusals() == [REFUSAL]
        assert type(ledger.refusals()[0].code) is Code


def test_only_its_owner_can_read_it_and_its_companions(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.put(order())
        ledger.commit()
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
        ledger.put(order(order_id="E0"))
        ledger.commit()
        ledger.put(order(order_id="X1"))
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
    with pytest.raises(UserError, match="version 9, this program writes 4"):
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
