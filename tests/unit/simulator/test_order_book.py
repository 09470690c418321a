"""The simulated broker's book, and the script of what goes wrong with its orders."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SettingsError
from pipeline.simulator.order_book import OrderBook, Placed, Status
from pipeline.simulator.order_faults import KINDS, random_faults, read_order_faults
from pipeline.testing import make_instrument

INSTRUMENTS = [make_instrument(symbol="A", token="1"), make_instrument(symbol="B", token="2")]


class Market:
    def __init__(self, *prices_e4: int) -> None:
        self.prices_e4 = list(prices_e4)
        self.now_ns = 1
        self.book = OrderBook(INSTRUMENTS, self.prices_e4.__getitem__, lambda: self.now_ns)

    def place(self, *, buys: bool = True, quantity: int = 75, limit_e4: int = 0, parts: int = 1,
              instrument: int = 0, tag: str = "T") -> Placed:  # fmt: skip
        return self.book.place(
            tag=tag, instrument=instrument, buys=buys, quantity=quantity, limit_e4=limit_e4,
            product="MIS", parts=parts,
        )  # fmt: skip


def test_a_market_order_fills_at_the_price_of_now() -> None:
    market = Market(100, 200)
    order = market.place(instrument=1)
    assert market.book.turn() == [order]
    assert (order.status, order.fills) == (Status.COMPLETE, [(75, 200, 1)])
    assert market.book.turn() == []


@pytest.mark.parametrize(("buys", "good"), [(True, 99), (False, 101)])
def test_a_limit_order_waits_until_the_price_is_good_enough(buys: bool, good: int) -> None:
    market = Market(100 + (1 if buys else -1), 1)
    order = market.place(buys=buys, limit_e4=100)
    assert market.book.turn() == []
    market.prices_e4[0], market.now_ns = good, 2
    assert market.book.turn() == [order]
    assert order.fills == [(75, good, 2)]
    assert (order.placed_ns, order.changed_ns) == (1, 2)


def test_an_order_in_parts_fills_one_at_a_turn_and_what_is_left_can_be_cancelled() -> None:
    market = Market(100, 1)
    order = market.place(quantity=10, parts=3)
    market.book.turn()
    assert (order.filled, order.status) == (3, Status.OPEN)
    assert market.book.cancel(order.number)
    assert market.book.turn() == []
    assert (order.filled, order.status) == (3, Status.CANCELLED)
    assert not market.book.cancel(order.number)
    assert not market.book.cancel("another")


def test_a_changed_order_fills_by_its_new_limit() -> None:
    market = Market(100, 1)
    order = market.place(limit_e4=90)
    assert market.book.modify(order.number, quantity=50, limit_e4=110)
    market.book.turn()
    assert order.fills == [(50, 100, 1)]
    assert not market.book.modify(order.number, quantity=50, limit_e4=110)


def test_a_tag_that_is_sent_twice_is_counted() -> None:
    market = Market(100, 1)
    market.place()
    market.place()
    assert market.book.tags["T"] == 2


@given(
    orders=st.lists(
        st.tuples(st.booleans(), st.integers(1, 50), st.integers(1, 4)), min_size=1, max_size=8
    ),
    prices=st.lists(st.integers(1, 500), min_size=4, max_size=10),
)
def test_what_is_held_is_what_was_filled(
    orders: list[tuple[bool, int, int]], prices: list[int]
) -> None:
    market = Market(1, 1)
    for buys, quantity, parts in orders:
        market.place(buys=buys, quantity=quantity, parts=parts)
    for price in prices:
        market.prices_e4[0] = price
        market.book.turn()
    held = sum(quantity if buys else -quantity for buys, quantity, _ in orders)
    assert market.book.held == {(0, "MIS"): held}
    assert all(order.status is Status.COMPLETE for order in market.book.orders.values())


# The script ----------------------------------------------------------------------------------


def test_a_script_names_orders_and_kinds(tmp_path: Path) -> None:
    path = tmp_path / "orders.toml"
    path.write_text("".join(f'[[order_faults]]\norder = {n}\nkind = "{kind}"\n'
                            for n, kind in enumerate(KINDS, 1)))  # fmt: skip
    assert read_order_faults(path) == dict(enumerate(KINDS, 1))


@pytest.mark.parametrize(
    "text",
    [
        '[[order_faults]]\norder = 0\nkind = "lost"',
        '[[order_faults]]\norder = 1\nkind = "explode"',
        "[[order_faults]]\norder = 1",
        '[[faults]]\norder = 1\nkind = "lost"',
        "[[order_faults]",
    ],
)
def test_a_script_that_cannot_be_is_refused_with_the_rule(tmp_path: Path, text: str) -> None:
    path = tmp_path / "orders.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match="one of refuse, reject") as caught:
        read_order_faults(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_random_faults_are_the_same_for_a_seed() -> None:
    assert random_faults(7, 100) == random_faults(7, 100)
    assert random_faults(7, 100) != random_faults(8, 100)
    assert set(random_faults(7, 1_000).values()) == set(KINDS)
