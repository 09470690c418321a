"""The ledger: every order, fill, trade, refusal and event of a run, in SQLite.

Some facts about it:
    WAL with synchronous=FULL: what a commit wrote survives the process and the machine.
    A write outside ``transaction()`` is its own transaction.
    An order id can be written once only, so no order is sent twice (I6).
    Money is TEXT in ₹, exact; prices are integers of 1/10 000 ₹; times are epoch ns.
    Refusals wait for the next transaction, at most REFUSALS_WAITING_MAX of them: a strategy that
    is refused on every tick must not make the exits wait for the disk. So do the times at which
    orders were handed to the gateway: the transaction of their fills takes them along.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import Any

from pipeline.brokers.contract import Fill, Order, Side
from pipeline.errors import TickpipeError, UserError, explain
from pipeline.results.trades import Trade
from pipeline.risk.limits import Code, Refusal

MEMORY = ":memory:"
APPLICATION_ID = 0x7469636B  # "tick"
VERSION = 3
REFUSALS_WAITING_MAX = 64


@dataclass(frozen=True, slots=True)
class Sent:
    """When an order was handed to the gateway (CLOCK_MONOTONIC)."""

    order_id: str
    ts_sent_ns: int


_SQL_TYPES = {"int": "INTEGER", "str": "TEXT", "Side": "TEXT", "Code": "TEXT", "Decimal": "TEXT"}
_READERS: dict[str, Callable[[Any], Any]] = {"Side": Side, "Code": Code, "Decimal": Decimal}

_RECORDS: dict[str, type[Any]] = {
    "orders": Order,
    "sent": Sent,
    "fills": Fill,
    "trades": Trade,
    "refusals": Refusal,
}
_KEYS = {"orders": "order_id", "trades": "trade_id"}


def _columns(table: str) -> str:
    return ", ".join(f'"{field.name}"' for field in fields(_RECORDS[table]))


def _create(table: str) -> str:
    columns = [
        f'"{field.name}" {_SQL_TYPES[str(field.type)]} NOT NULL'
        + (" UNIQUE" if table in _KEYS and field.name == _KEYS[table] else "")
        for field in fields(_RECORDS[table])
    ]
    return f"CREATE TABLE {table} (row INTEGER PRIMARY KEY, {', '.join(columns)}) STRICT;"


_SCHEMA = "\n".join(
    [
        *map(_create, _RECORDS),
        "CREATE TABLE events (row INTEGER PRIMARY KEY, kind TEXT NOT NULL, text TEXT NOT NULL,"
        " ts_ns INTEGER NOT NULL) STRICT;",
        "CREATE TABLE settings (row INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT NOT NULL)"
        " STRICT;",
        f"PRAGMA application_id = {APPLICATION_ID};",
        f"PRAGMA user_version = {VERSION};",
    ]
)


class Ledger:
    """The ledger of one run; only risk writes it."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._refusals_waiting: list[Refusal] = []
        self._sent_waiting: list[Sent] = []

    @classmethod
    def open(cls, path: Path | str) -> Ledger:
        """Open the ledger at ``path`` or make a new one of mode 0600; ":memory:" keeps no file.

        Raises UserError for a file that is not a ledger of this version.
        """
        if str(path) != MEMORY:
            _make_private(Path(path))
        database = sqlite3.connect(str(path), isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            _prepare(database, str(path))
        except sqlite3.DatabaseError as error:
            database.close()
            raise _not_a_ledger(path, str(error)) from None
        except UserError:
            database.close()
            raise
        return cls(database)

    def close(self) -> None:
        try:
            self._write_now()
        finally:
            self._database.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the writes inside durable together, or none of them if an exception leaves."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._write_waiting()
            self._database.execute("COMMIT")
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._refusals_waiting.clear()
        self._sent_waiting.clear()

    # Writing ----------------------------------------------------------------------------------

    def order_sent(self, order: Order) -> None:
        """Write an order before it leaves. Raises TickpipeError if its id was used before."""
        try:
            self._insert("orders", order)
        except sqlite3.IntegrityError:
            raise TickpipeError(
                explain(
                    f"order {order.order_id} is in the ledger already",
                    rule="no order is sent twice",
                    cure="restore the risk session from this ledger, or start a new one",
                )
            ) from None

    def handed_over(self, order_id: str, ts_sent_ns: int) -> None:
        """Note when an order was handed to the gateway, for the next transaction to write."""
        self._sent_waiting.append(Sent(order_id, ts_sent_ns))

    def filled(self, fill: Fill) -> None:
        self._insert("fills", fill)

    def traded(self, trade: Trade) -> None:
        self._insert("trades", trade)

    def refused(self, refusal: Refusal) -> None:
        self._refusals_waiting.append(refusal)
        if len(self._refusals_waiting) >= REFUSALS_WAITING_MAX:
            self._write_now()

    def event(self, kind: str, text: str, ts_ns: int) -> None:
        """Write what a person should know: a halt, a gap, a restart."""
        self._database.execute(
            "INSERT INTO events (kind, text, ts_ns) VALUES (?, ?, ?)", (kind, text, ts_ns)
        )

    def settings_used(self, rows: Sequence[tuple[str, str]]) -> None:
        """Write the settings of the run in place of those before; ``rows`` hold no secrets."""
        with self.transaction():
            self._database.execute("DELETE FROM settings")
            self._database.executemany("INSERT INTO settings (name, value) VALUES (?, ?)", rows)

    def _write_now(self) -> None:
        with self.transaction():
            pass  # what waits

    def _write_waiting(self) -> None:
        for refusal in self._refusals_waiting:
            self._insert("refusals", refusal)
        for sent in self._sent_waiting:
            self._insert("sent", sent)

    def _insert(self, table: str, record: Any) -> None:
        values = [str(v) if isinstance(v, Decimal) else v for v in astuple(record)]
        marks = ", ".join("?" * len(values))
        self._database.execute(f"INSERT INTO {table} ({_columns(table)}) VALUES ({marks})", values)

    # Reading ----------------------------------------------------------------------------------

    def orders(self) -> list[tuple[Order, list[Fill]]]:
        """Return every order with its fills, oldest first."""
        fills: dict[str, list[Fill]] = {}
        for fill in self._read("fills"):
            fills.setdefault(fill.order_id, []).append(fill)
        return [
            (order, fills[order.order_id] if order.order_id in fills else [])
            for order in self._read("orders")
        ]

    def times_sent(self) -> dict[str, int]:
        """Return when each order was handed to the gateway, by order id."""
        return {sent.order_id: sent.ts_sent_ns for sent in self._read("sent") + self._sent_waiting}

    def trades(self) -> list[Trade]:
        """Return every trade exactly as it was written, oldest first."""
        return self._read("trades")

    def refusals(self) -> list[Refusal]:
        return self._read("refusals") + self._refusals_waiting

    def events(self) -> list[tuple[str, str, int]]:
        """Return (kind, text, ts_ns) of every event, oldest first."""
        return self._database.execute(
            "SELECT kind, text, ts_ns FROM events ORDER BY row"
        ).fetchall()

    def settings(self) -> list[tuple[str, str]]:
        rows = self._database.execute("SELECT name, value FROM settings ORDER BY row")
        return rows.fetchall()

    def _read(self, table: str) -> list[Any]:
        record = _RECORDS[table]
        kinds = [(field.name, str(field.type)) for field in fields(record)]
        rows = self._database.execute(f"SELECT {_columns(table)} FROM {table} ORDER BY row")
        return [
            record(
                **{
                    name: _READERS[kind](value) if kind in _READERS else value
                    for (name, kind), value in zip(kinds, row, strict=True)
                }
            )
            for row in rows
        ]

    def __repr__(self) -> str:
        counts = [
            f"{table}={self._database.execute(f'SELECT count(*) FROM {table}').fetchone()[0]}"
            for table in _RECORDS
        ]
        return f"<Ledger {' '.join(counts)}>"


def _make_private(path: Path) -> None:
    """Make the file if it is not there; SQLite gives its companions the same mode."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = os.open(path, flags, 0o600)
    except OSError as error:
        raise _not_a_ledger(path, str(error.strerror)) from None
    try:
        os.fchmod(file, 0o600)
    finally:
        os.close(file)


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
