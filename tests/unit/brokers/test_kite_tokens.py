"""Kite's instrument tokens: what may be one, and what its prices count."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.brokers.kite.tokens import Tokens, token_of
from pipeline.errors import SettingsError
from pipeline.testing import make_instrument

INFY, TATAMOTORS, NIFTY_50, USDINR, USDINR_BSE = 408065, 884737, 256265, 412675, 513030


def tokens_of(*pairs: tuple[str, int]) -> Tokens:
    return Tokens(
        [
            make_instrument(symbol=f"S{token}", exchange=exchange, token=str(token))
            for exchange, token in pairs
        ]
    )


@pytest.mark.parametrize(
    ("exchange", "token"),
    [
        ("NSE", INFY),
        ("NSE", NIFTY_50),
        ("NFO", 58963 << 8 | 2),
        ("BSE", 4),
        ("BSE", 265),
        ("BFO", 5),
        ("MCX", 7),
        ("CDS", USDINR),
        ("CDS", USDINR_BSE),
        ("NFO", 0xFFFFFF02),
    ],
)
def test_a_token_ends_in_a_segment_of_its_exchange(exchange: str, token: int) -> None:
    assert token_of(make_instrument(exchange=exchange, token=str(token))) == token


@pytest.mark.parametrize(
    ("exchange", "token"), [("NFO", 58963), ("NFO", INFY), ("NSE", 2), ("BFO", NIFTY_50)]
)
def test_a_token_of_another_segment_or_broker_is_refused(exchange: str, token: int) -> None:
    with pytest.raises(SettingsError) as caught:
        tokens_of((exchange, token))
    message = str(caught.value)
    assert message.startswith(f"S{token}: token {token} is no instrument_token of {exchange}: ")
    assert f"is {token & 0xFF}\n" in message
    assert "cure: take the column instrument_token of Kite's instrument list" in message


def test_a_token_above_32_bits_is_refused() -> None:
    with pytest.raises(SettingsError, match="fits 32 bits and has the segment 2"):
        tokens_of(("NFO", 0x100000002))


def test_a_token_is_found_among_others_and_a_stranger_is_not() -> None:
    tokens = tokens_of(("NSE", TATAMOTORS), ("NSE", NIFTY_50), ("NSE", INFY))
    asked = np.array([INFY, 1, NIFTY_50, TATAMOTORS, 2**32 - 1, INFY], np.uint32)
    instruments, known = tokens.find(asked)
    assert known.tolist() == [True, False, True, True, False, True]
    assert instruments[known].tolist() == [2, 1, 0, 2]


@pytest.mark.parametrize(
    ("exchange", "token", "raw", "price_e4"),
    [
        ("NSE", INFY, 157_370, 15_737_000),
        ("NSE", NIFTY_50, 1_570_000, 157_000_000),
        ("CDS", USDINR, 884_125_000, 884_125),
        ("CDS", USDINR_BSE, 884_125, 884_125),
    ],
)
def test_the_segment_says_what_a_price_counts(
    exchange: str, token: int, raw: int, price_e4: int
) -> None:
    for others in ([], [("NSE", TATAMOTORS)], [("CDS", 3)]):
        tokens = tokens_of((exchange, token), *others)
        first = np.zeros(1, np.uint16)
        assert tokens.e4(np.array([raw], ">i4"), first).tolist() == [price_e4]
        assert tokens.raw(np.array([price_e4]), first).tolist() == [raw]


def test_only_indices_are_known_as_such() -> None:
    tokens = tokens_of(("NSE", INFY), ("NSE", NIFTY_50), ("BSE", 265), ("BSE", 4))
    assert tokens.of_index.tolist() == [False, True, True, False]
