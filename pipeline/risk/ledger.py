"""The ledger: every order, fill, trade, refusal and event of a day, in SQLite.

Some facts about it:
    WAL with synchronous=FULL: what a commit wrote survives the process and the machine.
    One writer at a time; others open it to read while it is written.
    Records wait in memory until ``commit`` writes all that wait, or none of them. Where there is
    no room they go on waiting, in order, and LedgerFailed says so.
    Rows are numbered over all tables together, so ``history`` has the order of what happened.
    An order id can be written once only, so no order is sent twice (I6).
    Money is TEXT in ₹, exact; prices are integers of 1/10 000 ₹; times are epoch ns.
    Refusals and the times at which orders were handed over wait for the next commit, at most
    LAZY_MAX of them: a strategy that is refused on every tick must not make the exits wait for
    the disk.
"""

from __future__ import annotations

import fcntl
import glob
import os
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Any, get_type_hints

from pipeline.brokers.contract import Fill, Order
from pipeline.errors import AlreadyRunning, LedgerFailed, TickpipeError, UserError, explain
from pipeline.results.trades import Trade
from pipeline.risk.history import Change, Event, LossMark, Mark, Outside, Record, Sent
from pipeline.risk.limits import Refusal
from pipeline.settings import Settings

MEMORY = ":memory:"
APPLICATION_ID = 0x7469636B  # "tick"
VERSION = 4
LAZY_MAX = 64

_TABLES: dict[type[Any], str] = {
    Order: "orders",
    Sent: "sent",
    Change: "changes",
    Fill: "fills",
    Trade: "trades",
    Mark: "marks",
    LossMark: "loss_marks",
    Outside: "outside",
    Refusal: "refusals",
    Event: "events",
}
_KEYS = {Order: "order_id", Trade: "trade_id", Mark: "position_id", LossMark: "day"}
_REPLACED = {Mark, LossMark}  # of which only the last one of a key is kept
_HISTORY = (Order, Sent, Change, Fill, Mark, LossMark, Outside, Event)


def ledger_path(settings: Settings, now: datetime) -> Path:
    """Return the ledger of a run: one for each run name and day, or one of its own.

    A run that recovers goes on with the ledger of its name and day, so that what it did before
    counts. The others play a recorded day and begin anew each time.
    """
    day = f"{now:%Y%m%d}" if settings.recovers else f"{now:%Y%m%d_%H%M%S_%f}"
    return settings.run.results_dir / f"ledger_{settings.run.name}_{day}.sqlite"


def ledger_before(path: Path) -> Path | None:
    """Return the newest ledger of the run of ``path`` and of an earlier day, if there is one."""
    name, day = path.stem.rsplit("_", 1)
    days = "[0-9]" * len(day)
    earlier = (found for found in path.parent.glob(f"{glob.escape(name)}_{days}.sqlite"))
    return max((found for found in earlier if found.name < path.name), default=None)


def _columns(kind: type[Any]) -> str:
    return ", ".join(f'"{name}"' for name in kind._fields)


def _create(kind: type[Any]) -> str:
    columns = [
        f'"{name}" {"INTEGER" if hint is int else "TEXT"} NOT NULL'
        + (" UNIQUE" if kind in _KEYS and name == _KEYS[kind] else "")
        for name, hint in get_type_hints(kind).items()
    ]
    return f"CREATE TABLE {_TABLES[kind]} (row INTEGER PRIMARY KEY, {', '.join(columns)}) STRICT;"


def _insert(kind: type[Any]) -> str:
    verb = "INSERT OR REPLACE" if kind in _REPLACED else "INSERT"
    marks = ", ".join("?" * (1 + len(kind._fields)))
    return f"{verb} INTO {_TABLES[kind]} (row, {_columns(kind)}) VALUES ({marks})"


def _values(record: Trade) -> tuple[Any, ...]:
    """Return the values of a record; only Decimal is none of SQLite's."""
    return tuple(str(value) if type(value) is Decimal else value for value in record)


_INSERTS = {kind: _insert(kind) for kind in _TABLES}
_SCHEMA = "\n".join(
    [
        *map(_create, _TABLES),
        "CREATE TABLE settings (row INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT NOT NULL)"
        " STRICT;",
        f"PRAGMA application_id = {APPLICATION_ID};",
        f"PRAGMA user_version = {VERSION};",
    ]
)


class Ledger:
    """The ledger of a day; only risk writes it."""

    def __init__(self, database: sqlite3.Connection, lock: int | None = None) -> None:
        self._database = database
        self._lock = lock
        self._waiting: list[tuple[int, Any]] = []  # row number, record; oldest first
        self._lazy = 0  # how many of them need not be durable soon
        self._row = self._newest_row()
        self._order_ids = {order_id for (order_id,) in self._select("SELECT order_id FROM orders")}
        self.failed = ""  # why the last commit wrote nothing

    @classmethod
    def open(cls, path: Path | str) -> Ledger:
        """Open the ledger at ``path`` or make a new one of mode 0600; ":memory:" keeps no file.

        Raises UserError for a file that is not a ledger of this version, and AlreadyRunning
        where another process writes it.
        """
        if str(path) == MEMORY:
            return cls(_connect(path))
        lock = _lock_private(Path(path))
        try:
            return cls(_connect(path), lock)
        except UserError:
            os.close(lock)
            raise

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """Open the ledger at ``path`` to read, also while it is written. Raises as ``open``."""
        if not path.exists():
            raise UserError(
                explain(
                    f"no ledger {path}",
                    rule="a run keeps one ledger for its name and day",
                    cure="name the run with --config and --set run.name=…, or a file with --file",
                )
            )
        return cls(_connect(path, reading=True))

    def close(self) -> None:
        try:
            self.commit()
        finally:
            self._database.close()
            if self._lock is not None:
                os.close(self._lock)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Writing ----------------------------------------------------------------------------------

    def put(self, record: Record | Trade) -> None:
        """Have ``record`` written with the next ``commit``.

        Raises TickpipeError for an order whose id was used before.
        """
        if type(record) is Order:
            self._take_id(record)
        self._wait(record)

    def handed_over(self, order_id: str, ts_sent_ns: int) -> None:
        """Note when an order was handed to the gateway, for the next commit to write."""
        self._wait(Sent(order_id, ts_sent_ns))
        self._lazy += 1

    def refused(self, refusal: Refusal) -> None:
        """Note a refusal; those that come while nothing can be written are not kept."""
        if self.failed:
            return
        self._wait(refusal)
        self._lazy += 1
        if self._lazy >= LAZY_MAX:
            self.try_commit()

    def settings_used(self, rows: Sequence[tuple[str, str]]) -> None:
        """Write the settings of the run in place of those before; ``rows`` hold no secrets."""
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        database.execute("DELETE FROM settings")
        database.executemany("INSERT INTO settings (name, value) VALUES (?, ?)", rows)
        database.execute("COMMIT")

    def commit(self) -> None:
        """Make all that waits durable, in one transaction.

        Raises LedgerFailed where it cannot be written; then it goes on waiting.
        """
        if not self._waiting:
            self.failed = ""
            return
        database = self._database
        try:
            database.execute("BEGIN IMMEDIATE")
            for row, record in self._waiting:
                values = _values(record) if type(record) is Trade else record
                database.execute(_INSERTS[type(record)], (row, *values))
            database.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._undo(str(error))
        self._waiting.clear()
        self._lazy = 0
        self.failed = ""

    def try_commit(self) -> bool:
        """Commit; where that fails what waits goes on waiting, ``failed`` says why, and it
        returns False."""
        try:
            self.commit()
        except LedgerFailed:
            return False
        return True

    def take_back(self, orders: Sequence[Order]) -> None:
        """Forget orders that wait and will not be sent."""
        ids = {order.order_id for order in orders}
        self._waiting = [
            (row, record)
            for row, record in self._waiting
            if type(record) is not Order or record.order_id not in ids
        ]
        self._order_ids -= ids

    def _wait(self, record: Any) -> None:
        self._row += 1
        self._waiting.append((self._row, record))

    def _take_id(self, order: Order) -> None:
        if order.order_id in self._order_ids:
            raise TickpipeError(
                explain(
                    f"order {order.order_id} is in the ledger already",
                    rule="no order is sent twice",
                    cure="restore the risk session from this ledger, or start a new one",
                )
            )
        self._order_ids.add(order.order_id)

    def _undo(self, why: str) -> None:
        if self._database.in_transaction:  # SQLite itself may have rolled back
            self._database.execute("ROLLBACK")
        self.failed = why
        raise LedgerFailed(
            explain(
                f"the ledger cannot be written: {why}; {len(self._waiting)} records wait",
                rule="an entry is in the ledger before it leaves; an exit leaves in any case",
                cure="make room on the disk of run.results_dir",
            )
        ) from None

    # Reading ----------------------------------------------------------------------------------

    def orders(self) -> list[tuple[Order, list[Fill]]]:
        """Return every order with its fills, oldest first."""
        fills: dict[str, list[Fill]] = {}
        for fill in self._read(Fill):
            fills.setdefault(fill.order_id, []).append(fill)
        return [
            (order, fills[order.order_id] if order.order_id in fills else [])
            for order in self._read(Order)
        ]

    def history(self) -> list[Record]:
        """Return what a session is rebuilt from, in the order in which it happened."""
        rows = merge(*(self._numbered(kind) for kind in _HISTORY), key=itemgetter(0))
        return [record for _, record in rows]

    def times_sent(self) -> dict[str, int]:
        """Return when each order was handed to the gateway, by order id."""
        return {sent.order_id: sent.ts_sent_ns for sent in self._read(Sent)}

    def changes(self) -> list[Change]:
        return self._read(Change)

    def marks(self) -> list[Mark]:
        """Return the last mark of every position."""
        return self._read(Mark)

    def outside(self) -> list[Outside]:
        return self._read(Outside)

    def trades(self) -> list[Trade]:
        """Return every trade exactly as it was written, oldest first."""
        return self._read(Trade)

    def refusals(self) -> list[Refusal]:
        return self._read(Refusal)

    def events(self) -> list[Event]:
        return self._read(Event)

    def settings(self) -> list[tuple[str, str]]:
        return self._select("SELECT name, value FROM settings ORDER BY row")

    def _read(self, kind: type[Any]) -> list[Any]:
        return [record for _, record in self._numbered(kind)]

    def _numbered(self, kind: type[Any]) -> list[tuple[int, Any]]:
        """Return row number and record, what waits to be written included."""
        readers = get_type_hints(kind).values()  # a type reads what was made of its values
        rows = self._select(f"SELECT row, {_columns(kind)} FROM {_TABLES[kind]} ORDER BY row")
        return [
            (number, kind(*(read(value) for read, value in zip(readers, values, strict=True))))
            for number, *values in rows
        ] + [each for each in self._waiting if type(each[1]) is kind]

    def _newest_row(self) -> int:
        newest: list[int] = [
            self._select(f"SELECT coalesce(max(row), 0) FROM {table}")[0][0]
            for table in _TABLES.values()
        ]
        return max(newest)

    def _select(self, query: str) -> list[Any]:
        return self._database.execute(query).fetchall()

    def __repr__(self) -> str:
        counts = [
            f"{table}={self._select(f'SELECT count(*) FROM {table}')[0][0]}"
            for table in _TABLES.values()
        ]
        return f"<Ledger {' '.join(counts)}>"


class NoLedger(Ledger):
    """A ledger that writes nothing down, and has no file to write to."""

    def __init__(self) -> None:
        self.failed = ""

    def put(self, record: Record | Trade) -> None: ...

    def handed_over(self, order_id: str, ts_sent_ns: int) -> None: ...

    def refused(self, refusal: Refusal) -> None: ...

    def commit(self) -> None: ...

    def try_commit(self) -> bool:
        return True

    def close(self) -> None: ...


def _connect(path: Path | str, *, reading: bool = False) -> sqlite3.Connection:
    try:
        database = sqlite3.connect(str(path), isolation_level=None)
    except sqlite3.OperationalError as error:  # a folder, or a file of somebody else
        raise _not_a_ledger(path, str(error)) from None
    try:
        if reading:
            database.execute("PRAGMA query_only = ON")
        else:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
        _prepare(database, str(path))
    except sqlite3.DatabaseError as error:
        database.close()
        raise _not_a_ledger(path, str(error)) from None
    except UserError:
        database.close()
        raise
    return database


def _lock_private(path: Path) -> int:
    """Make the file if it is not there, and lock it for life; return the lock's descriptor.

    SQLite gives its companions the same mode. Its own locks are of another kind (fcntl), and are
    lost when any descriptor of the file is closed: this one is closed after the database.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = os.open(path, flags, 0o600)
    except OSError as error:
        raise _not_a_ledger(path, str(error.strerror)) from None
    try:
        os.fchmod(file, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise AlreadyRunning(
            explain(
                f"{path} is written by another process",
                rule="one run at a time writes a ledger",
                cure="stop the other run, or choose another run.name or run.results_dir",
            )
        ) from None
    return file


def _prepare(database: sqlite3.Connection, path: str) -> None:
    version = database.execute("PRAGMA user_version").fetchone()[0]
    tables = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if not tables:
        database.executescript(f"BEGIN IMMEDIATE;\n{_SCHEMA}\nCOMMIT;")
    elif database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise _not_a_ledger(path, "a database of another program")
    elif version != VERSION:
        raise _not_a_ledger(path, f"version {version}, this program writes {VERSION}")


def _not_a_ledger(path: Path | str, what: str) -> UserError:
    return UserError(
        explain(
            f"{path}: {what}",
            rule="the ledger is a file that this program made and owns",
            cure="name another file, or move this one away",
        )
    )
