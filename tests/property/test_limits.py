"""Floods of ticks, signals and fills: no limit is ever passed, and the money always adds up.

A second book, kept by hand from what was sent and filled, says at every order what the limits
allow. Fills come late, in parts, at the price of the moment.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.brokers.contract import Order, OrderState, OrderUpdate, Side
from pipeline.records import Action
from pipeline.risk.charges import charges, rupees
from pipeline.settings import Settings
from tests.money import Trading, at, guide, rates_of, signal, tick

START = Decimal(100_000)
LOTS = (75, 50, 20)
TICK_E4 = 500
SECOND_NS = 1_000_000_000
DAY_BEGINS_NS = at("10:00:00")
AGE_MS = 2_000

OFF = None
limits = st.fixed_dictionaries(
    {
        "allow_short": st.booleans(),
        "order_type": st.sampled_from(["market", "limit"]),
        "collar_points": st.sampled_from([1, 3.02, 10]),
        "open_positions_max": st.sampled_from([OFF, 1, 2]),
        "position_value_max": st.sampled_from([OFF, 9_000, 30_000]),
        "order_value_max": st.sampled_from([OFF, 12_000, 30_000]),
        "orders_per_second_max": st.sampled_from([OFF, 3, 5]),
        "orders_per_minute_max": st.sampled_from([OFF, 4, 12]),
        "orders_per_day_max": st.sampled_from([OFF, 6, 20]),
        "orders_reserved_for_exits": st.sampled_from([0, 2]),
        "max_positions_per_day": st.sampled_from([3, 100]),
        "cool_down_stops": st.sampled_from([OFF, 1, 2]),
        "tick_age_ms_max": st.sampled_from([OFF, AGE_MS]),
        "daily_loss_max": st.sampled_from([OFF, 300, 2_000]),
        "drawdown_max": st.sampled_from([OFF, 250, 1_500]),
        "time_limit_minutes": st.sampled_from([OFF, 1]),
        "base_sl_points": st.sampled_from([2, 15]),
    }
)
NOT_LIMITED = (
    *("open_positions_max", "order_value_max", "tick_age_ms_max", "time_limit_minutes"),
    *(f"orders_per_{window}_max" for window in ("second", "minute", "day")),
)
losses = st.fixed_dictionaries(
    {name: st.just(OFF) for name in NOT_LIMITED}
    | {
        "allow_short": st.just(True),
        "order_type": st.just("market"),
        "collar_points": st.just(100),
        "position_value_max": st.sampled_from([9_000, 30_000]),
        "orders_reserved_for_exits": st.just(0),
        "max_positions_per_day": st.just(100),
        "cool_down_stops": st.sampled_from([OFF, 1, 2]),
        "daily_loss_max": st.sampled_from([OFF, 150, 500]),
        "drawdown_max": st.sampled_from([OFF, 100, 400]),
        "base_sl_points": st.sampled_from([1, 15]),
    }
)
freezes = st.tuples(*(st.sampled_from([None, lot, 3 * lot + 7]) for lot in LOTS))
seeds = st.integers(0, 2**32)  # a flood that hypothesis draws step by step is too short to flood


JUMPS = (-60, -9, -1, 0, 0, 1, 9, 60)  # ticks
STEPS = (-6, -5, -3, -1, 1, 2, 4, 5)


def flood_of(seed: int, moves: Sequence[int] = JUMPS) -> Iterator[tuple[str, Sequence[Any]]]:
    """Give steps of a run: what to call, and with what."""
    chance = random.Random(seed)
    pick = chance.choice
    for instrument in range(3):
        yield "tick", (instrument, 0, 1)
    for _ in range(200):
        kind = chance.choices(("tick", "signal", "fill"), (5, 3, 4))[0]
        if kind == "tick":
            passed = pick([0, 1, 400_000_000, SECOND_NS, 20 * SECOND_NS])
            yield kind, (pick(range(3)), pick(moves), passed)
        elif kind == "signal":
            action = pick([Action.BUY, Action.BUY, Action.SELL, Action.SELL, Action.CLOSE])
            yield kind, (pick(range(3)), action, pick([0, 0, 0, 21, -70, 500]))
        else:
            yield kind, (pick(range(9)), pick([0, 0, 0, 1, 7, 60]))


def to_and_fro(seed: int) -> Iterator[tuple[str, Sequence[Any]]]:
    """Give the steps of three positions whose prices come back to where they were."""
    chance = random.Random(seed)
    away = [0, 0, 0]  # ticks, from the entry
    for instrument in range(3):
        yield "tick", (instrument, 0, 1)
        yield "signal", (instrument, chance.choice([Action.BUY, Action.SELL]), 0)
        yield "fill", (0, 0)
    for _ in range(150):
        instrument = chance.randrange(3)
        moved = chance.randint(-9, 9) - away[instrument]
        away[instrument] += moved
        yield "tick", (instrument, moved, SECOND_NS)


def configured(chosen: dict[str, Any], freeze: tuple[int | None, ...]) -> Settings:
    overrides = [f"risk.{name}={text(value)}" for name, value in chosen.items() if value is not OFF]
    if chosen["cool_down_stops"] is not OFF:
        overrides.append("risk.cool_down_minutes=1")
    base = guide(*overrides)
    first = base.instruments[0]
    rows = tuple(
        first.model_copy(
            update={
                "symbol": f"I{at}",
                "token": str(at + 1),
                "lot_size": lot,
                "freeze_quantity": freeze[at],
            }
        )
        for at, lot in enumerate(LOTS)
    )
    return base.model_copy(update={"instruments": rows})


def text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


@dataclass
class Watchdog:
    """The second book. What it says follows from orders and fills alone."""

    config: Settings
    now_ns: int = DAY_BEGINS_NS
    last: list[int] = field(default_factory=lambda: [0] * 3)
    last_ns: list[int] = field(default_factory=lambda: [0] * 3)
    held: list[int] = field(default_factory=lambda: [0] * 3)  # long > 0
    cash: Decimal = START
    times: list[int] = field(default_factory=list)
    waiting: list[list[Any]] = field(default_factory=list)  # order, filled, turnover_e4
    entries: set[int] = field(default_factory=set)
    stops_in_a_row: int = 0
    cool_until_ns: int = 0
    peak: Decimal = START
    breached: bool = False

    def sees(self) -> None:
        """Take what a look at equity would find."""
        risk = self.config.risk
        equity = self.cash + rupees(sum(q * p for q, p in zip(self.held, self.last, strict=True)))
        self.peak = max(self.peak, equity)
        daily = risk.daily_loss_max is not None and START - equity >= risk.daily_loss_max
        fall = risk.drawdown_max is not None and self.peak - equity >= risk.drawdown_max
        self.breached |= daily or fall

    def on_order(self, order: Order, price_e4: int, halted: bool) -> None:
        self.times.append(self.now_ns)
        row = self.config.instruments[order.instrument]
        assert order.price_e4 == self.last[order.instrument]
        assert 0 < order.quantity <= (row.freeze_quantity or order.quantity)
        if order.limit_e4:
            self._limit_is_marketable(order)
        if "X" in order.order_id:
            self._closes_no_more_than_is_held(order)
        else:
            self._entry_is_allowed(order, row.lot_size, price_e4, halted)
        self.waiting.append([order, 0, 0])

    def _limit_is_marketable(self, order: Order) -> None:
        worse_e4 = order.limit_e4 - order.price_e4
        worse_e4 = worse_e4 if order.side is Side.BUY else -worse_e4
        collar_e4 = int(self.config.risk.collar_points * 10_000)  # type: ignore[operator]
        assert order.limit_e4 % TICK_E4 == 0
        assert order.limit_e4 == TICK_E4 or collar_e4 <= worse_e4 < collar_e4 + TICK_E4

    def _closes_no_more_than_is_held(self, order: Order) -> None:
        at = order.instrument
        leaving = sum(o.quantity - filled for o, filled, _ in self._open(at) if "X" in o.order_id)
        assert leaving + order.quantity <= abs(self.held[at])
        assert order.side is (Side.SELL if self.held[at] > 0 else Side.BUY)

    def _entry_is_allowed(self, order: Order, lot: int, signal_e4: int, halted: bool) -> None:
        risk, at = self.config.risk, order.instrument
        first = order.position_id not in self.entries
        assert not halted
        assert not self.breached
        assert order.side is Side.BUY or risk.allow_short
        assert order.quantity % lot == 0
        assert self.now_ns >= self.cool_until_ns
        assert abs(signal_e4 - self.last[at]) <= int(risk.collar_points * 10_000)  # type: ignore[operator]
        if risk.tick_age_ms_max is not None:
            assert self.now_ns - self.last_ns[at] <= AGE_MS * 1_000_000
        worst_e4 = max(order.price_e4, order.limit_e4)
        value = rupees(order.quantity * worst_e4)
        assert risk.order_value_max is None or value <= risk.order_value_max
        mine = [o for o, _, _ in self.waiting if o.position_id == order.position_id]
        assert len(mine) < 10
        together = order.quantity + sum(o.quantity for o in mine)
        most = risk.position_value_max
        assert most is None or rupees(together * worst_e4) <= most
        if first:
            busy = {i for i in range(3) if self.held[i] or any(self._open(i))}
            assert at not in busy, "one position an instrument"
            assert risk.open_positions_max is None or len(busy) < risk.open_positions_max
            self.entries.add(order.position_id)
            assert len(self.entries) <= risk.max_positions_per_day
        for span_ns, allowed in (
            (SECOND_NS, risk.orders_per_second_max),
            (60 * SECOND_NS, risk.orders_per_minute_max),
            (86_400 * SECOND_NS, risk.orders_per_day_max),
        ):
            sent = sum(moment >= self.now_ns - span_ns for moment in self.times)
            assert allowed is None or sent <= allowed - risk.orders_reserved_for_exits

    def _open(self, instrument: int) -> list[list[Any]]:
        return [w for w in self.waiting if w[0].instrument == instrument]

    def fill(self, which: int, more: int) -> OrderUpdate:
        """Fill one of the waiting orders, in full (0) or in part, at the last price."""
        waiting = self.waiting[which % len(self.waiting)]
        order, filled, _ = waiting
        shares = min(more or order.quantity, order.quantity - filled)
        price_e4, rates = self.last[order.instrument], rates_of(self.config)
        waiting[1] += shares
        waiting[2] += shares * price_e4
        sign = 1 if order.side is Side.BUY else -1
        turnover = rupees(shares * price_e4)
        self.cash -= sign * turnover + charges(turnover, order.side, rates)
        was = self.held[order.instrument]
        self.held[order.instrument] = was + sign * shares
        done = waiting[1] == order.quantity
        if done:
            self.waiting.remove(waiting)
        if was and not self.held[order.instrument]:
            self._closed(order.reason)
        return OrderUpdate(
            order_id=order.order_id,
            state=OrderState.FILLED if done else OrderState.PARTIALLY_FILLED,
            filled=waiting[1],
            turnover_e4=waiting[2],
            ts_event_ns=self.now_ns,
        )

    def _closed(self, reason: str) -> None:
        self.stops_in_a_row = self.stops_in_a_row + 1 if reason == "Stop Loss" else 0
        if self.stops_in_a_row == self.config.risk.cool_down_stops:
            self.stops_in_a_row, self.cool_until_ns = 0, self.now_ns + 60 * SECOND_NS


class Flood:
    """A desk and its watchdog, step by step."""

    def __init__(self, config: Settings) -> None:
        self.trading = Trading(config, silent=True)
        self.dog = Watchdog(config)
        self._seen = self._seq = self._signals = 0

    def tick(self, instrument: int, moved: int, passed_ns: int) -> None:
        dog = self.dog
        before = dog.last[instrument] or 100 * 10_000
        self._seq += 1
        dog.now_ns += passed_ns
        dog.last[instrument] = max(TICK_E4, before + moved * TICK_E4)
        dog.last_ns[instrument] = dog.now_ns
        if dog.held[instrument]:
            dog.sees()
        price_e4, now_ns = dog.last[instrument], dog.now_ns
        more = {"price_e4": price_e4, "ts_event_ns": now_ns, "ts_recv_ns": now_ns}
        row = tick(self._seq, 0, instrument=instrument, **more)
        self.trading.desk.on_tick(row, now_ns)
        self._look_at_orders(0)

    def signal(self, instrument: int, action: Action, away: int) -> None:
        dog = self.dog
        self._signals += 1
        dog.sees()
        price_e4 = max(1, dog.last[instrument] + away * TICK_E4)
        more = {"ts_event_ns": dog.now_ns, "ts_recv_ns": dog.now_ns, "price_e4": price_e4}
        halted = self.trading.session.mandate.is_halted
        sent = signal(self._signals, action, tick_seq=0, instrument=instrument, **more)
        self.trading.desk.on_signal(sent, dog.now_ns)
        self._look_at_orders(price_e4, halted=halted)

    def fill(self, which: int, more: int) -> None:
        if self.dog.waiting:
            self.trading.gateway.tell(self.dog.fill(which, more))
            self.trading.desk.hear()

    def _look_at_orders(self, price_e4: int, *, halted: bool = False) -> None:
        sent = self.trading.gateway.orders
        for order in sent[self._seen :]:
            self.dog.on_order(order, price_e4, halted)
        self._seen = len(sent)

    def check(self) -> None:
        session, dog = self.trading.session, self.dog
        shares = [session.book.position(at) for at in range(3)]
        assert [p.quantity if p else 0 for p in shares] == dog.held
        assert session.book.cash == dog.cash
        assert session.mandate.is_halted == dog.breached
        if session.is_flat:
            nets = sum((trade.net_pnl for trade in self.trading.ledger.trades()), Decimal(0))
            assert session.book.cash == session.book.free_cash == START + nets


@settings(max_examples=50)
@given(limits, freezes, seeds)
def test_no_flood_of_ticks_signals_and_fills_gets_through_a_limit(
    chosen: dict[str, Any], freeze: tuple[int | None, ...], seed: int
) -> None:
    run = Flood(configured(chosen, freeze))
    for kind, values in flood_of(seed):
        getattr(run, kind)(*values)
        run.check()


@settings(max_examples=50)
@given(losses, seeds)
def test_a_loss_limit_acts_on_the_first_tick_that_reaches_it_and_on_no_other(
    chosen: dict[str, Any], seed: int
) -> None:
    for flood in (flood_of(seed, STEPS), to_and_fro(seed)):
        run = Flood(configured(chosen, (None, None, None)))
        for kind, values in flood:
            getattr(run, kind)(*values)
            run.check()
