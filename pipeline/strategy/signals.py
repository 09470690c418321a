"""From what a strategy returned to SIGNAL rows, or to a BadSignal that says why not. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any

import numpy as np

from pipeline.errors import BadSignal, explain
from pipeline.records import PRICE_SCALE, REASON_BYTES, Action, SignalRow
from pipeline.strategy.contract import Signal, Tick

PRICE_E4_MAX = (1 << 63) - 1  # what SIGNAL["price_e4"] can hold


def signal_row(wanted: object, tick: Tick) -> SignalRow | None:
    """Return ``wanted`` as a row about ``tick``, ``seq`` and ``ts_signal_ns`` 0; None for HOLD.

    Raises BadSignal for anything that is not a Signal with sound fields.
    """
    if not isinstance(wanted, Signal):
        raise _bad(
            f"the strategy returned {wanted!r}",
            rule="it returns a Signal or None",
            cure='for example return Signal.buy("why")',
        )
    if not isinstance(wanted.action, Action):
        raise _bad(
            f"signal with action {wanted.action!r}",
            rule="an action is Action.BUY, SELL, CLOSE or HOLD",
            cure='write Signal.buy("why"), Signal.sell or Signal.close',
        )
    if wanted.action is Action.HOLD:
        return None
    return SignalRow(
        seq=0,
        tick_seq=tick.seq,
        ts_event_ns=tick.ts_event_ns,
        ts_recv_ns=tick.ts_recv_ns,
        ts_signal_ns=0,
        price_e4=_e4_of("price", wanted.price, absent=tick.price_e4),
        stop_loss_e4=_e4_of("stop_loss", wanted.stop_loss, absent=0),
        take_profit_e4=_e4_of("take_profit", wanted.take_profit, absent=0),
        confidence=_confidence(wanted.confidence),
        instrument=tick.instrument_index,
        action=int(wanted.action),
        reserved=0,
        reason=_reason(wanted.reason),
    )


def signals_of_batch(answer: object, count: int, tick_at: Callable[[int], Tick]) -> list[SignalRow]:
    """Return what ``on_batch`` returned for ``count`` rows as rows, those of HOLD left out.

    ``tick_at`` gives the tick of a row. Raises BadSignal for anything that is not a row number
    with a sound Signal.
    """
    if answer is None:
        return []
    rows = []
    for at, wanted in _pairs(answer):
        if not (isinstance(at, int | np.integer) and 0 <= at < count):
            raise _bad(
                f"on_batch returned a signal about row {at!r} of {count}",
                rule="a signal of on_batch is about a row of its ticks, the first is 0",
                cure="for example the rows of numpy.flatnonzero(…)",
            )
        if (row := signal_row(wanted, tick_at(int(at)))) is not None:
            rows.append(row)
    return rows


def _pairs(answer: object) -> list[tuple[object, object]]:
    rows: list[Any] = list(answer) if isinstance(answer, Iterable) else [answer]
    for pair in rows:
        if not (isinstance(pair, tuple) and len(pair) == 2):
            raise _bad(
                f"on_batch returned {pair!r}",
                rule="it returns pairs of a row of its ticks and a Signal, or None",
                cure='for example return [(0, Signal.buy("why"))]',
            )
    return rows


def _e4_of(name: str, rupees: Any, absent: int) -> int:
    if rupees is None:
        return absent
    if isinstance(rupees, Real) and math.isfinite(rupees):
        price_e4 = round(float(rupees) * PRICE_SCALE)
        if 0 < price_e4 <= PRICE_E4_MAX:
            return price_e4
    raise _bad(
        f"signal with {name} {rupees!r}",
        rule=f"{name} is a number of ₹ above 0, or None",
        cure="compute it only from ticks that were seen, and check for NaN",
    )


def _confidence(confidence: Any) -> float:
    if isinstance(confidence, Real) and 0 <= float(confidence) <= 1:
        return float(confidence)
    raise _bad(
        f"signal with confidence {confidence!r}",
        rule="confidence is a number from 0 to 1",
        cure="leave it out when the strategy has none",
    )


def _reason(reason: Any) -> bytes:
    encoded = reason.encode("utf-8", "replace") if isinstance(reason, str) else None
    if encoded is not None and len(encoded) <= REASON_BYTES:
        return encoded
    size = "" if encoded is None else f" of {len(encoded)} bytes"
    raise _bad(
        f"signal with reason {reason!r}{size}",
        rule=f"a reason is text of at most {REASON_BYTES} bytes in UTF-8",
        cure="shorten it",
    )


def _bad(what: str, *, rule: str, cure: str) -> BadSignal:
    return BadSignal(explain(what, rule=rule, cure=cure))
