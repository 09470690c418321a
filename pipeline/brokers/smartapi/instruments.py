"""SmartAPI's instrument dump, OpenAPIScripMaster.json. Pure.

    [{"token": "58963", "symbol": "NIFTY25NOV2526000CE", "name": "NIFTY", "expiry": "25NOV2025",
      "strike": "2600000.000000", "lotsize": "75", "instrumenttype": "OPTIDX", "exch_seg": "NFO",
      "tick_size": "5.000000"}, …]

All values are text. Tick sizes are paise, an expiry is DDMMMYYYY. A share has no instrumenttype,
and its series behind its name: INFY-EQ. An index is of type AMXIDX.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import Any

from pipeline.brokers.instruments import DERIVATIVES_OF, Listed, Name
from pipeline.brokers.smartapi.wire import EXCHANGE_TYPES
from pipeline.settings import Kind

COLUMNS = frozenset(
    ("token", "symbol", "name", "expiry", "lotsize", "instrumenttype", "exch_seg", "tick_size")
)
INDEX = "AMXIDX"
_OF_INDEX = ("FUTIDX", "OPTIDX")
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]


class SmartApiDump:
    """The ``Dump`` of SmartAPI."""

    broker = "smartapi"

    def __init__(self, text: str) -> None:
        """Raises ValueError for text that is not such a list, and for a row without a column."""
        rows = json.loads(text)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError("it is no list of objects")
        self._rows: dict[Name, list[Mapping[str, Any]]] = {}
        for place, row in enumerate(rows):
            if missing := sorted(COLUMNS - row.keys()):
                raise ValueError(f"row {place + 1} has no {', '.join(missing)}")
            if row["exch_seg"] in EXCHANGE_TYPES:
                self._rows.setdefault((row["exch_seg"], str(row["symbol"])), []).append(row)

    @property
    def names(self) -> Iterable[Name]:
        return self._rows

    def listed(self, name: Name) -> Sequence[Listed]:
        rows = self._rows[name] if name in self._rows else []
        return [self._listed(name, row) for row in rows]

    def _listed(self, name: Name, row: Mapping[str, Any]) -> Listed:
        kind = self._kind(name, row)
        try:
            lot_size, paise = int(float(row["lotsize"])), Decimal(str(row["tick_size"]))
        except (InvalidOperation, ValueError):
            raise ValueError(
                f"lotsize {row['lotsize']!r}, tick_size {row['tick_size']!r}"
            ) from None
        can_trade = row["instrumenttype"] != INDEX
        return Listed(
            token=str(row["token"]),
            lot_size=lot_size if lot_size > 0 and can_trade else None,
            tick_size=_rupees(paise) if paise > 0 and can_trade else None,
            kind=kind,
            underlying=str(row["name"]) if row["instrumenttype"] in _OF_INDEX else None,
            expiry=_date(str(row["expiry"])),
        )

    def _kind(self, name: Name, row: Mapping[str, Any]) -> Kind | None:
        match str(row["instrumenttype"])[:3]:
            case "FUT":
                return "future"
            case "OPT":
                return "option"
        is_share = not row["instrumenttype"] and name[0] in DERIVATIVES_OF
        if is_share and (DERIVATIVES_OF[name[0]], row["name"]) in self._underlyings:
            return "share_with_derivatives"
        return None

    @cached_property
    def _underlyings(self) -> frozenset[Name]:
        return frozenset(
            (exchange, row["name"])
            for (exchange, _), rows in self._rows.items()
            for row in rows
            if str(row["instrumenttype"])[:3] in ("FUT", "OPT")
        )


def _rupees(paise: Decimal) -> Decimal:
    return Decimal(f"{(paise / 100).normalize():f}")


def _date(text: str) -> date | None:
    """Return DDMMMYYYY as a date, whatever the language of this machine is."""
    if not text:
        return None
    if len(text) != 9 or text[2:5].upper() not in _MONTHS:
        raise ValueError(f"expiry {text!r} is not like 25NOV2025")
    return date(int(text[5:]), _MONTHS.index(text[2:5].upper()) + 1, int(text[:2]))
