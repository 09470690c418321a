"""Instruments divided over connections."""

from __future__ import annotations

import pytest

from pipeline.errors import SettingsError
from pipeline.feed.sharing import shares_of
from pipeline.settings import Instrument
from pipeline.testing import make_instrument


def instruments(count: int) -> tuple[Instrument, ...]:
    return tuple(make_instrument(symbol=f"S{n}", token=str(n)) for n in range(count))


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(1, [1]), (10, [10]), (11, [6, 5]), (20, [10, 10]), (21, [7, 7, 7]), (30, [10, 10, 10])],
)
def test_as_few_connections_as_carry_them_have_like_shares(count: int, sizes: list[int]) -> None:
    rows = instruments(count)
    shares = shares_of(rows, 10, 3)
    assert [len(share.instruments) for share in shares] == sizes
    assert [share.connection for share in shares] == list(range(len(sizes)))
    for share in shares:
        assert share.instruments == rows[share.first : share.first + len(share.instruments)]
    assert sum((share.instruments for share in shares), ()) == rows


def test_more_than_the_broker_allows_are_refused_with_the_numbers() -> None:
    with pytest.raises(SettingsError, match=r"31 instruments .*\n.*3 connections of 10 tokens"):
        shares_of(instruments(31), 10, 3)


def test_of_many_names_the_first_are_told() -> None:
    (share,) = shares_of(instruments(30), 100, 1)
    assert share.names((2, 4)) == "S2, S4"
    assert share.names(tuple(range(11))).endswith("S9, …")
