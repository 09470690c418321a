"""The risk session under the rules that are off until they are asked for."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pipeline.brokers.contract import Side
from pipeline.records import Action
from pipeline.risk.history import Event
from pipeline.risk.limits import Code
from pipeline.risk.mandate import Mandate, TradingState
from pipeline.risk.restoring import restore
from pipeline.settings import Settings
from tests.money import (
    HOURS,
    LOT,
    Trading,
    at,
    e4_of,
    guide,
    instrument_of,
    two_instruments,
)

SHORT = "risk.allow_short=true"


def refused(trading: Trading) -> list[Code]:
    return [refusal.code for refusal in trading.ledger.refusals()]


# Short positions -------------------------------------------------------------------------------


def test_a_sell_opens_a_short_position_and_its_exits_buy() -> None:
    trading = Trading(guide(SHORT))
    trading.ask(Action.SELL, 1, 100)
    position = trading.session.book.position(0)
    assert position is not None
    assert position.quantity == -13 * LOT
    trading.tick(2, 95)
    trading.tick(3, 115)
    assert trading.exits == [("Take Profit 1", 5 * LOT), ("Stop Loss", 8 * LOT)]
    assert {order.side for order in trading.gateway.orders[1:]} == {Side.BUY}
    trades = trading.ledger.trades()
    assert [(trade.side, trade.gross_pnl) for trade in trades] == [
        ("SELL", Decimal(5 * LOT * 5)),
        ("SELL", Decimal(8 * LOT * -15)),
    ]
    cash = Decimal(100_000) + sum(trade.net_pnl for trade in trades)
    assert trading.session.book.cash == trading.session.book.free_cash == cash


def test_a_close_buys_a_short_position_back() -> None:
    trading = Trading(guide(SHORT))
    trading.ask(Action.SELL, 1, 100)
    trading.ask(Action.CLOSE, 2, 101)
    assert trading.exits == [("Strategy Signal: ", 13 * LOT)]
    assert trading.session.is_flat


def test_the_proceeds_of_a_short_position_are_not_spent() -> None:
    trading = Trading(two_instruments(SHORT, "capital.initial_capital=10000.0"))
    trading.ask(Action.SELL, 1, 100)
    assert trading.session.book.cash > 17_000
    assert 2_480 < trading.session.book.free_cash < 2_500
    trading.tick(2, 60, instrument=1)
    trading.buy(3, 60, instrument=1)
    assert refused(trading) == [Code.INSUFFICIENT_CASH]


def test_the_stop_of_a_short_position_is_shown_above_its_entry() -> None:
    trading = Trading(guide(SHORT))
    trading.ask(Action.SELL, 1, 100)
    row = trading.session.positions_row()[0]["positions"][0]
    assert (row["quantity"], row["stop_e4"]) == (-13 * LOT, e4_of(115))


def test_a_short_entry_on_its_way_is_an_open_position_and_holds_its_cash() -> None:
    trading = Trading(two_instruments(SHORT), silent=True)
    trading.tick(1, 100, instrument=1)
    trading.ask(Action.SELL, 2, 100)
    trading.ask(Action.SELL, 3, 100)
    trading.buy(4, 100, instrument=1)
    assert refused(trading) == [Code.POSITION_OPEN, Code.INSUFFICIENT_CASH]


# Halts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [TradingState.REDUCING, TradingState.HALTED])
def test_in_every_state_exits_go_on_and_entries_wait_for_a_resume(state: TradingState) -> None:
    trading = Trading(guide())
    trading.buy(1, 100)
    ask = {TradingState.REDUCING: trading.session.reduce, TradingState.HALTED: trading.session.halt}
    ask[state]("somebody said so")
    trading.tick(2, 85)
    assert trading.exits == [("Stop Loss", 13 * LOT)]
    trading.buy(3, 85)
    assert refused(trading) == [Code.TRADING_HALTED]
    trading.session.resume("looked at it")
    trading.buy(4, 85)
    assert trading.session.book.position(0) is not None


def test_what_was_asked_for_stands_in_the_ledger() -> None:
    trading = Trading(guide())
    trading.tick(1, 100, "10:00:00")
    trading.session.halt("kill_switch")
    trading.session.reduce("later")
    trading.session.resume("looked at it")
    trading.desk.write_events()
    asked = ["HALTED kill_switch", "REDUCING later", "ACTIVE looked at it"]
    assert trading.ledger.events() == [Event("state", text, at("10:00:00")) for text in asked]
    assert Mandate.after(asked) == trading.session.mandate


# Losses ----------------------------------------------------------------------------------------


def test_a_daily_loss_closes_everything_and_halts() -> None:
    trading = Trading(guide("risk.daily_loss_max=5000.0", "risk.slippage_points=0.0"))
    trading.buy(1, 100)
    trading.tick(2, "95.00")
    assert trading.exits == []
    trading.tick(3, "94.90")  # 13 lots lose 5.10 a share, and 29.25 was charged
    assert trading.exits == [("daily_loss", 13 * LOT)]
    assert trading.session.mandate == Mandate(TradingState.HALTED, "daily_loss")
    trading.desk.write_events()
    assert [event.text for event in trading.ledger.events()] == ["HALTED daily_loss"]
    trading.buy(4, 95)
    assert refused(trading) == [Code.DAILY_LOSS]


def test_a_loss_limit_that_is_still_exceeded_halts_again_after_a_resume() -> None:
    trading = Trading(guide("risk.daily_loss_max=5000.0"))
    trading.buy(1, 100)
    trading.tick(2, 94)
    trading.session.resume("once more")
    trading.buy(3, 95)
    assert refused(trading) == [Code.DAILY_LOSS]
    assert trading.session.mandate == Mandate(TradingState.HALTED, "daily_loss")


def test_a_new_day_has_a_loss_of_its_own_and_lifts_no_halt() -> None:
    trading = Trading(guide("risk.daily_loss_max=5000.0"))
    trading.buy(1, 100)
    trading.tick(2, 94)
    next_day = at("10:00:00", "2025-10-03")
    trading.buy(3, 95, ts_event_ns=next_day)
    assert refused(trading) == [Code.TRADING_HALTED]
    trading.session.resume("another day")
    trading.buy(4, 95, ts_event_ns=next_day)
    assert trading.session.book.position(0) is not None


def test_a_drawdown_counts_from_what_was_open_at_the_best_price() -> None:
    trading = Trading(guide("risk.drawdown_max=3000.0", "risk.tp_points=[]", "risk.tp_percents=[]"))
    trading.buy(1, 100)
    trading.tick(2, "104.90")  # the trailing stop is not armed yet
    trading.tick(3, "101.90")
    assert trading.exits == []
    trading.tick(4, "101.80")
    assert trading.exits == [("max_drawdown", 13 * LOT)]


def test_a_loss_is_that_of_all_positions_together() -> None:
    settings = two_instruments("risk.daily_loss_max=3000.0", "risk.position_value_max=40000.0")
    trading = Trading(settings)
    trading.tick(1, 100, instrument=1)
    trading.buy(2, 100)
    trading.buy(3, 100, instrument=1)
    trading.tick(4, "95.95")  # 375 shares lose 1 519
    assert trading.exits == []
    trading.tick(5, "96.40", instrument=1)  # 400 shares lose 1 440
    assert trading.exits == []
    trading.tick(6, "96.20", instrument=1)
    assert trading.exits == [("daily_loss", 375), ("daily_loss", 400)]


def test_a_trade_closed_by_a_loss_limit_has_the_price_of_that_tick_as_its_worst() -> None:
    trading = Trading(guide("risk.daily_loss_max=5000.0"))
    trading.buy(1, 100)
    trading.tick(2, 90)
    (trade,) = trading.ledger.trades()
    assert trade.mae == -10 * 13 * LOT


def test_a_loss_while_an_exit_is_on_its_way_asks_for_nothing_twice() -> None:
    trading = Trading(guide("risk.daily_loss_max=5000.0"))
    trading.buy(1, 100)
    trading.gateway.fall_silent()
    for seq, price in enumerate((94, 93, 92), start=2):
        trading.tick(seq, price)
    assert [order.reason for order in trading.gateway.orders[1:]] == ["daily_loss"]


# Counts ----------------------------------------------------------------------------------------


def test_stop_losses_in_a_row_pause_entries() -> None:
    trading = Trading(guide("risk.cool_down_stops=2", "risk.cool_down_minutes=15"))
    for seq, clock in ((1, "10:00:00"), (3, "10:01:00")):
        trading.buy(seq, 100, clock)
        trading.tick(seq + 1, 85, clock)
    trading.buy(5, 85, "10:15:59")
    assert refused(trading) == [Code.COOLING_DOWN]
    trading.buy(6, 85, "10:16:00")
    assert trading.session.book.position(0) is not None


def test_positions_at_once_are_counted_with_those_on_their_way() -> None:
    settings = two_instruments("risk.open_positions_max=1", "risk.position_value_max=20000.0")
    trading = Trading(settings, silent=True)
    trading.tick(1, 100, instrument=1)
    trading.buy(2, 100)
    trading.buy(3, 100, instrument=1)
    assert refused(trading) == [Code.MAX_POSITIONS]


def test_an_exit_is_sent_whatever_the_limits_of_orders_say() -> None:
    trading = Trading(guide("risk.orders_per_second_max=1", "risk.orders_per_day_max=1"))
    trading.buy(1, 100)
    trading.tick(2, 112)
    trading.tick(3, 85)
    assert [reason for reason, _ in trading.exits] == [
        "Take Profit 1",
        "Take Profit 2",
        "Stop Loss",
    ]
    trading.buy(4, 85)
    assert refused(trading) == [Code.RATE_LIMIT_EXCEEDED]


def test_orders_of_a_session_that_died_count_too() -> None:
    settings = guide("risk.orders_per_day_max=2")
    died = Trading(settings)
    died.buy(1, 100)
    died.tick(2, 85)
    trading = Trading(settings)
    restore(trading.session, died.ledger.history())
    trading.buy(3, 85)
    assert refused(trading) == [Code.RATE_LIMIT_EXCEEDED]


# Orders ----------------------------------------------------------------------------------------


def frozen(*overrides: str, freeze: int = 4 * LOT) -> Settings:
    return instrument_of(guide(*overrides), freeze_quantity=freeze)


def test_entries_and_exits_are_sliced_by_the_freeze_quantity() -> None:
    trading = Trading(frozen())
    trading.buy(1, 100)
    trading.tick(2, 85)
    sent = [
        (order.order_id.removeprefix("251001N0001"), order.quantity // LOT)
        for order in trading.gateway.orders
    ]
    assert sent[:4] == [("E0", 4), ("E1", 4), ("E2", 4), ("E3", 1)]
    assert sent[4:] == [("X1", 4), ("X2", 4), ("X3", 4), ("X4", 1)]
    assert trading.session.is_flat
    assert trading.session.book.trade_count == 4


def test_a_limit_order_has_its_limit_on_the_tick() -> None:
    trading = Trading(guide('risk.order_type="limit"', "risk.collar_points=1.02"))
    trading.buy(1, 100)
    trading.tick(2, 85)
    assert [(order.price_e4, order.limit_e4) for order in trading.gateway.orders] == [
        (e4_of(100), e4_of("101.05")),
        (e4_of(85), e4_of("83.95")),
    ]


def test_a_market_order_has_no_limit() -> None:
    trading = Trading(guide("risk.collar_points=1.0"))
    trading.buy(1, 100)
    assert [order.limit_e4 for order in trading.gateway.orders] == [0]


# Time ------------------------------------------------------------------------------------------


def test_a_position_is_closed_by_the_time_limit_of_its_first_fill() -> None:
    trading = Trading(guide("risk.time_limit_minutes=10"))
    trading.buy(1, 100, "10:00:00")
    trading.tick(2, 101, "10:09:59")
    assert trading.exits == []
    trading.tick(3, 101, "10:10:00")
    assert trading.exits == [("Time Limit", 13 * LOT)]


@pytest.mark.parametrize(
    ("override", "clock", "reason"),
    [
        ("risk.time_limit_minutes=10", "10:10:00", "Time Limit"),
        ("risk.trail_activation_points=5.0", "15:10:00", "Session End"),
    ],
)
def test_the_time_of_another_instrument_s_tick_closes_a_position_too(
    override: str, clock: str, reason: str
) -> None:
    trading = Trading(two_instruments(override, *HOURS))
    trading.buy(1, 100, "10:00:00")
    trading.tick(2, 50, clock, instrument=1)
    assert trading.exits == [(reason, 13 * LOT)]
    (trade,) = trading.ledger.trades()
    assert trade.exit_price_e4 == e4_of(100)
