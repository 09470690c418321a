"""For tests of your own strategy: ticks, a clock, and a run without processes.

def test_buys_a_new_high() -> None:
    strategy = Breakout(make_strategy_settings())
    signals = run_strategy(strategy, make_ticks([100.0, 99.0, 101.0]))
    assert [(s.tick_seq, s.action) for s in signals] == [(3, Action.BUY)]
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError, explain
from pipeline.records import INSTRUMENTS_MAX, IST, PRICE_SCALE, TICK, Action, positions_dtype
from pipeline.settings import Instrument, StrategySettings
from pipeline.strategy.contract import Strategy
from pipeline.strategy.session import StrategySession

PRICE_MAX = 1e9  # ₹; far above any, far below what a TICK can hold
QUANTITY_MAX = 2**32 - 1  # what TICK["quantity"] can hold

_EPOCH = datetime(1970, 1, 1, 5, 30, tzinfo=IST)


class SentSignal(NamedTuple):
    """A signal as it would have gone to risk; prices in ₹, None where the strategy gave none."""

    tick_seq: int
    symbol: str
    action: Action
    reason: str
    price: float
    confidence: float
    stop_loss: float | None
    take_profit: float | None


class FakeClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns

    def advance(self, ns: int) -> None:
        """Move it ``ns`` nanoseconds on. Raises UserError below 0: no clock of ours goes back."""
        _require(ns >= 0, f"advance({ns})", "a clock never goes back", "give 0 or more ns")
        self._now_ns += ns

    def __repr__(self) -> str:
        return f"<FakeClock {self._now_ns} ns>"


def make_instrument(**changes: Any) -> Instrument:
    """Return an NFO option with ``changes``. Raises pydantic.ValidationError as settings do."""
    fields: dict[str, Any] = {
        "symbol": "TEST-OPTION",
        "exchange": "NFO",
        "token": "1",
        "product_type": "INTRADAY",
        "lot_size": 75,
        "tick_size": "0.05",
    }
    return Instrument(**(fields | changes))


def make_strategy_settings(**changes: Any) -> StrategySettings:
    """Return the guide's [strategy] section with ``changes``; your own go in ``parameters={…}``.

    Raises pydantic.ValidationError as settings do.
    """
    fields: dict[str, Any] = {
        "use_ema_crossover": True,
        "fast_ema": 18,
        "slow_ema": 42,
        "consecutive_green_bars": 3,
        "Enable_control_base_sl_green_ticks": True,
        "control_base_sl_green_ticks": 4,
        "min_warmup_ticks": 50,
        "noise_filter_enabled": False,
    }
    return StrategySettings(**(fields | changes))


def make_ticks(
    prices: Iterable[float | Decimal],
    *,
    start: str = "2026-01-05 09:15:00",
    step_ms: int = 1000,
    quantity: int = 75,
    instrument: int = 0,
) -> NDArray[np.void]:
    """Return one TICK row for each of ``prices`` (₹, rounded to 0.0001), shape ``(n,)``.

    ``start`` is the exchange time of the first, IST unless it says otherwise; the next follow
    every ``step_ms``. ``seq`` counts from 1, ``ts_recv_ns`` from ``step_ms``, ``day_volume`` adds
    up ``quantity``. Raises UserError for a value that no feed could deliver.
    """
    for name, value, most in (
        ("step_ms", step_ms, 86_400_000),
        ("quantity", quantity, QUANTITY_MAX),
        ("instrument", instrument, INSTRUMENTS_MAX - 1),
    ):
        _require(
            0 <= value <= most, f"{name} = {value}", f"{name} is 0 to {most}", "correct the call"
        )
    prices_e4 = [_price_e4(price, at) for at, price in enumerate(prices)]
    numbers = np.arange(1, len(prices_e4) + 1, dtype=np.int64)
    ticks = np.zeros(len(prices_e4), TICK)
    ticks["seq"] = numbers
    ticks["ts_event_ns"] = _epoch_ns(start) + (numbers - 1) * step_ms * 1_000_000
    ticks["ts_recv_ns"] = numbers * step_ms * 1_000_000
    ticks["price_e4"] = prices_e4
    ticks["instrument"] = instrument
    ticks["quantity"] = quantity
    ticks["day_volume"] = numbers * quantity
    return ticks


def run_strategy(
    strategy: Strategy,
    ticks: NDArray[np.void],
    instruments: tuple[Instrument, ...] | None = None,
) -> list[SentSignal]:
    """Feed ``ticks`` one by one to ``strategy`` and return every signal it sent.

    The book stays flat: each signal is answered before the next tick as if risk had refused it,
    so what comes back is what the strategy wants, whatever money and hours allow. Without
    ``instruments`` there is one, from ``make_instrument()``.

    Raises StrategyFailed at the first failure; its cause is the strategy's own exception.
    """
    known = (make_instrument(),) if instruments is None else instruments
    highest = int(ticks["instrument"].max(initial=0))
    _require(
        highest < len(known),
        f"a tick of instrument {highest}, with {len(known)} instrument(s)",
        "every tick's instrument is an index into instruments",
        "pass instruments=(make_instrument(…), …)",
    )
    session = StrategySession(strategy, known, failures_max=1)
    positions = np.zeros(1, positions_dtype(len(known)))
    sent: list[SentSignal] = []
    for at in range(len(ticks)):
        rows = session.on_ticks(ticks[at : at + 1])
        if session.failed is not None:
            raise session.failed
        sent += [_sent(row, known) for row in rows]
        positions["as_of_seq"] = ticks["seq"][at]
        positions["as_of_signal"] = session.signals
        session.on_positions(positions[0])
    return sent


def _sent(row: np.void, instruments: tuple[Instrument, ...]) -> SentSignal:
    return SentSignal(
        tick_seq=int(row["tick_seq"]),
        symbol=instruments[row["instrument"]].symbol,
        action=Action(int(row["action"])),
        reason=row["reason"].decode(),
        price=int(row["price_e4"]) / PRICE_SCALE,
        confidence=float(row["confidence"]),
        stop_loss=int(row["stop_loss_e4"]) / PRICE_SCALE or None,
        take_profit=int(row["take_profit_e4"]) / PRICE_SCALE or None,
    )


def _price_e4(price: float | Decimal, at: int) -> int:
    _require(
        math.isfinite(price) and 0 < price <= PRICE_MAX,
        f"prices[{at}] = {price}",
        f"a price is above 0 and at most {PRICE_MAX:.0f} ₹",
        "give prices in ₹",
    )
    return round(price * PRICE_SCALE)


def _epoch_ns(start: str) -> int:
    try:
        moment = datetime.fromisoformat(start)
    except ValueError:
        raise UserError(
            explain(
                f"start = {start!r}",
                rule="start is a date and a time in ISO form",
                cure='for example "2026-01-05 09:15:00"',
            )
        ) from None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=IST)
    return (aware - _EPOCH) // timedelta(microseconds=1) * 1_000


def _require(holds: bool, what: str, rule: str, cure: str) -> None:
    if not holds:
        raise UserError(explain(what, rule=rule, cure=cure))
