"""Kite's instrument dump, a CSV of https://api.kite.trade/instruments. Pure.

    instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,
    instrument_type,segment,exchange

One row for each instrument that trades, of all exchanges or of one. Prices are rupees. ``name`` of
a derivative is its underlying; in dumps of former years it is empty. An index has lot and tick
size 0: it cannot be traded.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import cached_property

from pipeline.brokers.instruments import DERIVATIVES_OF, Listed, Name
from pipeline.settings import Kind

FIRST_COLUMN = "instrument_token"
COLUMNS = (
    FIRST_COLUMN,
    "tradingsymbol",
    "name",
    "expiry",
    "tick_size",
    "lot_size",
    "instrument_type",
    "exchange",
)
_EXCHANGES = {name: name for name in ("NSE", "NFO", "BSE", "BFO", "MCX", "CDS")} | {"BCD": "CDS"}
_DERIVATIVES: dict[str, Kind] = {"FUT": "future", "CE": "option", "PE": "option"}


class KiteDump:
    """The ``Dump`` of Kite."""

    broker = "kite"

    def __init__(self, lines: Iterable[str]) -> None:
        """Raises ValueError for a header without one of ``COLUMNS``."""
        rows = csv.reader(lines)
        header = [column.strip() for column in next(rows, [])]
        missing = [column for column in COLUMNS if column not in header]
        if missing:
            raise ValueError(f"line 1 has no column {', '.join(missing)}")
        self._at = {column: header.index(column) for column in COLUMNS}
        self._rows: dict[Name, list[list[str]]] = {}
        exchange_at, symbol_at = self._at["exchange"], self._at["tradingsymbol"]
        for row in rows:
            if len(row) == len(header) and row[exchange_at] in _EXCHANGES:
                name = (_EXCHANGES[row[exchange_at]], row[symbol_at])
                self._rows.setdefault(name, []).append(row)

    @property
    def names(self) -> Iterable[Name]:
        return self._rows

    def listed(self, name: Name) -> Sequence[Listed]:
        rows = self._rows[name] if name in self._rows else []
        return [self._listed(name, row) for row in rows]

    def _listed(self, name: Name, row: Sequence[str]) -> Listed:
        said = {column: row[place].strip() for column, place in self._at.items()}
        kind = self._kind(name, said["instrument_type"])
        try:
            lot_size, tick_size = int(float(said["lot_size"])), Decimal(said["tick_size"])
        except (InvalidOperation, ValueError):
            raise ValueError(
                f"lot_size {said['lot_size']!r}, tick_size {said['tick_size']!r}"
            ) from None
        return Listed(
            token=said[FIRST_COLUMN],
            lot_size=lot_size if lot_size > 0 else None,
            tick_size=tick_size if tick_size > 0 else None,
            kind=kind,
            underlying=self._index_of(said["name"]) if kind in ("future", "option") else None,
            expiry=date.fromisoformat(said["expiry"]) if said["expiry"] else None,
        )

    def _kind(self, name: Name, instrument_type: str) -> Kind | None:
        if instrument_type in _DERIVATIVES:
            return _DERIVATIVES[instrument_type]
        exchange, symbol = name
        if exchange not in DERIVATIVES_OF:
            return None
        has_derivatives = (DERIVATIVES_OF[exchange], symbol) in self._underlyings
        return "share_with_derivatives" if has_derivatives else None

    def _index_of(self, underlying: str) -> str | None:
        """Return the underlying of a derivative unless it is a share, or nobody says."""
        is_share = any((share, underlying) in self._rows for share in DERIVATIVES_OF)
        return underlying if underlying and not is_share else None

    @cached_property
    def _underlyings(self) -> frozenset[Name]:
        kind_at, name_at = self._at["instrument_type"], self._at["name"]
        return frozenset(
            (exchange, row[name_at])
            for (exchange, _), rows in self._rows.items()
            for row in rows
            if row[kind_at] in _DERIVATIVES
        )
