"""Each refusal with its code and its context, and what passes just before it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from pipeline.records import Action, SignalRow
from pipeline.risk.files import read_rulebook
from pipeline.risk.limits import Code, Facts, Limits, Refusal
from pipeline.risk.losses import Breach
from pipeline.risk.mandate import Mandate, TradingState
from pipeline.risk.numbering import Sent
from pipeline.risk.reasons import Reason
from tests.money import CALENDAR, HOURS, at, e4_of, guide, instrument_of, signal, two_instruments

FACTS = Facts(
    now_ns=0,
    event_ns=at("10:00:00"),
    price_e4=e4_of(200),
    price_ns=0,
    last_signal=0,
    entering=0,
    held=0,
    closable=0,
    mandate=Mandate(),
    breach=None,
    cool_until_ns=0,
    entries_today=0,
    open_positions=0,
    sent=Sent(0, 0, 0),
    cash=Decimal(100_000),
)


def refusal(limits: Limits, row: SignalRow, facts: Facts) -> Refusal | None:
    judged = limits.judge(row, facts)
    return judged if isinstance(judged, Refusal) else None


def judged(
    *overrides: str,
    action: Action | int = Action.BUY,
    row: dict[str, Any] | None = None,
    **facts: Any,
) -> tuple[Code, str] | None:
    """Return code and context for signal 1 with ``facts`` changed; None when it passes."""
    refused = refusal(
        Limits(guide(*overrides)),
        signal(1, **({"action": action} | (row or {}))),
        FACTS._replace(**facts),
    )
    assert refused is None or refused.signal_seq == 1
    return None if refused is None else (refused.code, refused.context)


def test_a_sound_entry_passes() -> None:
    assert judged() is None


def test_a_signal_is_handled_once() -> None:
    assert judged(last_signal=1) == (Code.DUPLICATE_SIGNAL, "seq=1 last_handled=1")
    assert judged(last_signal=7) == (Code.DUPLICATE_SIGNAL, "seq=1 last_handled=7")


def test_a_close_that_was_handled_is_a_duplicate_too() -> None:
    assert judged(action=Action.CLOSE, closable=75, last_signal=1) == (
        Code.DUPLICATE_SIGNAL,
        "seq=1 last_handled=1",
    )


@pytest.mark.parametrize(("action", "shown"), [(Action.SELL, "SELL"), (0, "HOLD"), (9, "9")])
def test_only_buy_and_close_are_supported(action: Action | int, shown: str) -> None:
    assert judged(action=action) == (
        Code.UNSUPPORTED_ACTION,
        f"action={shown} supported=BUY,CLOSE",
    )


@pytest.mark.parametrize("action", [Action.BUY, Action.CLOSE])
def test_an_instrument_that_is_not_configured_is_unknown(action: Action) -> None:
    assert judged(action=action, row={"instrument": 1}) == (
        Code.UNKNOWN_INSTRUMENT,
        "instrument=1 instruments=1",
    )


def test_nothing_is_closed_while_flat_or_already_on_its_way_out() -> None:
    assert judged(action=Action.CLOSE) == (Code.NOTHING_TO_CLOSE, "instrument=0 held=0")
    assert judged(action=Action.CLOSE, held=75) == (Code.NOTHING_TO_CLOSE, "instrument=0 held=75")
    assert judged(action=Action.CLOSE, held=75, closable=75) is None


@pytest.mark.parametrize("state", [TradingState.REDUCING, TradingState.HALTED])
def test_a_halt_refuses_entries_and_lets_a_close_pass(state: TradingState) -> None:
    mandate = Mandate(state, "kill_switch")
    assert judged(mandate=mandate) == (
        Code.TRADING_HALTED,
        f"state={state} reason='kill_switch'",
    )
    assert judged(mandate=mandate, action=Action.CLOSE, held=75, closable=75) is None


def test_an_entry_expires_after_its_time_to_live_and_not_before() -> None:
    received = {"ts_recv_ns": 5_000_000_000}
    assert judged(row=received, now_ns=6_000_000_000) is None
    assert judged(row=received, now_ns=6_000_000_001) == (
        Code.SIGNAL_EXPIRED,
        "age_ms=1000.000 ttl_ms=1000",
    )


def test_a_close_does_not_expire() -> None:
    assert judged(action=Action.CLOSE, held=75, closable=75, now_ns=10**15) is None


def test_one_position_an_instrument() -> None:
    assert judged(held=75) == (Code.POSITION_OPEN, "instrument=0 held=75")


def test_without_a_price_there_is_no_entry() -> None:
    assert judged(price_e4=0) == (Code.STALE_FEED, "instrument=0 last_price=none")


def test_no_entry_outside_the_session() -> None:
    assert judged(*HOURS, event_ns=at("15:10:00")) == (
        Code.OUTSIDE_SESSION,
        "time=15:10:00 entries=09:20:00-15:10:00",
    )
    assert judged(*HOURS, event_ns=at("15:09:59")) is None
    assert judged(event_ns=at("15:29:59")) is None  # gates off


@pytest.mark.parametrize(
    ("day", "reason"),
    [
        ("2026-11-24", "Prakash Gurpurb Sri Guru Nanak Dev"),
        ("2026-11-21", "Saturday"),
        ("2027-01-04", "no calendar has this date"),
    ],
)
def test_no_entry_on_a_holiday_or_on_a_date_that_the_calendar_does_not_have(
    day: str, reason: str
) -> None:
    limits = Limits(guide(*CALENDAR), read_rulebook())
    facts = FACTS._replace(event_ns=at("10:00:00", day))
    assert refusal(limits, signal(1), facts) == Refusal(
        Code.MARKET_CLOSED, f"date={day} exchange=NFO reason={reason!r}", 1
    )
    held = facts._replace(held=75, closable=75)
    assert refusal(limits, signal(1, Action.CLOSE), held) is None


def test_with_the_calendar_an_entry_is_within_the_hours_of_its_day() -> None:
    limits = Limits(guide(*CALENDAR), read_rulebook())
    open_day = FACTS._replace(event_ns=at("15:19:59", "2026-11-23"))
    assert refusal(limits, signal(1), open_day) is None
    late = FACTS._replace(event_ns=at("15:20:00", "2026-11-23"))
    assert refusal(limits, signal(1), late) == Refusal(
        Code.OUTSIDE_SESSION, "time=15:20:00 entries=09:20:00-15:20:00", 1
    )


@pytest.mark.parametrize(
    ("instrument", "day", "needed"),
    [
        # brokerage, exchange, IPFT, SEBI fee, GST: 20 + 5.25 + 0.08 + 0.02 + 4.55, then
        # 20 + 5.33 + 0 + 0.02 + 4.56, and for the future 3 + 0.18 + 0 + 0.01 + 0.57
        (0, "2025-10-01", "15029.9"),
        (0, "2026-11-23", "15029.91"),
        (1, "2026-11-23", "10003.76"),
    ],
)
def test_the_cash_that_an_entry_needs_has_the_charges_of_its_day_and_instrument(
    instrument: int, day: str, needed: str
) -> None:
    settings = two_instruments('risk.charges="zerodha"')
    kinds = zip(settings.instruments, ("option", "future"), strict=True)
    both = tuple(each.model_copy(update={"kind": kind}) for each, kind in kinds)
    limits = Limits(settings.model_copy(update={"instruments": both}), read_rulebook())
    facts = FACTS._replace(event_ns=at("10:00:00", day), cash=Decimal(needed))
    assert refusal(limits, signal(1, instrument=instrument), facts) is None
    refused = refusal(
        limits, signal(1, instrument=instrument), facts._replace(cash=facts.cash - Decimal("0.01"))
    )
    assert refused is not None
    assert f" needed={needed} " in refused.context


def test_entries_a_day_are_counted() -> None:
    assert judged("risk.max_positions_per_day=2", entries_today=1) is None
    assert judged("risk.max_positions_per_day=2", entries_today=2) == (
        Code.MAX_POSITIONS,
        "entries=2 max=2",
    )


def test_a_price_above_the_highest_is_refused() -> None:
    rich = Decimal(10_000_000)
    assert judged(price_e4=e4_of(10_000), cash=rich) is None
    assert judged(price_e4=e4_of("10000.05"), cash=rich) == (
        Code.PRICE_TOO_HIGH,
        "price=10000.05 max=10000",
    )


def test_cash_for_less_than_a_lot_is_insufficient() -> None:
    assert judged(cash=Decimal("14999.99")) == (
        Code.INSUFFICIENT_CASH,
        "cash=14999.99 needed=15005.841 lots=0 lot_size=75 price=200",
    )


def test_cash_for_the_lots_and_not_their_charges_is_insufficient() -> None:
    assert judged(cash=Decimal("15005.840999")) == (
        Code.INSUFFICIENT_CASH,
        "cash=15005.840999 needed=15005.841 lots=1 lot_size=75 price=200",
    )
    assert judged(cash=Decimal("15005.841")) is None


def test_the_expected_slippage_counts_as_part_of_the_price() -> None:
    slipping = "risk.slippage_points=1.0"
    assert judged(slipping, cash=Decimal("15050")) == (
        Code.INSUFFICIENT_CASH,
        "cash=15050 needed=15080.870205 lots=0 lot_size=75 price=201",
    )


@pytest.mark.parametrize(("cash", "lots"), [("14999.99", 0), ("15000", 1), ("59999", 3), ("-5", 0)])
def test_lots_are_what_the_cash_buys(cash: str, lots: int) -> None:
    facts = FACTS._replace(cash=Decimal(cash))
    assert Limits(guide()).size(signal(1), facts).lots == lots


def test_a_refusal_says_which_signal() -> None:
    limits = Limits(guide())
    refused = refusal(limits, signal(42, Action.SELL), FACTS)
    assert refused == Refusal(Code.UNSUPPORTED_ACTION, "action=SELL supported=BUY,CLOSE", 42)


# Rules that are off until they are asked for ---------------------------------------------------

SHORT = "risk.allow_short=true"


def test_with_shorts_allowed_a_sell_is_an_entry() -> None:
    assert judged(SHORT, action=Action.SELL) is None
    assert judged(SHORT, action=Action.SELL, held=75) == (
        Code.POSITION_OPEN,
        "instrument=0 held=75",
    )
    assert judged(SHORT, action=9) == (
        Code.UNSUPPORTED_ACTION,
        "action=9 supported=BUY,SELL,CLOSE",
    )


@pytest.mark.parametrize("product", ["DELIVERY", "CARRYFORWARD"])
def test_shares_can_be_sold_short_within_a_day_only(product: str) -> None:
    settings = instrument_of(guide(SHORT), exchange="NSE", product_type=product)
    assert refusal(Limits(settings), signal(1, Action.BUY), FACTS) is None
    assert refusal(Limits(settings), signal(1, Action.SELL), FACTS) == Refusal(
        Code.UNSUPPORTED_ACTION, f"action=SELL exchange=NSE product={product}", 1
    )
    intraday = instrument_of(guide(SHORT), exchange="NSE", product_type="INTRADAY")
    assert refusal(Limits(intraday), signal(1, Action.SELL), FACTS) is None


def test_a_short_entry_needs_the_cash_of_a_long_one_and_pays_the_charges_of_a_sale() -> None:
    needed = Decimal("15005.841") + Decimal(15_000) * Decimal("0.00025")  # STT
    assert judged(SHORT, action=Action.SELL, cash=needed) is None
    assert judged(SHORT, action=Action.SELL, cash=needed - Decimal("0.000001")) == (
        Code.INSUFFICIENT_CASH,
        "cash=15009.590999 needed=15009.591 lots=1 lot_size=75 price=200",
    )


@pytest.mark.parametrize("reason", [Reason.DAILY_LOSS, Reason.MAX_DRAWDOWN])
def test_a_loss_limit_that_is_reached_has_its_own_code_before_the_halt_it_makes(
    reason: Reason,
) -> None:
    facts: dict[str, Any] = {
        "breach": Breach(reason, "loss=5 max=4"),
        "mandate": Mandate(TradingState.HALTED, reason),
    }
    assert judged(**facts) == (Code(reason.upper()), "loss=5 max=4")
    assert judged(**facts, action=Action.CLOSE, held=75, closable=75) is None


def test_a_tick_that_is_too_old_is_a_stale_feed() -> None:
    age = "risk.tick_age_ms_max=500"
    late: dict[str, Any] = {"now_ns": 900_000_000, "row": {"ts_recv_ns": 900_000_000}}
    assert judged(age, price_ns=400_000_000, **late) is None
    assert judged(age, price_ns=399_000_000, **late) == (
        Code.STALE_FEED,
        "instrument=0 age_ms=501.000 max_ms=500",
    )


@pytest.mark.parametrize("price", ["198.00", "202.00"])
def test_a_price_within_the_collar_passes_and_one_tick_beyond_it_does_not(price: str) -> None:
    collar = "risk.collar_points=2.0"
    assert judged(collar, row={"price_e4": e4_of(price)}) is None
    beyond = e4_of(price) + (500 if price > "200" else -500)
    code, context = judged(collar, row={"price_e4": beyond}) or (None, "")
    assert code is Code.PRICE_OUTSIDE_COLLAR
    assert context.endswith(" last_price=200 collar=2")


def test_entries_pause_until_the_cool_down_is_over() -> None:
    assert judged(cool_until_ns=at("10:00:00")) is None
    assert judged(cool_until_ns=at("10:00:01")) == (
        Code.COOLING_DOWN,
        "time=10:00:00 until=10:00:01",
    )


def test_positions_held_at_once_are_counted() -> None:
    most = "risk.open_positions_max=2"
    assert judged(most, open_positions=1) is None
    assert judged(most, open_positions=2) == (Code.MAX_POSITIONS, "open=2 max=2")


def test_a_position_has_no_more_lots_than_its_largest_value() -> None:
    def lots(most: str) -> int:
        return Limits(guide(f"risk.position_value_max={most}")).size(signal(1), FACTS).lots

    assert [lots(most) for most in ("44999.95", "45000.0", "1000000.0")] == [2, 3, 6]
    assert judged("risk.position_value_max=15000.0") is None
    assert judged("risk.position_value_max=14999.95") == (
        Code.POSITION_EXCEEDS_MAX,
        "lot=15000 max=14999.95",
    )


def test_an_order_has_a_largest_value() -> None:
    assert judged("risk.order_value_max=90000.0") is None
    assert judged("risk.order_value_max=89999.95") == (
        Code.NOTIONAL_EXCEEDS_MAX,
        "value=90000 max=89999.95",
    )


def test_a_large_entry_is_sliced_and_the_largest_value_is_that_of_a_slice() -> None:
    sliced = instrument_of(guide("risk.order_value_max=30000.0"), freeze_quantity=199)
    assert Limits(sliced).size(signal(1), FACTS).pieces == [150, 150, 150]
    assert refusal(Limits(sliced), signal(1), FACTS) is None


def test_ten_slices_pass_and_eleven_are_refused() -> None:
    limits = Limits(instrument_of(guide(), freeze_quantity=75))
    rich = FACTS._replace(cash=Decimal(164_000))
    assert len(limits.size(signal(1), rich).pieces) == 10
    assert refusal(limits, signal(1), rich) is None
    assert refusal(limits, signal(1), FACTS._replace(cash=Decimal(166_000))) == Refusal(
        Code.QTY_EXCEEDS_FREEZE, "quantity=825 freeze=75 slices=11 max=10", 1
    )


@pytest.mark.parametrize(
    ("window", "sent"),
    [("second", Sent(7, 7, 7)), ("minute", Sent(0, 7, 7)), ("day", Sent(0, 0, 7))],
)
def test_entries_leave_the_reserved_orders_of_each_window_to_the_exits(
    window: str, sent: Sent
) -> None:
    limits = (f"risk.orders_per_{window}_max=10", "risk.orders_reserved_for_exits=2")
    assert judged(*limits, sent=sent) is None
    one_more = Sent(*(count + 1 for count in sent))
    assert judged(*limits, sent=one_more) == (
        Code.RATE_LIMIT_EXCEEDED,
        f"window={window} sent=8 more=1 max=10 reserved=2",
    )
    assert judged(*limits, sent=one_more, action=Action.CLOSE, held=75, closable=75) is None


def test_every_slice_counts_as_an_order() -> None:
    settings = instrument_of(guide("risk.orders_per_second_max=3"), freeze_quantity=150)
    assert refusal(Limits(settings), signal(1), FACTS) is None
    late = FACTS._replace(sent=Sent(1, 1, 1))
    assert refusal(Limits(settings), signal(1), late) == Refusal(
        Code.RATE_LIMIT_EXCEEDED, "window=second sent=1 more=3 max=3 reserved=0", 1
    )


def test_a_limit_order_needs_the_cash_of_its_limit() -> None:
    limit = ('risk.order_type="limit"', "risk.collar_points=2.0")
    assert judged(*limit, row={"price_e4": e4_of(200)}, cash=Decimal(15_100)) == (
        Code.INSUFFICIENT_CASH,
        "cash=15100 needed=15155.89941 lots=0 lot_size=75 price=202",
    )
