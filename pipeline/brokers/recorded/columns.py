"""The columns of a tick file: from text to integers and back. Pure.

timestamp: ISO 8601 with its zone, up to 9 decimals of a second; price: ₹, a plain decimal above
0, at most 4 decimals; volume: shares of this tick; symbol: one of the configured ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.records import IST, PRICE_SCALE
from pipeline.settings import Instrument

COLUMNS = ("timestamp", "price", "volume")
SYMBOL_COLUMN = "symbol"

_EPOCH_NS_MAX = 2**63 - 1
_VOLUME_MAX = 2**32 - 1
_SHOWN_CHARACTERS_MAX = 60
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}):([0-5][0-9])"
    r"(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_PRICE = re.compile(r"(-?)([0-9]{1,9})(?:\.([0-9]*))?")
_VOLUME = re.compile(r"([0-9]{1,10})(?:\.0*)?")


class BadValue(Exception):
    """One value of one line that is refused; the reader adds file and line."""

    def __init__(self, what: str, *, rule: str, cure: str) -> None:
        super().__init__(what)
        self.what, self.rule, self.cure = what, rule, cure


class Parsed(dict[str, int]):
    """What each distinct text of a column means, parsed when it is first met."""

    def __init__(self, parse: Callable[[str], int]) -> None:
        super().__init__()
        self._parse = parse

    def __missing__(self, text: str) -> int:
        value = self[text] = self._parse(text)
        return value


def epoch_ns(text: str) -> int:
    """Return a timestamp as epoch nanoseconds, exact. Raises BadValue."""
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        raise _bad_timestamp(text)
    minute, second, decimals, zone = found.groups()
    if zone is None:
        raise BadValue(
            f"timestamp {shown(text)} has no zone",
            rule="a timestamp says its offset from UTC",
            cure="append the offset, +05:30 for India",
        )
    try:
        seconds = _epoch_seconds(minute, zone) + int(second)
    except ValueError:
        raise _bad_timestamp(text) from None
    time_ns = seconds * 1_000_000_000 + (int(decimals.ljust(9, "0")) if decimals else 0)
    if not 0 < time_ns <= _EPOCH_NS_MAX:
        raise _bad_timestamp(text)
    return time_ns


@lru_cache(maxsize=64)
def _epoch_seconds(minute: str, zone: str) -> int:
    return int(datetime.fromisoformat(minute + zone).timestamp())


def price_e4_of(text: str) -> int:
    """Return a price as 1/10 000 ₹, exact. Raises BadValue."""
    found = _PRICE.fullmatch(text)
    if found is None:
        raise _bad_price(text, "is not a plain decimal number below 1 000 000 000")
    sign, rupees, decimals = found.groups()
    decimals = (decimals or "").rstrip("0")
    if len(decimals) > 4:
        raise _bad_price(text, "is finer than 0.0001 ₹")
    price_e4 = int(rupees) * PRICE_SCALE + int(decimals.ljust(4, "0"))
    if sign or price_e4 == 0:
        raise _bad_price(text, "is not above 0")
    return price_e4


def volume_of(text: str) -> int:
    """Return a volume in shares; 75.0 is 75. Raises BadValue."""
    found = _VOLUME.fullmatch(text)
    volume = int(found[1]) if found else -1
    if not 0 <= volume <= _VOLUME_MAX:
        raise BadValue(
            f"volume {shown(text)} is not a whole number from 0 to {_VOLUME_MAX}",
            rule="volume is the quantity of this tick in shares",
            cure="correct the line; write 0 where it is unknown",
        )
    return volume


def symbol_parser(instruments: Sequence[Instrument]) -> Callable[[str], int]:
    """Return the function from a symbol to its index in ``instruments``."""
    symbols = [row.symbol for row in instruments]

    def parse(text: str) -> int:
        if text not in symbols:
            raise BadValue(
                f"symbol {shown(text)} is not configured",
                rule=f"the configured symbols are {', '.join(symbols)}",
                cure="add it to [[instruments]], or take its lines out of the file",
            )
        return symbols.index(text)

    return parse


def shown(text: str) -> str:
    """Return ``text`` quoted, on one line and not too long."""
    text = text.rstrip("\n")
    cut = len(text) > _SHOWN_CHARACTERS_MAX
    return repr(text[:_SHOWN_CHARACTERS_MAX]) + ("…" if cut else "")


def _bad_timestamp(text: str) -> BadValue:
    return BadValue(
        f"timestamp {shown(text)} is not understood",
        rule="a timestamp is like 2025-10-01 09:15:18.250+05:30, from 1970 to 2261",
        cure="correct the line",
    )


def _bad_price(text: str, what: str) -> BadValue:
    return BadValue(
        f"price {shown(text)} {what}",
        rule="a price is ₹ above 0 with at most 4 decimals, written like 235.85",
        cure="correct the line or take it out",
    )


def went_back(text: str, last_text: str) -> BadValue:
    return BadValue(
        f"timestamp {shown(text)} comes after {shown(last_text)}",
        rule="time never goes back in a tick file",
        cure="sort the file by timestamp, keeping the order of equal ones",
    )


def wrong_column_count(found: int, expected: int, line: str) -> BadValue:
    return BadValue(
        f"{found} column(s) in {shown(line)}",
        rule=f"every line has {expected} columns, as the header",
        cure="correct the line; a last line cut short means that the recording was cut short",
    )


def default_symbols(count: int) -> tuple[str, ...]:
    """Return SYM-1, SYM-2, … for instruments that nobody named."""
    return tuple(f"SYM-{number}" for number in range(1, count + 1))


def lines_of(ticks: NDArray[np.void], symbols: Sequence[str]) -> Iterator[str]:
    """Give the lines of a file with these TICK rows, the header first."""
    several = len(symbols) > 1
    yield ",".join((*COLUMNS, SYMBOL_COLUMN) if several else COLUMNS) + "\n"
    ends = [f",{symbol}\n" for symbol in symbols] if several else ["\n"]
    names = ("ts_event_ns", "price_e4", "quantity", "instrument")
    for time_ns, price_e4, quantity, instrument in zip(
        *(ticks[name].tolist() for name in names), strict=True
    ):
        yield f"{_time_text(time_ns)},{_price_text(price_e4)},{quantity}{ends[instrument]}"


def _time_text(time_ns: int) -> str:
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    moment = _second_text(seconds)
    if rest_ns == 0:
        return f"{moment}+05:30"
    digits = 3 if rest_ns % 1_000_000 == 0 else 9
    return f"{moment}.{rest_ns // 10 ** (9 - digits):0{digits}}+05:30"


@lru_cache(maxsize=64)
def _second_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, IST).strftime("%Y-%m-%d %H:%M:%S")


def _price_text(price_e4: int) -> str:
    rupees, rest_e4 = divmod(price_e4, PRICE_SCALE)
    if rest_e4 % 100 == 0:
        return f"{rupees}.{rest_e4 // 100:02}"
    return f"{rupees}.{rest_e4:04}"
