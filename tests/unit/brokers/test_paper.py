"""Paper fills: at once, in full, worse by the slippage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from pipeline.brokers.contract import BrokerBook, OrderGateway, OrderState, OrderUpdate, Quote, Side
from pipeline.brokers.paper.orders import PaperGateway
from pipeline.settings import PaperSettings
from tests.money import LOT, at, e4_of, guide, order


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


# Orders that take time, come in parts or are refused --------------------------------------------


@dataclass
class Market:
    """A clock and a price."""

    now_ns: int = 0
    quote: Quote = field(default_factory=lambda: Quote(e4_of(100), e4_of(99), e4_of(101), 5))

    def gateway(self, **paper: Any) -> PaperGateway:
        instruments = guide().instruments
        settings = PaperSettings(**paper)
        return PaperGateway(0, settings, instruments, lambda _: self.quote, lambda: self.now_ns)


def updates(gateway: PaperGateway) -> list[OrderUpdate]:
    return [each for each in gateway.take() if isinstance(each, OrderUpdate)]


def send(gateway: PaperGateway, quantity: int = LOT, side: Side = Side.BUY, **more: Any) -> str:
    sent = order(side, quantity, order_id=f"{side}{quantity}", **more)
    gateway.send(sent)
    return sent.order_id


def test_with_a_latency_an_order_fills_at_the_price_of_then() -> None:
    market = Market()
    gateway = market.gateway(latency_ms=20)
    send(gateway)
    assert [update.state for update in updates(gateway)] == [OrderState.ACCEPTED]
    market.now_ns, market.quote = 19_999_999, Quote(e4_of(104))
    assert updates(gateway) == []
    market.now_ns = 20_000_000
    (filled,) = updates(gateway)
    assert (filled.state, filled.turnover_e4) == (OrderState.FILLED, LOT * e4_of(104))


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, 101), (Side.SELL, 99)])
def test_at_the_touch_a_buy_pays_the_ask_and_a_sale_gets_the_bid(side: Side, price: int) -> None:
    gateway = Market().gateway(fill_at="touch")
    send(gateway, side=side)
    assert updates(gateway)[0].turnover_e4 == LOT * e4_of(price)


def test_without_a_touch_in_the_ticks_the_last_price_counts() -> None:
    gateway = Market(quote=Quote(e4_of(100))).gateway(fill_at="touch")
    send(gateway)
    assert updates(gateway)[0].turnover_e4 == LOT * e4_of(100)


def test_parts_are_whole_lots_with_a_latency_between_them() -> None:
    market = Market()
    gateway = market.gateway(parts_max=4, latency_ms=1, seed=7)
    send(gateway, 13 * LOT)
    seen = [0]
    for _ in range(5):
        market.now_ns += 1_000_000
        seen += [update.filled for update in updates(gateway) if update.filled]
    assert seen[-1] == 13 * LOT
    assert 2 < len(seen) <= 5
    assert all(shares % LOT == 0 for shares in seen)


def test_some_orders_are_refused_and_always_the_same_ones() -> None:
    def refused() -> list[bool]:
        gateway = Market().gateway(reject_percent=30)
        for quantity in range(1, 200):
            send(gateway, quantity)
        return [update.state is OrderState.REJECTED for update in updates(gateway)]

    assert refused() == refused()
    assert 30 < sum(refused()) < 90


def test_an_order_waits_until_its_limit_is_met() -> None:
    market = Market()
    gateway = market.gateway()
    send(gateway, limit_e4=e4_of("99.5"))
    assert updates(gateway) == []
    market.quote = Quote(e4_of(99))
    assert updates(gateway)[0].turnover_e4 == LOT * e4_of(99)


def test_what_is_cancelled_fills_no_more() -> None:
    market = Market()
    gateway = market.gateway(latency_ms=1)
    order_id = send(gateway)
    gateway.cancel(order_id, "")
    market.now_ns = 10_000_000
    assert [update.state for update in updates(gateway)] == [
        OrderState.ACCEPTED,
        OrderState.CANCELLED,
    ]


def test_its_book_has_every_order_and_what_is_held() -> None:
    gateway = Market().gateway()
    send(gateway, 2 * LOT)
    send(gateway, LOT, Side.SELL)
    gateway.take()
    gateway.ask()
    (book,) = gateway.take()
    assert isinstance(book, BrokerBook)
    assert [update.filled for update in book.orders] == [2 * LOT, LOT]
    assert [(held.symbol, held.quantity) for held in book.positions] == [("NIFTY-OPTION", LOT)]


def test_after_a_restart_the_parts_that_are_left_fill_as_they_would_have() -> None:
    sent = order(Side.BUY, 13 * LOT, order_id="E")
    whole, market = Market().gateway(parts_max=5, seed=3), Market()
    whole.send(sent)
    steps = [update.filled for update in updates(whole)]
    assert len(steps) > 1
    again = market.gateway(parts_max=5, seed=3)
    again.restore(sent, OrderState.PARTIALLY_FILLED, steps[0], steps[0] * e4_of(100))
    assert [update.filled for update in updates(again)] == steps[1:]
    again.restore(order(order_id="F"), OrderState.FILLED, LOT, LOT * e4_of(100))
    assert updates(again) == []


def test_in_a_hurry_what_waits_fills_at_once() -> None:
    gateway = Market().gateway(latency_ms=1_000, parts_max=3)
    send(gateway, 13 * LOT)
    gateway.hurry()
    assert updates(gateway)[-1].state is OrderState.FILLED
