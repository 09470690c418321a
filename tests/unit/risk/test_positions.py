"""Positions, cash and trades from fills."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pipeline.brokers.contract import Fill, Order, Side
from pipeline.errors import TickpipeError
from pipeline.results.trades import Trade
from pipeline.risk.charges import charges
from pipeline.risk.positions import NO_DELAYS, Book, Delays
from tests.money import at, book_with, e4_of, fill, guide, order, rates_of, two_instruments

START = Decimal(100_000)
LOW, HIGH = e4_of(90), e4_of(120)


def book_of(*overrides: str) -> Book:
    return book_with(guide(*overrides), START)


def buy(book: Book, quantity: int = 300, price: float | str = 100) -> Order:
    entry = order(Side.BUY, quantity, price)
    book.enter(entry, fill(entry), NO_DELAYS)
    return entry


def sell(book: Book, quantity: int, price: float | str, **more: object) -> Trade:
    exit = order(Side.SELL, quantity, price, **more)
    return book.leave(exit, fill(exit), LOW, HIGH)


def test_an_entry_takes_turnover_and_charges_from_cash() -> None:
    book = book_of()
    buy(book)
    cost = charges(Decimal(30_000), Side.BUY, rates_of(guide()))
    assert book.cash == START - 30_000 - cost
    position = book.position(0)
    assert position is not None
    assert (position.quantity, position.entry_e4, position.charges) == (300, e4_of(100), cost)


def test_cash_is_initial_plus_all_nets_when_flat() -> None:
    book = book_of()
    buy(book, 275, "100.05")
    trades = [sell(book, 100, "103.35"), sell(book, 100, "99"), sell(book, 75, "98.15")]
    assert book.is_flat
    assert book.cash == START + sum(trade.net_pnl for trade in trades)


def test_the_entry_charges_are_shared_by_quantity_and_add_up_exactly() -> None:
    book = book_of()
    entry = buy(book, 700, "99.95")
    total = charges(Decimal("99.95") * 700, Side.BUY, rates_of(guide()))
    shares = [sell(book, quantity, 101).entry_charges for quantity in (300, 300, 100)]
    assert sum(shares) == total
    for share, quantity in zip(shares, (300, 300, 100), strict=True):
        assert abs(share - total * quantity / entry.quantity) <= Decimal("0.000001")


def test_a_trade_tells_the_whole_exit() -> None:
    settings = guide()
    book = book_with(settings, START)
    entry = order(Side.BUY, 150, 100, order_id="E", tick_seq=5, ts_event_ns=at("10:00:00"))
    book.enter(entry, fill(entry, price="100.05"), Delays(7, 9))
    exit = order(
        Side.SELL, 75, 110, order_id="X", tick_seq=9, ts_event_ns=at("10:05:00"), reason="Stop Loss"
    )
    trade = book.leave(exit, fill(exit, price="109.90"), LOW, HIGH)
    assert trade == Trade(
        trade_id=1,
        position_id=1,
        symbol="NIFTY-OPTION",
        side="BUY",
        product="INTRADAY",
        quantity=75,
        entry_ns=at("10:00:00"),
        exit_ns=at("10:05:00"),
        entry_price_e4=e4_of("100.05"),
        exit_price_e4=e4_of("109.90"),
        gross_pnl=Decimal("738.75"),
        entry_charges=(charges(Decimal("15007.5"), Side.BUY, rates_of(settings)) / 2).quantize(
            Decimal("0.000001")
        ),
        exit_charges=charges(Decimal("8242.5"), Side.SELL, rates_of(settings)),
        slippage=Decimal("11.25"),  # 0.05 + 0.10 a share
        mae=Decimal("-753.75"),
        mfe=Decimal("1496.25"),
        exit_reason="Stop Loss",
        entry_seq=5,
        exit_seq=9,
        entry_order_id="E",
        exit_order_id="X",
        tick_to_signal_ns=7,
        signal_to_order_ns=9,
    )


def test_an_entry_in_two_fills_is_one_position_at_their_mean() -> None:
    book = book_of()
    entry = order(Side.BUY, 150, 100)
    book.enter(entry, fill(entry, 50, 100), NO_DELAYS)
    book.enter(entry, fill(entry, 100, 103), NO_DELAYS)
    position = book.position(0)
    assert position is not None
    assert (position.quantity, position.entry_e4) == (150, e4_of(102))
    trade = sell(book, 150, 104)
    assert trade.gross_pnl == 300
    assert book.cash == START + trade.net_pnl


def test_a_flat_fee_is_taken_once_an_order_and_not_once_a_fill() -> None:
    book = book_of("risk.commission_per_trade=50.0", "risk.gst_percent=0.0")
    entry = order(Side.BUY, 150, 100)
    book.enter(entry, fill(entry, 75), NO_DELAYS)
    book.enter(entry, fill(entry, 75), NO_DELAYS)
    position = book.position(0)
    assert position is not None
    assert position.charges == Decimal("50.45")  # 50 + 0.003 % of 15 000


def test_an_exit_in_two_fills_is_two_trades_with_one_fee() -> None:
    book = book_of("risk.commission_per_trade=50.0", "risk.gst_percent=0.0")
    buy(book, 150)
    exit = order(Side.SELL, 150, 100)
    trades = [book.leave(exit, fill(exit, part), LOW, HIGH) for part in (100, 50)]
    assert [trade.trade_id for trade in trades] == [1, 2]
    assert sum(trade.exit_charges for trade in trades) == Decimal("50") + Decimal("4.2")
    assert book.is_flat


def test_a_short_position_earns_when_the_price_falls() -> None:
    book = book_of()
    entry = order(Side.SELL, 75, 100)
    book.enter(entry, fill(entry), NO_DELAYS)
    position = book.position(0)
    assert position is not None
    assert position.quantity == -75
    exit = order(Side.BUY, 75, 90)
    assert book.is_exit(exit)
    trade = book.leave(exit, fill(exit), LOW, HIGH)
    assert trade.gross_pnl == 750
    assert (trade.mae, trade.mfe) == (Decimal(-1500), Decimal(750))
    assert book.cash == START + trade.net_pnl


def test_positions_of_two_instruments_are_apart_and_share_the_cash() -> None:
    settings = two_instruments()
    book = book_with(settings, START)
    for instrument, price in ((0, 100), (1, 200)):
        entry = order(Side.BUY, 50, price, instrument=instrument, order_id=f"E{instrument}")
        book.enter(entry, fill(entry), NO_DELAYS)
    assert [position.entry_e4 for position in book.open_positions()] == [e4_of(100), e4_of(200)]
    second = sell(book, 50, 210, instrument=1, order_id="X1")
    assert (second.symbol, second.gross_pnl) == ("OTHER-OPTION", Decimal(500))
    assert book.position(1) is None
    assert book.position(0) is not None


@pytest.mark.parametrize(("held", "sold"), [(0, 75), (75, 150)])
def test_more_than_is_held_cannot_be_closed(held: int, sold: int) -> None:
    book = book_of()
    if held:
        buy(book, held)
    exit = order(Side.SELL, sold, order_id="X9")
    too_much = Fill(order_id="X9", quantity=sold, turnover_e4=sold, slippage_e4=0, ts_event_ns=0)
    with pytest.raises(TickpipeError, match=f"X9 filled {sold} shares while {held} are held"):
        book.leave(exit, too_much, LOW, HIGH)
