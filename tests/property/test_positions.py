"""Positions, charges and cash against brute force, with fills and prices that nobody chose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeline.brokers.contract import Fill, Order, Side
from pipeline.records import Action
from pipeline.results.trades import Trade
from pipeline.risk.charges import charges
from pipeline.risk.files import read_rulebook
from pipeline.risk.positions import NO_DELAYS, Book
from pipeline.risk.tariffs import tariffs_of
from pipeline.settings import Settings
from tests.money import LOT, Trading, at, book_with, guide, order, signal, tick, two_instruments

START = Decimal(100_000)
MONEY_STEP = Fraction(1, 1_000_000)  # what an exit's part of the entry charges is rounded to

RULEBOOK = read_rulebook()
TEN_NS = at("10:00:00")
DAY_NS = 1_790_000_000_000_000_000  # 2026-09-21

prices_e4 = st.integers(1, 20_000_000)
orders = st.lists(st.tuples(st.integers(1, 500), prices_e4), min_size=1, max_size=4)


Charge = Callable[[Fraction, Side], Fraction]


def guides(settings: Settings) -> Charge:
    """Return the guide's charges, reckoned from the settings by hand."""

    def part(percent: Decimal) -> Fraction:
        return Fraction(percent) / 100

    def charge(turnover: Fraction, side: Side) -> Fraction:
        commission = max(
            Fraction(risk.commission_per_trade), turnover * part(risk.commission_percent)
        )
        exchange = turnover * part(risk.exchange_charges_percent)
        stt = turnover * part(risk.stt_percent) if side is Side.SELL else Fraction(0)
        return commission + exchange + (commission + exchange) * part(risk.gst_percent) + stt

    risk = settings.risk
    return charge


def zerodhas(settings: Settings) -> Charge:
    """Return the charges of the preset for an order as a whole."""
    rates = tariffs_of(settings, RULEBOOK)[0].on(20_717)

    def charge(turnover: Fraction, side: Side) -> Fraction:
        in_rupees = Decimal(turnover.numerator) / Decimal(turnover.denominator)
        return Fraction(charges(in_rupees, side, rates))

    return charge


def as_options(settings: Settings) -> Settings:
    """Return the settings with every instrument stated to be an option."""
    instruments = tuple(i.model_copy(update={"kind": "option"}) for i in settings.instruments)
    return settings.model_copy(update={"instruments": instruments})


# Fills ---------------------------------------------------------------------------------------


@dataclass
class Brute:
    """Adds up every fill by hand."""

    charge: Charge
    bought: Fraction = Fraction(0)
    sold: Fraction = Fraction(0)
    orders: dict[str, tuple[Side, Fraction]] = field(default_factory=dict)

    def take(self, sent: Order, done: Fill) -> None:
        turnover = Fraction(done.turnover_e4, 10_000)
        if sent.side is Side.BUY:
            self.bought += turnover
        else:
            self.sold += turnover
        before = self.orders[sent.order_id][1] if sent.order_id in self.orders else Fraction(0)
        self.orders[sent.order_id] = (sent.side, before + turnover)

    @property
    def charges(self) -> Fraction:
        return sum((self.charge(t, side) for side, t in self.orders.values()), Fraction())

    @property
    def cash(self) -> Fraction:
        return Fraction(START) - self.bought + self.sold - self.charges


def split(data: st.DataObject, quantity: int) -> list[int]:
    """Cut ``quantity`` shares into one to three parts."""
    cuts = data.draw(st.lists(st.integers(1, quantity), max_size=2, unique=True))
    edges = sorted({0, quantity, *cuts})
    return [after - before for before, after in pairwise(edges)]


def send(data: st.DataObject, book: Book, brute: Brute, sent: Order, price_e4: int) -> list[Trade]:
    """Fill an order in parts, each at a price of its own, and return its trades."""
    trades = []
    for part in split(data, sent.quantity):
        near_e4 = max(1, price_e4 + data.draw(st.integers(-500, 500)))
        slippage_e4 = abs(near_e4 - price_e4)
        done = Fill(
            order_id=sent.order_id,
            quantity=part,
            turnover_e4=part * near_e4,
            slippage_e4=part * slippage_e4,
            ts_event_ns=DAY_NS,
        )
        brute.take(sent, done)
        if book.is_exit(sent):
            trades.append(book.leave(sent, done, 1, 30_000_000))
        else:
            book.enter(sent, done, NO_DELAYS)
    return trades


@given(
    st.data(),
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from(Side), st.integers(1, 2_000), prices_e4),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(
        [
            ("risk.commission_per_trade=0.0", guides),
            ("risk.commission_per_trade=20.0", guides),
            ('risk.charges="zerodha"', zerodhas),
        ]
    ),
)
def test_cash_and_trades_add_up_whatever_is_filled(
    data: st.DataObject,
    round_trips: list[tuple[int, Side, int, int]],
    charging: tuple[str, Callable[[Settings], Charge]],
) -> None:
    override, charge_of = charging
    settings = as_options(two_instruments(override))
    book = book_with(settings, START, RULEBOOK)
    brute = Brute(charge_of(settings))
    trades: list[Trade] = []
    for number, (instrument, side, quantity, price_e4) in enumerate(round_trips, start=1):
        entry = order(
            side, quantity, order_id=f"E{number}", instrument=instrument, position_id=number
        )
        send(data, book, brute, entry, price_e4)
        position = book.position(instrument)
        assert position is not None
        assert position.open == quantity
        assert Fraction(book.cash) == brute.cash
        out = Side.SELL if side is Side.BUY else Side.BUY
        mine: list[Trade] = []
        for piece, part in enumerate(split(data, quantity)):
            exit = order(
                out, part, order_id=f"X{number}{piece}", instrument=instrument, position_id=number
            )
            mine += send(data, book, brute, exit, data.draw(prices_e4))
            assert Fraction(book.cash) == brute.cash
        assert sum(trade.entry_charges for trade in mine) == position.charges
        assert sum(trade.quantity for trade in mine) == quantity
        for trade in mine:
            fair = Fraction(position.charges) * trade.quantity / quantity
            assert abs(Fraction(trade.entry_charges) - fair) <= MONEY_STEP
        trades += mine
    assert book.is_flat
    assert book.cash == START + sum(trade.net_pnl for trade in trades)
    assert Fraction(sum(trade.gross_pnl for trade in trades)) == brute.sold - brute.bought
    assert Fraction(sum(trade.charges for trade in trades)) == brute.charges


# Ticks ---------------------------------------------------------------------------------------


@dataclass
class Rules:
    """The rules of exit as they are written, on every tick, in gains: without band or levels."""

    settings: Settings
    entry: int
    sign: int
    lots: int
    left: int = 0
    best: int = 0
    trail: int | None = None
    even: bool = False
    ticks: int = 0
    untouched: list[tuple[int, int, Decimal]] = field(default_factory=list)

    def __post_init__(self) -> None:
        risk = self.settings.risk
        self.left = self.lots
        levels = zip(risk.tp_points, risk.tp_percents, strict=True)
        self.untouched = [
            (number, int(points * 10_000), part)
            for number, (points, part) in enumerate(levels, start=1)
        ]

    def tick(self, price: int) -> list[tuple[str, int]]:
        gain = price - self.entry if self.sign > 0 else self.entry - price
        age_s = self.ticks * TICK_SECONDS
        self.ticks += 1
        self._arm(gain)
        reason = self._reason(gain, age_s)
        return self._close(reason, self.left) if reason else self._targets(gain)

    def _arm(self, gain: int) -> None:
        risk = self.settings.risk
        self.best = max(self.best, gain)
        distance = int(risk.trail_distance_points * 10_000)
        if self.trail is not None:
            self.trail = max(self.trail, self.best - distance)
        elif risk.use_trail_stop and gain >= risk.trail_activation_points * 10_000:
            self.trail = gain - distance
        if risk.breakeven_gain_points is not None:
            self.even |= gain >= risk.breakeven_gain_points * 10_000

    def _reason(self, gain: int, age_s: int) -> str:
        risk = self.settings.risk
        if gain <= -risk.base_sl_points * 10_000:
            return "Stop Loss"
        if self.even and gain <= risk.breakeven_stop_points * 10_000:
            return "Breakeven Stop"
        if self.trail is not None and gain <= self.trail:
            return "Trailing Stop"
        minutes = risk.time_limit_minutes
        return "Time Limit" if minutes is not None and age_s >= minutes * 60 else ""

    def _targets(self, gain: int) -> list[tuple[str, int]]:
        exits: list[tuple[str, int]] = []
        for level in list(self.untouched):
            number, target, part = level
            if gain >= target:
                self.untouched.remove(level)
                last = number == len(self.settings.risk.tp_points)
                wanted = self.left if last else max(1, int(self.lots * part))
                exits += self._close(f"Take Profit {number}", min(wanted, self.left))
        return exits

    def _close(self, reason: str, lots: int) -> list[tuple[str, int]]:
        self.left -= lots
        return [(reason, lots)] if lots else []


TICK_SECONDS = 20
BREAKEVEN = ("risk.breakeven_gain_points=4.0", "risk.breakeven_stop_points=0.5")

steps = st.lists(
    st.integers(-60_000, 70_000) | st.sampled_from([-150_000, -50_000, 50_000, 120_000, 300_000]),
    max_size=60,
)


@given(
    steps,
    st.sampled_from(
        [
            (),
            ("risk.use_trail_stop=false",),
            ("risk.trail_activation_points=0.0",),
            ("risk.trail_activation_points=12.5", "risk.trail_distance_points=30.0"),
            ("risk.tp_points=[]", "risk.tp_percents=[]"),
            ("risk.tp_points=[0.05]", "risk.tp_percents=[0.5]"),
            BREAKEVEN,
            (*BREAKEVEN, "risk.use_trail_stop=false"),
            ("risk.time_limit_minutes=2",),
            (*BREAKEVEN, "risk.time_limit_minutes=1", "risk.trail_activation_points=8.0"),
        ]
    ),
    st.sampled_from([Action.BUY, Action.SELL]),
    st.integers(1, 30),
)
def test_exits_are_those_of_the_rules_and_extremes_those_of_the_ticks(
    moves: Sequence[int], overrides: tuple[str, ...], action: Action, lots: int
) -> None:
    entry_e4, sign = 2_000_000, 1 if action is Action.BUY else -1
    cash = Decimal(entry_e4) / 10_000 * LOT * lots + 1_000  # for the charges, below another lot
    settings = guide(*overrides, f"capital.initial_capital={cash}", "risk.allow_short=true")
    trading, rules = Trading(settings), Rules(settings, entry_e4, sign, lots)
    trading.desk.on_signal(signal(1, action), 0)
    path, expected, price_e4 = [], [], entry_e4
    for seq, move in enumerate((0, *(sign * move for move in moves)), start=1):
        price_e4 = max(1, price_e4 + move)
        path.append(price_e4)
        now_ns = TEN_NS + (seq - 1) * TICK_SECONDS * 1_000_000_000
        trading.desk.on_tick(tick(seq, 0, price_e4=price_e4, ts_event_ns=now_ns), 0)
        if rules.left:
            expected += [(reason, count * LOT, seq) for reason, count in rules.tick(price_e4)]
    trades = trading.ledger.trades()
    assert [(t.exit_reason, t.quantity, t.exit_seq) for t in trades] == expected
    assert trading.session.is_flat == (rules.left == 0)
    for trade in trades:
        seen = [sign * (price_e4 - entry_e4) for price_e4 in path[: trade.exit_seq]]
        assert trade.mae == Decimal(min(seen)) / 10_000 * trade.quantity
        assert trade.mfe == Decimal(max(seen)) / 10_000 * trade.quantity
        assert trade.gross_pnl == Decimal(seen[-1]) / 10_000 * trade.quantity
