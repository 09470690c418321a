"""Ticks handled in batches, of which most are not looked at one by one, are handled the same."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.records import SIGNAL, Action, SignalRow
from pipeline.risk.desk import BATCH_MIN
from pipeline.risk.rows import TickRow
from tests.money import Trading, signal, signal_array, tick, tick_array, two_instruments

NO_SIGNALS = np.zeros(0, SIGNAL)
TICKS = 8 * BATCH_MIN
RULES = (
    (),
    ("risk.daily_loss_max=300", "risk.drawdown_max=200"),
    ("risk.time_limit_minutes=1", "risk.breakeven_gain_points=2", "risk.breakeven_stop_points=1"),
    ("risk.use_trail_stop=true", "risk.trail_activation_points=1", "risk.trail_distance_points=1"),
)
Day = tuple[list[TickRow], list[SignalRow]]


def a_day(luck: Random) -> Day:
    """Two prices that wander, calmly or not, and what a strategy asks for now and then."""
    rows, signals, prices = [], [], [100.0, 50.0]
    step = luck.choice([0.05, 0.25, 2.0])
    for seq in range(1, TICKS + 1):
        instrument = luck.randrange(2)
        prices[instrument] = max(1.0, prices[instrument] + step * luck.randint(-1, 1))
        price = round(prices[instrument], 2)
        row = tick(seq, price, f"10:{seq // 60:02}:{seq % 60:02}", instrument=instrument)
        rows.append(row)
        if luck.random() < 0.012:
            action = luck.choice([Action.BUY, Action.BUY, Action.CLOSE])
            about = {"tick_seq": seq, "instrument": instrument, "price_e4": row[3]}
            signals.append(signal(len(signals) + 1, action, ts_event_ns=row[1], **about))
    return rows, signals


def traded(rules: tuple[str, ...], day: Day, sizes: list[int]) -> list[object]:
    """Return all that came of a day whose ticks were handled so many at a time."""
    rows, signals = day
    trading = Trading(two_instruments(*rules))
    start = 0
    for size in sizes:
        batch = rows[start : start + size]
        due = [each for each in signals if start < each[1] <= start + size]
        now = signal_array(*due) if due else NO_SIGNALS
        trading.desk.on_ticks(tick_array(*batch), now, 0)
        start += size
    assert start >= len(rows)
    session, ledger = trading.session, trading.ledger
    facts = session.as_of_seq, session.judged_seq, session.statistics(), session.halted
    return [ledger.orders(), ledger.trades(), ledger.refusals(), ledger.marks(), facts]


@given(st.integers(0, 2**32), st.sampled_from(RULES))
def test_batches_of_any_size_give_what_single_ticks_give(seed: int, rules: tuple[str, ...]) -> None:
    luck = Random(seed)
    day = a_day(luck)
    sizes = [luck.choice([1, BATCH_MIN, 2 * BATCH_MIN, 3 * BATCH_MIN]) for _ in range(TICKS)]
    assert traded(rules, day, sizes) == traded(rules, day, [1] * TICKS)
