"""Each refusal with its code and its context, and what passes just before it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from pipeline.records import Action
from pipeline.risk.files import read_rulebook
from pipeline.risk.limits import Code, Facts, Limits, Refusal
from pipeline.risk.mandate import Mandate, TradingState
from pipeline.risk.numbering import Sent
from tests.money import CALENDAR, HOURS, at, e4_of, guide, signal, two_instruments

FACTS = Facts(
    now_ns=0,
    event_ns=at("10:00:00"),
    price_e4=e4_of(200),
    price_ns=0,
    last_signal=0,
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


def judged(
    *overrides: str,
    action: Action | int = Action.BUY,
    row: dict[str, Any] | None = None,
    **facts: Any,
) -> tuple[Code, str] | None:
    """Return code and context for signal 1 with ``facts`` changed; None when it passes."""
    names = Facts.__dataclass_fields__
    values = {name: getattr(FACTS, name) for name in names} | facts
    refused = Limits(guide(*overrides)).refusal(
        signal(1, **({"action": action} | (row or {}))), Facts(**values)
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
    facts = replace(FACTS, event_ns=at("10:00:00", day))
    assert limits.refusal(signal(1), facts) == Refusal(
        Code.MARKET_CLOSED, f"date={day} exchange=NFO reason={reason!r}", 1
    )
    held = replace(facts, held=75, closable=75)
    assert limits.refusal(signal(1, Action.CLOSE), held) is None


def test_with_the_calendar_an_entry_is_within_the_hours_of_its_day() -> None:
    limits = Limits(guide(*CALENDAR), read_rulebook())
    open_day = replace(FACTS, event_ns=at("15:19:59", "2026-11-23"))
    assert limits.refusal(signal(1), open_day) is None
    late = replace(FACTS, event_ns=at("15:20:00", "2026-11-23"))
    assert limits.refusal(signal(1), late) == Refusal(
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
    facts = replace(FACTS, event_ns=at("10:00:00", day), cash=Decimal(needed))
    assert limits.refusal(signal(1, instrument=instrument), facts) is None
    refused = limits.refusal(
        signal(1, instrument=instrument), replace(facts, cash=facts.cash - Decimal("0.01"))
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
    facts = replace(FACTS, cash=Decimal(cash))
    assert Limits(guide()).size(signal(1), facts).lots == lots


def test_a_refusal_says_which_signal() -> None:
    limits = Limits(guide())
    refused = limits.refusal(signal(42, Action.SELL), FACTS)
    assert refused == Refusal(Code.UNSUPPORTED_ACTION, "action=SELL supported=BUY,CLOSE", 42)
