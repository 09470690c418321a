"""Where decisions become orders: in which order, at which price, written before they leave."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import TickpipeError
from pipeline.records import SIGNAL, Action
from pipeline.risk.limits import Code
from tests.money import LOT, Trading, e4_of, guide, signal, signal_array, tick, tick_array
from tests.money import two_instruments as two

NO_SIGNALS = np.zeros(0, SIGNAL)


def prices_of(trading: Trading) -> list[tuple[int, int]]:
    """Tick and price of every order."""
    return [(order.tick_seq, order.price_e4) for order in trading.gateway.orders]


def test_a_signal_is_handled_before_its_tick_and_after_the_ones_before() -> None:
    trading = Trading(guide())
    ticks = tick_array(tick(1, 100), tick(2, 101), tick(3, 120))
    trading.desk.on_ticks(ticks, signal_array(signal(1, tick_seq=2)), 0)
    assert prices_of(trading)[0] == (2, e4_of(101))
    assert trading.exits == [("Take Profit 1", 5 * LOT), ("Take Profit 2", 3 * LOT)]


def test_a_signal_of_a_tick_handled_before_acts_at_once_at_the_last_price() -> None:
    trading = Trading(guide())
    trading.desk.on_ticks(tick_array(tick(1, 100), tick(2, 101)), NO_SIGNALS, 0)
    trading.desk.on_ticks(tick_array(tick(3, 102)), signal_array(signal(1, tick_seq=1)), 0)
    assert prices_of(trading) == [(2, e4_of(101))]


def test_a_signal_alone_acts_at_once_when_its_tick_was_handled() -> None:
    trading = Trading(guide())
    trading.desk.on_ticks(tick_array(tick(1, 100)), NO_SIGNALS, 0)
    trading.desk.on_signals(signal_array(signal(1, tick_seq=1)), 0)
    assert prices_of(trading) == [(1, e4_of(100))]


def test_a_signal_of_a_tick_to_come_is_held_for_it() -> None:
    trading = Trading(guide())
    early = signal_array(signal(1, tick_seq=3))
    trading.desk.on_ticks(tick_array(tick(1, 100), tick(2, 101)), early, 0)
    assert trading.gateway.orders == []
    assert trading.desk.held_count == 1
    trading.desk.on_ticks(tick_array(tick(3, 102)), NO_SIGNALS, 0)
    assert prices_of(trading) == [(3, e4_of(102))]
    assert trading.desk.held_count == 0


def test_a_signal_whose_tick_was_lost_in_a_lap_acts_on_the_next_tick() -> None:
    trading = Trading(guide())
    trading.desk.on_ticks(tick_array(tick(1, 100)), signal_array(signal(1, tick_seq=5)), 0)
    trading.desk.on_ticks(tick_array(tick(9, 103)), NO_SIGNALS, 0)
    assert prices_of(trading) == [(9, e4_of(103))]


def test_a_held_signal_expires_like_any_other() -> None:
    trading = Trading(guide())
    early = signal_array(signal(1, tick_seq=2, ts_recv_ns=0))
    trading.desk.on_ticks(tick_array(tick(1, 100)), early, 0)
    trading.desk.on_ticks(tick_array(tick(2, 100)), NO_SIGNALS, 1_000_000_001)
    assert [refusal.code for refusal in trading.ledger.refusals()] == [Code.SIGNAL_EXPIRED]


def test_signals_of_one_tick_are_handled_in_the_order_of_the_queue() -> None:
    trading = Trading(guide())
    both = signal_array(signal(1), signal(2, Action.CLOSE, reason="changed my mind"))
    trading.desk.on_ticks(tick_array(tick(1, 100)), both, 0)
    assert trading.exits == [("Strategy Signal: changed my mind", 13 * LOT)]


def test_a_batch_and_single_ticks_give_the_same_trades() -> None:
    prices = [100, 101, 105, 101, 100, 99, 112, 90, 130, 80]
    rows = [tick(number, price) for number, price in enumerate(prices, start=1)]
    signals = [signal(1, tick_seq=2), signal(2, tick_seq=6), signal(3, tick_seq=9)]
    batch, single = Trading(guide()), Trading(guide())
    batch.desk.on_ticks(tick_array(*rows), signal_array(*signals), 0)
    for row in rows:
        due = [each for each in signals if each.tick_seq == row[0]]
        single.desk.on_ticks(tick_array(row), signal_array(*due), 0)
    assert batch.ledger.trades() == single.ledger.trades() != []


def test_a_batch_while_flat_leaves_the_newest_price_of_every_instrument() -> None:
    trading = Trading(two())
    rows = [tick(1, 100), tick(2, 51, instrument=1), tick(3, 101), tick(4, 102)]
    trading.desk.on_ticks(tick_array(*rows), NO_SIGNALS, 0)
    assert trading.session.as_of_seq == 4
    trading.desk.on_signals(signal_array(signal(1, tick_seq=2, instrument=1)), 0)
    assert prices_of(trading) == [(4, e4_of(51))]


def test_a_batch_while_a_position_is_open_is_judged_tick_by_tick() -> None:
    trading = Trading(guide())
    trading.buy(1, 100)
    trading.desk.on_ticks(tick_array(tick(2, 84), tick(3, 100)), NO_SIGNALS, 0)
    assert trading.exits == [("Stop Loss", 13 * LOT)]
    assert prices_of(trading)[-1] == (2, e4_of(84))


def test_an_order_is_in_the_ledger_before_it_leaves() -> None:
    trading = Trading(guide())
    trading.buy(1, 100)
    trading.tick(2, 121)
    assert trading.gateway.in_ledger_when_sent == [True] * 4


def test_every_fill_and_trade_is_in_the_ledger_afterwards() -> None:
    trading = Trading(guide())
    trading.buy(1, 100)
    trading.tick(2, 85)
    assert [len(fills) for _, fills in trading.ledger.orders()] == [1, 1]
    assert trading.exits == [("Stop Loss", 13 * LOT)]


def test_a_refused_signal_sends_nothing_and_is_in_the_ledger() -> None:
    trading = Trading(guide())
    trading.desk.on_ticks(tick_array(tick(1, 100)), signal_array(signal(1, Action.SELL)), 0)
    assert trading.gateway.orders == []
    assert [(r.code, r.signal_seq) for r in trading.ledger.refusals()] == [
        (Code.UNSUPPORTED_ACTION, 1)
    ]


def test_flatten_closes_what_is_open_once() -> None:
    trading = Trading(guide())
    trading.buy(1, 100)
    trading.tick(2, 103)
    trading.desk.flatten("Keyboard Interrupt")
    trading.desk.flatten("Keyboard Interrupt")
    assert trading.exits == [("Keyboard Interrupt", 13 * LOT)]
    assert trading.ledger.trades()[0].exit_price_e4 == e4_of(103)


def test_an_order_id_that_the_ledger_knows_is_not_sent_again() -> None:
    trading = Trading(guide())
    trading.buy(1, 100)
    (order,) = trading.gateway.orders
    with pytest.raises(TickpipeError, match="251001N0001E0 is in the ledger already"):
        trading.desk._execute([order])
    assert trading.gateway.orders == [order]
