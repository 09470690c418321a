"""The risk session: decisions from ticks, signals and fills."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from pipeline.brokers.contract import Order, OrderState, OrderUpdate, Side
from pipeline.records import Action, ExitKind
from pipeline.risk.files import read_rulebook
from pipeline.risk.limits import Code, Refusal
from pipeline.risk.restoring import restore
from pipeline.risk.session import RiskSession
from tests.money import (
    CALENDAR,
    HOURS,
    LOT,
    Trading,
    at,
    e4_of,
    fill,
    guide,
    instrument_of,
    signal,
    tick,
    two_instruments,
)


def open_session(price: float = 100, *overrides: str) -> RiskSession:
    """Return a session that bought on tick 1 at ``price``."""
    session = RiskSession(guide(*overrides))
    session.take_price(tick(1, price))
    fill_all(session, orders_of(session.on_signal(signal(1), 0)))
    session.on_tick(tick(1, price))
    return session


def orders_of(outcome: Sequence[Order] | Refusal) -> Sequence[Order]:
    assert not isinstance(outcome, Refusal), outcome
    return outcome


def refused(outcome: Sequence[Order] | Refusal) -> Code:
    assert isinstance(outcome, Refusal), outcome
    return outcome.code


def fill_all(session: RiskSession, orders: Sequence[Order]) -> None:
    for order in orders:
        session.on_fill(order, fill(order))


def position_of(session: RiskSession, instrument: int = 0) -> dict[str, int]:
    row = session.positions_row()[0]["positions"][instrument]
    return {name: int(row[name]) for name in row.dtype.names}


# Entries -------------------------------------------------------------------------------------


def test_a_buy_becomes_an_order_for_all_the_lots_that_the_cash_buys() -> None:
    session = RiskSession(guide())
    session.take_price(tick(7, "226.2", "09:30:00"))
    (order,) = orders_of(session.on_signal(signal(3, tick_seq=7, reason="green"), 0))
    assert order == Order(
        order_id="251001N0001E0",
        instrument=0,
        symbol="NIFTY-OPTION",
        side=Side.BUY,
        quantity=5 * LOT,
        price_e4=e4_of("226.2"),
        position_id=1,
        reason="green",
        tick_seq=7,
        ts_event_ns=at("09:30:00"),
    )


def test_the_price_is_that_of_the_last_tick_and_not_the_strategy_s_own() -> None:
    session = RiskSession(guide())
    session.on_tick(tick(1, 100))
    session.on_tick(tick(2, 101))
    (order,) = orders_of(session.on_signal(signal(1, tick_seq=1, price_e4=e4_of(50)), 0))
    assert (order.price_e4, order.tick_seq) == (e4_of(101), 2)


def test_an_entry_in_flight_is_an_open_position_and_holds_its_cash() -> None:
    session = RiskSession(two_instruments())
    session.on_tick(tick(1, 100))
    session.on_tick(tick(2, 99, instrument=1))
    orders_of(session.on_signal(signal(1), 0))
    assert refused(session.on_signal(signal(2), 0)) is Code.POSITION_OPEN
    assert refused(session.on_signal(signal(3, instrument=1), 0)) is Code.INSUFFICIENT_CASH
    assert session.book.cash == 100_000


def test_a_buy_before_the_first_tick_is_refused() -> None:
    assert refused(RiskSession(guide()).on_signal(signal(1, tick_seq=0), 0)) is Code.STALE_FEED


def test_a_refused_signal_is_handled_and_shown_as_handled() -> None:
    session = RiskSession(guide())
    before = session.version
    assert refused(session.on_signal(signal(4, Action.CLOSE), 0)) is Code.NOTHING_TO_CLOSE
    assert session.positions_row()["as_of_signal"][0] == 4
    assert session.version > before
    assert session.statistics().refused == 1


def test_the_same_signal_twice_is_refused_and_changes_nothing() -> None:
    session = open_session()
    version = session.version
    assert refused(session.on_signal(signal(1), 0)) is Code.DUPLICATE_SIGNAL
    assert session.version == version


def test_a_halt_stops_entries_until_it_is_lifted() -> None:
    session = RiskSession(guide())
    session.on_tick(tick(1, 100))
    session.halt("kill_switch")
    assert refused(session.on_signal(signal(1), 0)) is Code.TRADING_HALTED
    session.resume("looked at it")
    assert orders_of(session.on_signal(signal(2), 0))


def test_entries_are_counted_by_the_day_of_the_tick() -> None:
    trading = Trading(guide("risk.max_positions_per_day=1"))
    trading.buy(1, 100)
    trading.tick(2, 80)
    trading.buy(3, 80)
    assert [refusal.code for refusal in trading.ledger.refusals()] == [Code.MAX_POSITIONS]
    next_day_ns = at("10:00:00", "2025-10-03")
    row = tick(4, 80, ts_event_ns=next_day_ns)
    trading.desk.on_signal(signal(4, tick_seq=4, ts_event_ns=next_day_ns), 0)
    trading.desk.on_tick(row, 0)
    assert trading.gateway.orders[-1].order_id == "251003N0002E0"


def test_an_entry_too_late_in_the_day_is_refused_by_the_newest_time_known() -> None:
    session = RiskSession(guide(*HOURS))
    session.on_tick(tick(1, 100, "15:10:00"))
    late = signal(1, ts_event_ns=at("15:09:59"))
    assert refused(session.on_signal(late, 0)) is Code.OUTSIDE_SESSION


# Exits ---------------------------------------------------------------------------------------


def test_a_stop_sells_everything_with_the_next_exit_id() -> None:
    session = open_session()
    (order,) = session.on_tick(tick(2, 85, "10:00:09"))
    assert order == Order(
        order_id="251001N0001X1",
        instrument=0,
        symbol="NIFTY-OPTION",
        side=Side.SELL,
        quantity=13 * LOT,
        price_e4=e4_of(85),
        position_id=1,
        reason="Stop Loss",
        tick_seq=2,
        ts_event_ns=at("10:00:09"),
        ts_recv_ns=2_000,
    )


def test_an_order_carries_the_times_of_what_caused_it() -> None:
    session = RiskSession(guide())
    session.take_price(tick(1, 100))
    (entry,) = orders_of(session.on_signal(signal(1, ts_recv_ns=50, ts_signal_ns=70), 90))
    fill_all(session, [entry])
    close = signal(2, Action.CLOSE, ts_recv_ns=500, ts_signal_ns=700)
    (exit,) = orders_of(session.on_signal(close, 900))
    assert [(o.ts_recv_ns, o.ts_signal_ns) for o in (entry, exit)] == [(50, 70), (500, 700)]


def test_an_order_that_no_tick_caused_has_no_such_times() -> None:
    (order,) = open_session().flatten("Stop Requested")
    assert (order.ts_recv_ns, order.ts_signal_ns) == (0, 0)


def test_two_targets_on_one_tick_are_two_orders() -> None:
    session = open_session()
    orders = session.on_tick(tick(2, 112))
    assert [(o.order_id, o.reason, o.quantity // LOT) for o in orders] == [
        ("251001N0001X1", "Take Profit 1", 5),
        ("251001N0001X2", "Take Profit 2", 3),
    ]


def test_two_targets_never_sell_more_than_is_held() -> None:
    session = RiskSession(guide("capital.initial_capital=20000.0"))
    session.on_tick(tick(1, 100))
    (entry,) = orders_of(session.on_signal(signal(1), 0))
    session.on_fill(entry, fill(entry, 100))  # a lot and a third
    assert [order.quantity for order in session.on_tick(tick(2, 112))] == [75, 25]


def test_the_exits_of_every_position_are_numbered_from_one() -> None:
    trading = Trading(guide())
    for seq in (1, 3):
        trading.buy(seq, 100)
        trading.tick(seq + 1, 85)
    assert [trade.exit_order_id for trade in trading.ledger.trades()] == [
        "251001N0001X1",
        "251001N0002X1",
    ]


def test_an_exit_in_flight_is_not_sent_again() -> None:
    session = open_session()
    assert len(session.on_tick(tick(2, 85))) == 1
    assert session.on_tick(tick(3, 84)) == ()
    assert session.flatten("manual") == []
    assert refused(session.on_signal(signal(2, Action.CLOSE), 0)) is Code.NOTHING_TO_CLOSE


def test_with_a_part_in_flight_only_the_rest_is_sold() -> None:
    session = open_session()
    (first,) = session.on_tick(tick(2, 105))
    (rest,) = session.flatten("manual")
    assert first.quantity + rest.quantity == 13 * LOT
    assert rest.order_id == "251001N0001X2"


def test_a_part_fill_keeps_the_other_part_in_flight() -> None:
    session = open_session()
    (order,) = session.on_tick(tick(2, 85))
    trade = session.on_fill(order, fill(order, 2 * LOT))
    assert trade is not None
    assert trade.quantity == 2 * LOT
    assert session.flatten("manual") == []
    session.on_fill(order, fill(order, 11 * LOT))
    assert session.is_flat


def test_a_close_sells_everything_and_says_what_the_strategy_said() -> None:
    session = open_session()
    (order,) = orders_of(session.on_signal(signal(2, Action.CLOSE, reason="momentum gone"), 0))
    assert (order.reason, order.quantity) == ("Strategy Signal: momentum gone", 13 * LOT)


def test_a_failed_strategy_s_close_keeps_its_own_words() -> None:
    session = open_session()
    row = signal(2, Action.CLOSE, reason="NaN Threshold Exceeded")
    (order,) = orders_of(session.on_signal(row, 0))
    assert order.reason == "NaN Threshold Exceeded"


def test_flatten_sells_at_the_last_price_of_each_instrument() -> None:
    session = RiskSession(two_instruments("capital.initial_capital=20000.0"))
    for number, (instrument, price) in enumerate(((0, 200), (1, 80)), start=1):
        session.on_tick(tick(number, price, instrument=instrument))
        fill_all(session, orders_of(session.on_signal(signal(number, instrument=instrument), 0)))
    session.on_tick(tick(3, 201))
    session.on_tick(tick(4, 81, instrument=1))
    assert [(o.instrument, o.price_e4, o.reason) for o in session.flatten("Stop Requested")] == [
        (0, e4_of(201), "Stop Requested"),
        (1, e4_of(81), "Stop Requested"),
    ]


def test_flatten_while_flat_sends_nothing() -> None:
    assert RiskSession(guide()).flatten("manual") == []


def test_with_the_gates_on_the_flat_time_closes_the_position_once() -> None:
    session = open_session(100, *HOURS)
    assert session.on_tick(tick(2, 101, "15:09:59")) == ()
    (order,) = session.on_tick(tick(3, 101, "15:10:00"))
    assert order.reason == "Session End"


def test_a_position_still_closes_on_a_day_that_the_exchange_is_closed() -> None:
    trading = Trading(guide(*CALENDAR), rulebook=read_rulebook())
    trading.buy(1, 100, ts_event_ns=at("10:00:00", "2026-11-23"))
    assert trading.session.book.position(0) is not None
    holiday_ns = at("10:00:00", "2026-11-24")
    trading.tick(2, 101, ts_event_ns=holiday_ns)
    assert [reason for reason, _ in trading.exits] == ["Session End"]
    assert trading.session.book.position(0) is None
    trading.buy(3, 101, ts_event_ns=holiday_ns)
    assert [refusal.code for refusal in trading.ledger.refusals()] == [Code.MARKET_CLOSED]


def test_with_the_calendar_the_flat_time_is_that_of_the_day() -> None:
    for day, flat in (("2026-07-31", "15:10:00"), ("2026-08-03", "15:20:00")):
        trading = Trading(guide(*CALENDAR), rulebook=read_rulebook())
        trading.buy(1, 100, ts_event_ns=at("10:00:00", day))
        trading.tick(2, 101, ts_event_ns=at(flat, day) - 1)
        assert trading.exits == []
        trading.tick(3, 101, ts_event_ns=at(flat, day))
        assert [reason for reason, _ in trading.exits] == ["Session End"]


def test_each_instrument_is_flat_by_the_clock_of_its_own_exchange() -> None:
    settings = two_instruments(*CALENDAR)
    index, metal = settings.instruments
    both = (index, metal.model_copy(update={"exchange": "MCX"}))
    settings = settings.model_copy(update={"instruments": both})
    session = RiskSession(settings, read_rulebook())
    session.on_tick(tick(1, 101, ts_event_ns=at("15:00:00", "2026-11-23"), instrument=1))
    fill_all(session, orders_of(session.on_signal(signal(1, instrument=1), 0)))
    afternoon = tick(2, 101, ts_event_ns=at("16:00:00", "2026-11-23"), instrument=1)
    assert session.on_tick(afternoon) == ()
    night = tick(3, 101, ts_event_ns=at("23:35:00", "2026-11-23"), instrument=1)
    (order,) = session.on_tick(night)
    assert order.reason == "Session End"


def test_each_order_pays_the_rates_of_its_own_day() -> None:
    """STT on the sale of an option rose on 2026-04-01, from 0.1 to 0.15 %."""
    for day, stt in (("2026-03-30", 64), ("2026-04-01", 96)):
        settings = instrument_of(guide('risk.charges="zerodha"'), kind="option", lot_size=750)
        trading = Trading(settings, rulebook=read_rulebook())
        trading.buy(1, 100, ts_event_ns=at("10:00:00", "2026-03-30"))
        trading.tick(2, 85, ts_event_ns=at("11:00:00", day))
        assert trading.exits == [("Stop Loss", 750)]
        (trade,) = trading.ledger.trades()
        # sale of 63 750 ₹: 20 brokerage, 22.65 exchange, 0.06 SEBI, 7.69 GST
        assert trade.exit_charges == stt + Decimal("50.40")


def test_a_tick_without_an_exchange_time_still_stops_a_loss() -> None:
    session = open_session(100, *HOURS)
    (order,) = session.on_tick(tick(2, 80, ts_event_ns=0))
    assert order.reason == "Stop Loss"


def test_a_tick_of_another_instrument_leaves_a_position_alone() -> None:
    session = RiskSession(two_instruments())
    session.on_tick(tick(1, 100))
    fill_all(session, orders_of(session.on_signal(signal(1), 0)))
    assert session.on_tick(tick(2, 1, instrument=1)) == ()
    assert session.on_tick(tick(3, 100)) == ()


# What others see -----------------------------------------------------------------------------


def test_the_positions_row_shows_what_is_held_and_the_stop_in_force() -> None:
    session = open_session()
    assert position_of(session) == {
        "position_id": 1,
        "quantity": 13 * LOT,
        "entry_price_e4": e4_of(100),
        "stop_e4": e4_of(85),
        "closed_id": 0,
        "closed_kind": ExitKind.NONE,
    }
    fill_all(session, session.on_tick(tick(2, 106)))
    assert position_of(session)["stop_e4"] == e4_of(101)
    assert position_of(session)["quantity"] == 8 * LOT


@pytest.mark.parametrize(
    ("prices", "kind"),
    [
        ([85], ExitKind.STOP_LOSS),
        ([105, 100], ExitKind.TRAILING_STOP),
        ([130], ExitKind.TAKE_PROFIT),
    ],
)
def test_a_closed_position_is_shown_with_the_kind_of_its_last_exit(
    prices: list[float], kind: ExitKind
) -> None:
    session = open_session()
    for number, price in enumerate(prices, start=2):
        fill_all(session, session.on_tick(tick(number, price)))
    shown = position_of(session)
    assert (shown["position_id"], shown["quantity"], shown["stop_e4"]) == (0, 0, 0)
    assert (shown["closed_id"], shown["closed_kind"]) == (1, kind)


def test_the_row_is_stamped_with_the_last_tick_and_the_last_signal() -> None:
    session = open_session()
    session.on_tick(tick(9, 101))
    row = session.positions_row()
    assert row.shape == (1,)
    assert (row["seq"][0], row["as_of_seq"][0], row["as_of_signal"][0]) == (0, 9, 1)


def test_the_version_grows_with_the_row_and_not_with_every_tick() -> None:
    session = open_session()
    versions = []
    for number, price in enumerate((101, 99, 104.5, 105, 104, 106), start=2):
        fill_all(session, session.on_tick(tick(number, price)))
        versions.append(session.version)
    quiet, armed, same, followed = versions[:3], *versions[3:]
    assert len(set(quiet)) == 1
    assert quiet[0] < armed == same < followed


def test_equity_is_cash_plus_what_is_held_at_the_last_price() -> None:
    session = open_session()
    session.on_tick(tick(2, 103))
    figures = session.statistics()
    assert figures.position == 13 * LOT
    assert figures.equity_e4 - figures.cash_e4 == 13 * LOT * e4_of(103)
    assert figures.cash_e4 == int(session.book.cash * 10_000)
    assert (figures.signals, figures.refused, figures.orders, figures.trades) == (1, 0, 1, 0)


def test_the_entry_s_delays_are_on_every_trade_of_the_position() -> None:
    session = RiskSession(guide())
    session.on_tick(tick(1, 100))
    row = signal(1, ts_recv_ns=1_000, ts_signal_ns=4_000)
    fill_all(session, orders_of(session.on_signal(row, 9_000)))
    orders = session.on_tick(tick(2, 112))
    trades = [session.on_fill(order, fill(order)) for order in orders]
    assert [(t.tick_to_signal_ns, t.signal_to_order_ns) for t in trades if t] == [
        (3_000, 5_000)
    ] * 2


# Restart -------------------------------------------------------------------------------------

DAY: list[float] = [100, 105, 102, 106, 100, 100, 112, 113, 107, 100, 90, 85]
BUYS = (1, 6, 10)


def play(trading: Trading, prices: Sequence[tuple[int, float]]) -> None:
    for number, price in prices:
        if number in BUYS:
            trading.buy(number, price)
        else:
            trading.tick(number, price)


@pytest.mark.parametrize("killed_after", range(1, len(DAY)))
def test_a_session_restored_from_the_ledger_goes_on_as_if_nothing_had_happened(
    killed_after: int,
) -> None:
    day = list(enumerate(DAY, start=1))
    whole, first, second = (Trading(guide()) for _ in range(3))
    play(whole, day)
    play(first, day[:killed_after])
    restore(second.session, first.ledger.history())
    assert second.session.statistics()._replace(signals=0, equity_e4=0) == (
        first.session.statistics()._replace(signals=0, equity_e4=0)
    )
    play(second, day[killed_after:])
    assert second.session.book.cash == whole.session.book.cash
    assert first.gateway.orders + second.gateway.orders == whole.gateway.orders


def test_an_order_without_a_fill_keeps_its_number_taken_after_a_restart() -> None:
    died = Trading(guide(), silent=True)
    died.buy(1, 100)
    session = RiskSession(guide())
    restore(session, died.ledger.history())
    assert session.is_flat
    session.on_tick(tick(1, 100))
    assert refused(session.on_signal(signal(1), 0)) is Code.POSITION_OPEN, "it may be filled yet"
    gone = OrderUpdate(order_id="251001N0001E0", state=OrderState.NEVER_ARRIVED)
    session.on_update(gone)
    (order,) = orders_of(session.on_signal(signal(2), 0))
    assert order.order_id == "251001N0002E0"


def test_a_restored_position_can_be_flattened_before_the_first_tick() -> None:
    died = Trading(guide())
    died.buy(1, 100)
    session = RiskSession(guide())
    restore(session, died.ledger.history())
    (order,) = session.flatten("reconcile")
    assert (order.price_e4, order.order_id) == (e4_of(100), "251001N0001X1")
    assert session.book.cash < Decimal(3_000)
