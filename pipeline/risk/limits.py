"""What a signal must pass before it becomes an order.

The tables at the end are in the order of judging: the first check that finds something refuses
the signal. Nothing of it keeps a position from being closed, and a CLOSE does not expire: the
queue keeps its order, so a late CLOSE can only mean the position held when it was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from pipeline.brokers.contract import Side
from pipeline.records import Action, SignalRow
from pipeline.risk.charges import charges, plain, plain_e4, rupees
from pipeline.risk.hours import clock_text, date_of, day_of, hours_of
from pipeline.risk.losses import Breach
from pipeline.risk.mandate import Mandate
from pipeline.risk.numbering import Sent
from pipeline.risk.reasons import Reason
from pipeline.risk.rulebook import NO_RULES, Rulebook
from pipeline.risk.sizing import SLICES_MAX, Freezes, limit_e4, slices
from pipeline.risk.tariffs import tariffs_of
from pipeline.settings import SHARES, Settings, e4


class Code(StrEnum):
    """Why a signal was refused."""

    DUPLICATE_SIGNAL = "DUPLICATE_SIGNAL"
    UNSUPPORTED_ACTION = "UNSUPPORTED_ACTION"
    UNKNOWN_INSTRUMENT = "UNKNOWN_INSTRUMENT"
    NOTHING_TO_CLOSE = "NOTHING_TO_CLOSE"
    DAILY_LOSS = "DAILY_LOSS"
    MAX_DRAWDOWN = "MAX_DRAWDOWN"
    TRADING_HALTED = "TRADING_HALTED"
    SIGNAL_EXPIRED = "SIGNAL_EXPIRED"
    POSITION_OPEN = "POSITION_OPEN"
    STALE_FEED = "STALE_FEED"
    PRICE_OUTSIDE_COLLAR = "PRICE_OUTSIDE_COLLAR"
    MARKET_CLOSED = "MARKET_CLOSED"
    OUTSIDE_SESSION = "OUTSIDE_SESSION"
    COOLING_DOWN = "COOLING_DOWN"
    MAX_POSITIONS = "MAX_POSITIONS"
    PRICE_TOO_HIGH = "PRICE_TOO_HIGH"
    POSITION_EXCEEDS_MAX = "POSITION_EXCEEDS_MAX"
    INSUFFICIENT_CASH = "INSUFFICIENT_CASH"
    QTY_EXCEEDS_FREEZE = "QTY_EXCEEDS_FREEZE"
    NOTIONAL_EXCEEDS_MAX = "NOTIONAL_EXCEEDS_MAX"
    RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"


class Refusal(NamedTuple):
    """Risk said no."""

    code: Code
    context: str  # key=value pairs, separated by blanks
    signal_seq: int


class Facts(NamedTuple):
    """What the checks look at besides the signal."""

    now_ns: int
    event_ns: int  # exchange time of the newest tick known
    price_e4: int  # last price of the instrument; 0 = no tick yet
    price_ns: int  # when the feed had it (CLOCK_MONOTONIC)
    last_signal: int  # seq of the last signal handled
    entering: int  # shares of the instrument on their way in
    held: int  # shares of it held, or on their way in
    closable: int  # shares held and not on their way out
    mandate: Mandate
    breach: Breach | None  # the loss limit that is reached
    cool_until_ns: int  # exchange time before which there are no entries
    entries_today: int
    open_positions: int  # held or on their way in
    sent: Sent
    cash: Decimal  # that may be spent


class Size(NamedTuple):
    """What an entry would come to, at the worst price that is reckoned with."""

    lots: int
    lot_size: int
    price_e4: int
    lot_value: Decimal  # ₹
    freeze: int  # shares of the largest order
    pieces: Sequence[int]  # shares of each order


class Limits:
    """The limits of a run."""

    def __init__(self, settings: Settings, rulebook: Rulebook = NO_RULES) -> None:
        self._risk = risk = settings.risk
        self._hours = hours_of(settings, rulebook)
        self._tariffs = tariffs_of(settings, rulebook)
        self._freezes = Freezes(settings, rulebook)
        self._instruments = settings.instruments
        self._price_max_e4 = e4(risk.entry_price_max)
        self._slippage_e4 = e4(risk.slippage_points)
        self._collar_e4 = None if risk.collar_points is None else e4(risk.collar_points)
        self._ttl_ns = risk.signal_ttl_ms * 1_000_000
        actions = Action.BUY, Action.SELL, Action.CLOSE
        self._supported = [int(a) for a in actions if a != Action.SELL or risk.allow_short]

    def judge(self, signal: SignalRow, facts: Facts) -> Refusal | Size | None:
        """Return why ``signal`` must not become an order, or the size of an entry; else None."""
        is_entry = signal.action in _SIDES
        for code, check in _OF_ENTRY if is_entry else _OF_CLOSE:
            context = check(self, signal, facts)
            if context:
                return Refusal(code, context, signal.seq)
        return self._judge_size(signal, facts) if is_entry else None

    def _judge_size(self, signal: SignalRow, facts: Facts) -> Refusal | Size:
        size = self.size(signal, facts)
        for code, check in _SIZE:
            context = check(self, signal, facts, size)
            if context:
                return Refusal(code, context, signal.seq)
        return size

    def knows(self, instrument: int) -> bool:
        return instrument < len(self._instruments)

    def size(self, signal: SignalRow, facts: Facts) -> Size:
        """Return how many lots the cash buys at the worst price that is reckoned with.

        At most as many as ``risk.position_value_max`` is worth. A short entry takes as much cash
        as a long one.
        """
        row, most = self._instruments[signal.instrument], self._risk.position_value_max
        price_e4 = self._worst_e4(signal, facts.price_e4)
        lot_value = rupees(row.lot_size * price_e4)
        spend = facts.cash if most is None else min(facts.cash, most)
        lots = max(0, int(spend // lot_value))
        freeze = self._freezes.of(signal.instrument, facts.event_ns)
        pieces = slices(lots * row.lot_size, row.lot_size, freeze)
        return Size(lots, row.lot_size, price_e4, lot_value, freeze, pieces)

    def _worst_e4(self, signal: SignalRow, price_e4: int) -> int:
        worst_e4 = price_e4 + self._slippage_e4
        if self._risk.order_type == "market" or self._collar_e4 is None:
            return worst_e4
        tick_e4 = e4(self._instruments[signal.instrument].tick_size)
        return max(worst_e4, limit_e4(side_of(signal), price_e4, self._collar_e4, tick_e4))

    # Each check returns the context of its refusal, or nothing.

    def _duplicate(self, signal: SignalRow, facts: Facts) -> str:
        if signal.seq > facts.last_signal:
            return ""
        return f"seq={signal.seq} last_handled={facts.last_signal}"

    def _unsupported(self, signal: SignalRow, facts: Facts) -> str:
        if signal.action in self._supported:
            return ""
        names = {int(action): action.name for action in Action}
        shown = names[signal.action] if signal.action in names else signal.action
        return f"action={shown} supported={','.join(map(names.__getitem__, self._supported))}"

    def _unknown_instrument(self, signal: SignalRow, facts: Facts) -> str:
        if self.knows(signal.instrument):
            return ""
        return f"instrument={signal.instrument} instruments={len(self._instruments)}"

    def _nothing_to_close(self, signal: SignalRow, facts: Facts) -> str:
        closes = facts.closable or facts.entering
        return "" if closes else f"instrument={signal.instrument} held={facts.held}"

    def _not_shortable(self, signal: SignalRow, facts: Facts) -> str:
        row = self._instruments[signal.instrument]
        delivered = row.exchange in SHARES and row.product_type != "INTRADAY"
        sold = signal.action == Action.SELL and delivered
        return f"action=SELL exchange={row.exchange} product={row.product_type}" if sold else ""

    def _lost_in_a_day(self, signal: SignalRow, facts: Facts) -> str:
        return _context_of(facts.breach, Reason.DAILY_LOSS)

    def _fallen_too_far(self, signal: SignalRow, facts: Facts) -> str:
        return _context_of(facts.breach, Reason.MAX_DRAWDOWN)

    def _halted(self, signal: SignalRow, facts: Facts) -> str:
        mandate = facts.mandate
        return "" if mandate.takes_entries else f"state={mandate.state} reason={mandate.reason!r}"

    def _expired(self, signal: SignalRow, facts: Facts) -> str:
        age_ns = facts.now_ns - signal.ts_recv_ns
        if age_ns <= self._ttl_ns:
            return ""
        return f"age_ms={age_ns / 1e6:.3f} ttl_ms={self._ttl_ns // 1_000_000}"

    def _position_open(self, signal: SignalRow, facts: Facts) -> str:
        return f"instrument={signal.instrument} held={facts.held}" if facts.held else ""

    def _no_price(self, signal: SignalRow, facts: Facts) -> str:
        return "" if facts.price_e4 > 0 else f"instrument={signal.instrument} last_price=none"

    def _old_price(self, signal: SignalRow, facts: Facts) -> str:
        most, age_ns = self._risk.tick_age_ms_max, facts.now_ns - facts.price_ns
        if most is None or age_ns <= most * 1_000_000:
            return ""
        return f"instrument={signal.instrument} age_ms={age_ns / 1e6:.3f} max_ms={most}"

    def _outside_collar(self, signal: SignalRow, facts: Facts) -> str:
        away_e4 = abs(signal.price_e4 - facts.price_e4)
        if self._collar_e4 is None or away_e4 <= self._collar_e4:
            return ""
        prices = f"price={plain_e4(signal.price_e4)} last_price={plain_e4(facts.price_e4)}"
        return f"{prices} collar={plain_e4(self._collar_e4)}"

    def _market_closed(self, signal: SignalRow, facts: Facts) -> str:
        closed = self._hours[signal.instrument].closed(facts.event_ns)
        if not closed:
            return ""
        exchange = self._instruments[signal.instrument].exchange
        return f"date={date_of(facts.event_ns)} exchange={exchange} reason={closed!r}"

    def _outside_session(self, signal: SignalRow, facts: Facts) -> str:
        hours = self._hours[signal.instrument]
        if hours.allow_entry(facts.event_ns):
            return ""
        return f"time={clock_text(facts.event_ns)} entries={hours.entries(facts.event_ns)}"

    def _cooling_down(self, signal: SignalRow, facts: Facts) -> str:
        if facts.event_ns >= facts.cool_until_ns:
            return ""
        return f"time={clock_text(facts.event_ns)} until={clock_text(facts.cool_until_ns)}"

    def _too_many_today(self, signal: SignalRow, facts: Facts) -> str:
        most = self._risk.max_positions_per_day
        if facts.entries_today < most:
            return ""
        return f"entries={facts.entries_today} max={most}"

    def _too_many_at_once(self, signal: SignalRow, facts: Facts) -> str:
        most = self._risk.open_positions_max
        if most is None or facts.open_positions < most:
            return ""
        return f"open={facts.open_positions} max={most}"

    def _price_too_high(self, signal: SignalRow, facts: Facts) -> str:
        if facts.price_e4 <= self._price_max_e4:
            return ""
        return f"price={plain_e4(facts.price_e4)} max={plain_e4(self._price_max_e4)}"

    # Of its size too.

    def _position_too_large(self, signal: SignalRow, facts: Facts, size: Size) -> str:
        most = self._risk.position_value_max
        if most is None or size.lot_value <= most:
            return ""
        return f"lot={plain(size.lot_value)} max={plain(most)}"

    def _too_little_cash(self, signal: SignalRow, facts: Facts, size: Size) -> str:
        turnover = max(1, size.lots) * size.lot_value
        rates = self._tariffs[signal.instrument].on(day_of(facts.event_ns))
        values = [rupees(shares * size.price_e4) for shares in size.pieces] or [turnover]
        side = side_of(signal)
        needed = turnover + sum(charges(value, side, rates) for value in values)
        if needed <= facts.cash:
            return ""
        money = f"cash={plain(facts.cash)} needed={plain(needed)}"
        return f"{money} lots={size.lots} lot_size={size.lot_size} price={plain_e4(size.price_e4)}"

    def _too_many_slices(self, signal: SignalRow, facts: Facts, size: Size) -> str:
        count = len(size.pieces)
        if count <= SLICES_MAX and max(size.pieces, default=0) <= size.freeze:
            return ""
        return f"quantity={sum(size.pieces)} freeze={size.freeze} slices={count} max={SLICES_MAX}"

    def _order_too_large(self, signal: SignalRow, facts: Facts, size: Size) -> str:
        most = self._risk.order_value_max
        if most is None:
            return ""
        value = rupees(max(size.pieces, default=0) * size.price_e4)
        if value <= most:
            return ""
        return f"value={plain(value)} max={plain(most)}"

    def _too_often(self, signal: SignalRow, facts: Facts, size: Size) -> str:
        risk, more = self._risk, len(size.pieces)
        for window, count, most in (
            ("second", facts.sent.second, risk.orders_per_second_max),
            ("minute", facts.sent.minute, risk.orders_per_minute_max),
            ("day", facts.sent.day, risk.orders_per_day_max),
        ):
            if most is not None and count + more > most - risk.orders_reserved_for_exits:
                asked = f"window={window} sent={count} more={more}"
                return f"{asked} max={most} reserved={risk.orders_reserved_for_exits}"
        return ""


_SIDES: dict[int, Side] = {Action.BUY: Side.BUY, Action.SELL: Side.SELL}


def side_of(signal: SignalRow) -> Side:
    """Return the side of the entry that ``signal`` asks for."""
    return _SIDES[signal.action]


def _context_of(breach: Breach | None, reason: Reason) -> str:
    return breach.context if breach is not None and breach.reason is reason else ""


_Check = Callable[[Limits, SignalRow, Facts], str]
_SizeCheck = Callable[[Limits, SignalRow, Facts, Size], str]

_ALL: tuple[tuple[Code, _Check], ...] = (
    (Code.DUPLICATE_SIGNAL, Limits._duplicate),
    (Code.UNSUPPORTED_ACTION, Limits._unsupported),
    (Code.UNKNOWN_INSTRUMENT, Limits._unknown_instrument),
)
_CLOSE: tuple[tuple[Code, _Check], ...] = ((Code.NOTHING_TO_CLOSE, Limits._nothing_to_close),)
_ENTRY: tuple[tuple[Code, _Check], ...] = (
    (Code.UNSUPPORTED_ACTION, Limits._not_shortable),
    (Code.DAILY_LOSS, Limits._lost_in_a_day),
    (Code.MAX_DRAWDOWN, Limits._fallen_too_far),
    (Code.TRADING_HALTED, Limits._halted),
    (Code.SIGNAL_EXPIRED, Limits._expired),
    (Code.POSITION_OPEN, Limits._position_open),
    (Code.STALE_FEED, Limits._no_price),
    (Code.STALE_FEED, Limits._old_price),
    (Code.PRICE_OUTSIDE_COLLAR, Limits._outside_collar),
    (Code.MARKET_CLOSED, Limits._market_closed),
    (Code.OUTSIDE_SESSION, Limits._outside_session),
    (Code.COOLING_DOWN, Limits._cooling_down),
    (Code.MAX_POSITIONS, Limits._too_many_today),
    (Code.MAX_POSITIONS, Limits._too_many_at_once),
    (Code.PRICE_TOO_HIGH, Limits._price_too_high),
)
_SIZE: tuple[tuple[Code, _SizeCheck], ...] = (
    (Code.POSITION_EXCEEDS_MAX, Limits._position_too_large),
    (Code.INSUFFICIENT_CASH, Limits._too_little_cash),
    (Code.QTY_EXCEEDS_FREEZE, Limits._too_many_slices),
    (Code.NOTIONAL_EXCEEDS_MAX, Limits._order_too_large),
    (Code.RATE_LIMIT_EXCEEDED, Limits._too_often),
)

_OF_ENTRY = _ALL + _ENTRY
_OF_CLOSE = _ALL + _CLOSE
