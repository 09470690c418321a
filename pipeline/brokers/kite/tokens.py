"""Kite's instrument tokens: whose a token is, and what its prices count. Pure.

The low byte of a token is its segment. Prices are paise, in currency derivatives 1/10 000 000 ₹
(NSE, segment 3) or 1/10 000 ₹ (BSE, segment 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SettingsError, explain
from pipeline.records import TICK
from pipeline.settings import Instrument

NSE, NFO, CDS, BSE, BFO, BCD, MCX, INDICES = 1, 2, 3, 4, 5, 6, 7, 9

# What tokens of an exchange may end in; indices have a segment of their own.
SEGMENTS = {
    "NSE": (NSE, INDICES),
    "NFO": (NFO,),
    "BSE": (BSE, INDICES),
    "BFO": (BFO,),
    "MCX": (MCX, INDICES),
    "CDS": (CDS, BCD),
}
E4_PER_PAISA = 100
CDS_UNITS_PER_E4 = 1_000

_U32_MAX = 2**32 - 1


class Tokens:
    """Whose a token is and what its prices count, looked up one by one or for a whole frame."""

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        """Raises SettingsError for a token that is not of the instrument's exchange."""
        assert instruments, "a configuration names at least one"
        tokens = [token_of(row) for row in instruments]
        self.entries = {token: (place, *_unit(token)) for place, token in enumerate(tokens)}
        self.numbers = np.array(tokens, np.uint32)
        self.of_index = self.numbers & 0xFF == INDICES
        self._multiplier, self._shift = _spread(list(self.entries))
        self._places = np.zeros(1 << 32 - self._shift, TICK["instrument"])
        for token, (place, *_) in self.entries.items():
            self._places[self._slots(np.array([token], np.uint32))] = place
        self._times, self._divisors = np.array([_unit(token) for token in tokens], np.int64).T
        self._only_paise = all(_unit(token) == (E4_PER_PAISA, 1) for token in tokens)

    def find(self, tokens: NDArray[np.uint32]) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
        """Return for each token its instrument and whether it has one (else any instrument)."""
        places = self._places.take(self._slots(tokens))
        return places, self.numbers.take(places) == tokens

    def _slots(self, tokens: NDArray[np.uint32]) -> NDArray[np.uint32]:
        slots: NDArray[np.uint32] = tokens * self._multiplier >> self._shift
        return slots

    def e4(self, prices: NDArray[Any], instruments: NDArray[np.uint16]) -> NDArray[np.int64]:
        """Return integer prices of the wire in 1/10 000 ₹; what is finer is cut off."""
        if self._only_paise:
            paise: NDArray[np.int64] = np.multiply(prices, E4_PER_PAISA, dtype=np.int64)
            return paise
        times, divisors = self._times[instruments], self._divisors[instruments]
        prices_e4: NDArray[np.int64] = prices.astype(np.int64) * times // divisors
        return prices_e4

    def raw(self, prices_e4: NDArray[Any], instruments: NDArray[np.uint16]) -> NDArray[np.int64]:
        """Return prices in the unit of the wire; what is finer is cut off."""
        times, divisors = self._times[instruments], self._divisors[instruments]
        prices: NDArray[np.int64] = prices_e4 * divisors // times
        return prices


def _spread(tokens: Sequence[int]) -> tuple[np.uint32, np.uint32]:
    """Return a multiplier and a shift that give every token a slot of its own.

    With about n²/4 slots for n tokens, one multiplier in seven does. A look-up is then a product
    and two takes, several times quicker than a search; of the table only n places are ever read.
    """
    numbers, random = np.array(tokens, np.uint32), np.random.default_rng(0)
    for bits in range(max(1, (len(tokens) ** 2 // 4).bit_length()), 33):
        shift = np.uint32(32 - bits)
        for multiplier in random.integers(2**31, 2**32, 64, np.uint32) | np.uint32(1):
            if len(np.unique(numbers * multiplier >> shift)) == len(tokens):
                return multiplier, shift
    raise AssertionError("with 32 bits every odd multiplier does")


def token_of(instrument: Instrument) -> int:
    """Return Kite's instrument_token. Raises SettingsError when its segment is another one."""
    token = int(instrument.token)
    expected = SEGMENTS[instrument.exchange]
    if token > _U32_MAX or token & 0xFF not in expected:
        raise SettingsError(
            explain(
                f"{instrument.symbol}: token {token} is no instrument_token of "
                f"{instrument.exchange}: its segment (token & 0xff) is {token & 0xFF}",
                rule=f"one of {instrument.exchange} fits 32 bits and has the segment "
                + " or ".join(map(str, expected)),
                cure="take the column instrument_token of Kite's instrument list, not "
                "exchange_token, and not another broker's token",
            )
        )
    return token


def _unit(token: int) -> tuple[int, int]:
    """Return by what a price of the wire is multiplied, then divided, to be in 1/10 000 ₹."""
    segment = token & 0xFF
    if segment == CDS:
        return 1, CDS_UNITS_PER_E4
    return (1, 1) if segment == BCD else (E4_PER_PAISA, 1)
