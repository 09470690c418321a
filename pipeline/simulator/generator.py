"""A made-up day of option ticks. Pure, and the same for a seed on every machine.

All arithmetic is on integers and all randomness is raw PCG64 output, whose stream numpy
guarantees; its distributions may change between versions, so none is used. The price walks in
1/1024 of a 0.05 ₹ step:

    walk   = Σ noise × volatility × scale + trend        each constant over a stretch of ticks
    price  = first + walk − half the mean of the last 4096 values of walk      (pulls back)
    a third of the ticks repeat the price before; about one in 2 000 jumps

The share of unchanged ticks and the size of a step follow a recorded NIFTY option day (37 %
unchanged; standard deviation of a change 0.57 ₹ at 235 to 400 ₹).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date as Date
from datetime import datetime, time
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.recorded.files import running_volume
from pipeline.errors import UsageError, explain
from pipeline.records import INSTRUMENTS_MAX, IST, TICK
from pipeline.settings import e4

STEP_E4 = 500  # 0.05 ₹
TICKS_MAX = 10_000_000  # products of the integers below stay within 64 bits

_UNIT_BITS = 10  # the walk counts 1/1024 of a step
_STEPS_PER_SCALE = 600  # a step's noise grows with the price
_TREND_UNIT = 25
_PULL_TICKS = 4_096
_VOLATILITY = (2, 3, 4, 4, 5, 6, 9, 14)
_TREND = (-3, -2, -1, 0, 0, 1, 2, 3)
_PAUSE = (0, 1, 8, 8, 8, 8, 8, 8, 8, 8, 12, 12, 16, 20, 30, 300)  # 0: a burst within 1 ms
_LOTS = (1,) * 36 + (2,) * 12 + (3,) * 6 + (4,) * 3 + (6, 8, 10, 14, 20, 24, 27)


def generate_day(
    *,
    seed: int,
    date: Date,
    instruments: int = 1,
    ticks_per_instrument: int = 25_000,
    start: str = "09:15",
    end: str = "15:30",
    first_price: Decimal = Decimal(250),
    lot_size: int = 65,
) -> NDArray[np.void]:
    """Return the TICK rows of one day, ordered by time; seq and ts_recv_ns are 0.

    Prices are multiples of 0.05 ₹, times whole milliseconds from ``start`` to ``end`` (IST),
    quantities multiples of ``lot_size``. Raises UsageError for what cannot be generated.
    """
    start_ms, end_ms = _epoch_ms(date, start), _epoch_ms(date, end)
    first_steps, rest_e4 = divmod(e4(first_price), STEP_E4)
    _refuse_unless(start_ms < end_ms, f"start {start} is not before end {end}")
    _refuse_unless(rest_e4 == 0 < first_steps, f"first price {first_price} is not a step of 0.05")
    _refuse_unless(seed >= 0, f"seed {seed} is negative")
    _refuse_unless(lot_size > 0, f"lot size {lot_size} is not above 0")
    _refuse_unless(1 <= instruments <= INSTRUMENTS_MAX, f"{instruments} instruments")
    total = instruments * ticks_per_instrument
    _refuse_unless(instruments <= total <= TICKS_MAX, f"{total} ticks, of at most {TICKS_MAX}")
    ticks = np.zeros(total, TICK)
    for instrument, rows in enumerate(np.split(ticks, instruments)):
        bits = _Bits(seed, instrument)
        times_ms = start_ms + _offsets(bits, len(rows), end_ms - start_ms)
        rows["ts_event_ns"] = times_ms * 1_000_000
        rows["price_e4"] = _steps(bits, len(rows), first_steps) * STEP_E4
        rows["quantity"] = bits.of(_LOTS, len(rows)) * lot_size
        rows["instrument"] = instrument
    ticks = ticks[np.argsort(ticks["ts_event_ns"], kind="stable")]
    ticks["day_volume"] = running_volume(ticks["instrument"], ticks["quantity"])
    return ticks


class _Bits:
    """Integers from the raw stream of one instrument."""

    def __init__(self, seed: int, instrument: int) -> None:
        self._raw = np.random.PCG64(np.random.SeedSequence([seed, instrument])).random_raw

    def below(self, bound: int, count: int) -> NDArray[np.int64]:
        """Return ``count`` integers from 0 to ``bound`` − 1; ``bound`` is at most 2³²."""
        high = np.asarray(self._raw(count), np.uint64) >> np.uint64(32)
        return ((high * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)

    def of(self, table: Sequence[int], count: int) -> NDArray[np.int64]:
        """Return ``count`` entries of ``table``, each as likely."""
        entries: NDArray[np.int64] = np.array(table, np.int64)[self.below(len(table), count)]
        return entries

    def bell(self, count: int) -> NDArray[np.int64]:
        """Return integers near normal: mean 0, standard deviation 209 (the sum of 8 bytes)."""
        octets = np.asarray(self._raw(count), np.uint64).view(np.uint8).reshape(count, 8)
        sums: NDArray[np.int64] = octets.sum(axis=1, dtype=np.int64)
        return sums - 8 * 255 // 2

    def stretches(
        self, table: Sequence[int], shortest: int, longest: int, count: int
    ) -> NDArray[np.int64]:
        """Return entries of ``table`` that each stay for ``shortest`` to ``longest`` rows."""
        pieces = count // shortest + 1
        lengths = shortest + self.below(longest - shortest + 1, pieces)
        return np.repeat(self.of(table, pieces), lengths)[:count]


def _offsets(bits: _Bits, count: int, span_ms: int) -> NDArray[np.int64]:
    """Return milliseconds from 0 to ``span_ms``, never going back."""
    pauses = bits.below(256, count) * bits.stretches(_PAUSE, 5, 80, count)
    pauses[0] = 0
    elapsed = np.cumsum(pauses)
    return elapsed * span_ms // max(1, int(elapsed[-1]))


def _steps(bits: _Bits, count: int, first_steps: int) -> NDArray[np.int64]:
    """Return prices as counts of 0.05 ₹, at least 1."""
    scale = max(1, first_steps // _STEPS_PER_SCALE)
    noise = bits.bell(count) * bits.stretches(_VOLATILITY, 100, 800, count)
    jump = np.where(bits.below(2_000, count) == 0, 8, 1)
    trend = bits.stretches(_TREND, 60, 400, count) * _TREND_UNIT
    walk = np.cumsum((noise * jump + trend) * scale)
    steps = first_steps + ((walk - _lagging_mean(walk) // 2) >> _UNIT_BITS)
    bounce = (bits.below(3, count) - 1) * (scale // 2)
    prices = np.abs(steps + bounce - 1) + 1
    return _held(prices, bits.below(100, count) < 36)


def _lagging_mean(walk: NDArray[np.int64]) -> NDArray[np.int64]:
    sums = np.cumsum(walk)
    sums[_PULL_TICKS:] -= sums[:-_PULL_TICKS].copy()
    return sums // _PULL_TICKS


def _held(prices: NDArray[np.int64], unchanged: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return ``prices`` with each unchanged row replaced by the last one that is not."""
    rows = np.arange(len(prices))
    return prices[np.maximum.accumulate(np.where(unchanged, 0, rows))]


def _epoch_ms(date: Date, text: str) -> int:
    try:
        moment = time.fromisoformat(text)
    except ValueError:
        moment = None
    _refuse_unless(moment is not None and moment.tzinfo is None, f"{text!r} is not a time of day")
    assert moment is not None
    return int(datetime.combine(date, moment, IST).timestamp()) * 1_000


def _refuse_unless(holds: bool, what: str) -> None:
    if not holds:
        raise UsageError(
            explain(
                what,
                rule="a generated day has instruments, ticks and a first price of 0.05 ₹ or more, "
                "from an earlier to a later time like 09:15",
                cure="see `tickpipe generate --help`",
            )
        )
