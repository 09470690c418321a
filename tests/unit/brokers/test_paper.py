"""Paper fills: at once, in full, worse by the slippage."""

from __future__ import annotations

import pytest

from pipeline.brokers.contract import OrderGateway, OrderState, OrderUpdate, Side
from pipeline.brokers.paper.orders import PaperGateway
from tests.money import at, e4_of, order


@pytest.mark.parametrize(
    ("side", "slippage", "price"),
    [
        (Side.BUY, 0, 100),
        (Side.SELL, 0, 100),
        (Side.BUY, 0.25, 100.25),
        (Side.SELL, 0.25, 99.75),
    ],
)
def test_an_order_fills_at_once_and_in_full_at_a_worse_price(
    side: Side, slippage: float, price: float
) -> None:
    gateway: OrderGateway = PaperGateway(e4_of(slippage))
    gateway.send(order(side, 150, 100, order_id="251001N0001E0"))
    assert list(gateway.take()) == [
        OrderUpdate(
            order_id="251001N0001E0",
            state=OrderState.FILLED,
            broker_id="PAPER-251001N0001E0",
            instrument=0,
            filled=150,
            turnover_e4=150 * e4_of(price),
            ts_event_ns=at("10:00:00"),
        )
    ]
    assert list(gateway.take()) == []


def test_a_sale_never_fills_at_nothing_or_below() -> None:
    gateway = PaperGateway(e4_of(1))
    gateway.send(order(Side.SELL, 75, 0.5))
    (update,) = gateway.take()
    assert isinstance(update, OrderUpdate)
    assert update.turnover_e4 == 75


def test_the_same_order_always_gives_the_same_fill() -> None:
    gateway = PaperGateway(e4_of(0.05))
    gateway.send(order())
    first = gateway.take()
    gateway.send(order())
    assert gateway.take() == first
