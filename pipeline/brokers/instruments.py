"""What a broker's instrument dump says about the contracts of a configuration. Pure.

The user writes exchange and symbol of an instrument, as the broker spells it; token, lot and tick
size, kind and underlying come from the dump, a file that the broker writes anew every day. What
is in both must be the same: a stale file or a slip of the pen is found before the first order.

What the dump leaves open stays open. Neither broker tells a share from a fund or a bond, so that
only a share with listed derivatives has a kind by it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from pipeline.settings import Kind

Name = tuple[str, str]  # exchange, in our words, and symbol
NEAREST_MAX = 3
CANDIDATES_MAX = 2_000  # comparing a name with each of 100 000 takes many seconds

# Where the derivatives of an exchange's shares are listed.
DERIVATIVES_OF = {"NSE": "NFO", "BSE": "BFO"}


class Listed(NamedTuple):
    """One row of a dump in our words; None is what it leaves open."""

    token: str
    lot_size: int | None
    tick_size: Decimal | None  # ₹
    kind: Kind | None
    underlying: str | None  # of an index derivative
    expiry: date | None


FILLED = ("token", "lot_size", "tick_size", "kind", "underlying")


class Dump(Protocol):
    """One broker's dump, read whole; a row is looked at when it is asked for."""

    broker: str

    @property
    def names(self) -> Iterable[Name]:
        """Return the name of every instrument in it, in any order."""

    def listed(self, name: Name) -> Sequence[Listed]:
        """Return the rows of that name, possibly none. Raises ValueError for one that is broken."""


class Filled(NamedTuple):
    """The tables of [[instruments]] as the dump completes them."""

    rows: list[dict[str, Any]]
    notes: list[str]  # what was taken from the dump, one line for an instrument
    mistakes: list[str]


def fill(rows: Sequence[Mapping[str, Any]], dump: Dump, day: date | None) -> Filled:
    """Return ``rows`` with what ``dump`` says of them. ``day`` None: an expiry does not matter."""
    filled = Filled([], [], [])
    for place, row in enumerate(rows):
        completed = dict(row)
        filled.rows.append(completed)
        if not isinstance(row.get("symbol"), str) or not isinstance(row.get("exchange"), str):
            continue  # told with everything else that is wrong in the file
        mistakes, taken = _complete(completed, dump, day)
        filled.mistakes.extend(f"instruments.{place}: {mistake}" for mistake in mistakes)
        if taken:
            filled.notes.append(f"{row['symbol']}: {', '.join(taken)}")
    return filled


def _complete(row: dict[str, Any], dump: Dump, day: date | None) -> tuple[list[str], list[str]]:
    """Complete ``row``; return what is wrong with it, and what was taken."""
    exchange, symbol = name = (row["exchange"], row["symbol"])
    try:
        found = _chosen(dump.listed(name), row)
    except ValueError as error:
        return [f"the dump's row of {symbol} is broken: {error}"], []
    if not found:
        return [f"{exchange} has no {symbol!r} in it{_nearest(name, dump.names)}"], []
    if len(found) > 1:
        tokens = ", ".join(listed.token for listed in found)
        many = f"{exchange} has {symbol!r} {len(found)} times in it; write the token: {tokens}"
        return [many], []
    (listed,) = found
    if day is not None and listed.expiry is not None and listed.expiry < day:
        return [f"{symbol} expired on {listed.expiry}, before {day}"], []
    mistakes = list(_differences(row, listed))
    new = {key: getattr(listed, key) for key in FILLED if key not in row}
    new = {key: value for key, value in new.items() if value is not None}
    row.update(new)
    return mistakes, [f"{key} {value}" for key, value in new.items()]


def _chosen(found: Sequence[Listed], row: Mapping[str, Any]) -> Sequence[Listed]:
    """Return those of several rows of a name that have the user's token, if that is one."""
    same = [listed for listed in found if listed.token == row.get("token")]
    return same if len(found) > 1 and same else found


def _differences(row: Mapping[str, Any], listed: Listed) -> Iterator[str]:
    for key in FILLED:
        said = getattr(listed, key)
        if key not in row or said is None:
            continue
        written = row[key]
        if str(written) == str(said) or _as_decimal(written) == _as_decimal(said) is not None:
            continue
        yield f"{key} is {written} here and {said} in the dump"


def _as_decimal(value: object) -> Decimal | None:
    """Return a number as it was written: 0.05 and 0.050 are one tick size."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return Decimal(str(value))


def _nearest(name: Name, names: Iterable[Name]) -> str:
    exchange, symbol = name
    listed = list(names)
    elsewhere = [other for other, same in listed if same == symbol]
    if elsewhere:
        return f"; it is of {' and '.join(sorted(elsewhere))}"
    near = nearest(symbol, [other for place, other in listed if place == exchange])
    if near:
        return f"; the nearest are {', '.join(map(repr, near))}"
    return "" if any(place == exchange for place, _ in listed) else f"; it has no row of {exchange}"


def nearest(symbol: str, symbols: Sequence[str]) -> list[str]:
    """Return those of ``symbols`` that look most like ``symbol``, at most three."""
    candidates = symbols
    for length in range(len(symbol), 0, -1):  # those that begin alike, as soon as there are some
        candidates = [other for other in symbols if other.startswith(symbol[:length])]
        if len(candidates) >= NEAREST_MAX:
            break
    return difflib.get_close_matches(symbol, candidates[:CANDIDATES_MAX], NEAREST_MAX, 0.5)
