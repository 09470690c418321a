"""What a signal must pass before it becomes an order.

The tables at the end are in the order of judging: the first check that finds something refuses
the signal. A halt never keeps a position from being closed, and a CLOSE does not expire: the
queue keeps its order, so a late CLOSE can only mean the position held when it was sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from pipeline.brokers.contract import Side
from pipeline.records import PRICE_SCALE, Action, SignalRow
from pipeline.risk.charges import charges, rupees
from pipeline.risk.hours import clock_text, date_of, day_of, hours_of
from pipeline.risk.rulebook import NO_RULES, Rulebook
from pipeline.risk.tariffs import tariffs_of
from pipeline.settings import Settings, e4


class Code(StrEnum):
    """Why a signal was refused."""

    DUPLICATE_SIGNAL = "DUPLICATE_SIGNAL"
    UNSUPPORTED_ACTION = "UNSUPPORTED_ACTION"
    UNKNOWN_INSTRUMENT = "UNKNOWN_INSTRUMENT"
    NOTHING_TO_CLOSE = "NOTHING_TO_CLOSE"
    TRADING_HALTED = "TRADING_HALTED"
    SIGNAL_EXPIRED = "SIGNAL_EXPIRED"
    POSITION_OPEN = "POSITION_OPEN"
    STALE_FEED = "STALE_FEED"
    MARKET_CLOSED = "MARKET_CLOSED"
    OUTSIDE_SESSION = "OUTSIDE_SESSION"
    MAX_POSITIONS = "MAX_POSITIONS"
    PRICE_TOO_HIGH = "PRICE_TOO_HIGH"
    INSUFFICIENT_CASH = "INSUFFICIENT_CASH"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Risk said no."""

    code: Code
    context: str  # key=value pairs, separated by blanks
    signal_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the checks look at besides the signal."""

    now_ns: int
    event_ns: int  # exchange time of the newest tick known
    price_e4: int  # last price of the instrument; 0 = no tick yet
    last_signal: int  # seq of the last signal handled
    held: int  # shares of the instrument held or on their way in
    closable: int  # shares held and not on their way out
    halted: str  # why there are no entries; empty = there are
    entries_today: int
    cash: Decimal


class Limits:
    """The limits of a run."""

    def __init__(self, settings: Settings, rulebook: Rulebook = NO_RULES) -> None:
        self._risk = settings.risk
        self._hours = hours_of(settings, rulebook)
        self._tariffs = tariffs_of(settings, rulebook)
        self._exchanges = [instrument.exchange for instrument in settings.instruments]
        self._lot_sizes = [instrument.lot_size for instrument in settings.instruments]
        self._price_max_e4 = e4(settings.risk.entry_price_max)
        self._slippage_e4 = e4(settings.risk.slippage_points)
        self._ttl_ns = settings.risk.signal_ttl_ms * 1_000_000

    def refusal(self, signal: SignalRow, facts: Facts) -> Refusal | None:
        """Return why ``signal`` must not become an order, or None."""
        for code, check in _ALL + (_ENTRY if signal.action == Action.BUY else _CLOSE):
            context = check(self, signal, facts)
            if context:
                return Refusal(code, context, signal.seq)
        return None

    def knows(self, instrument: int) -> bool:
        return instrument < len(self._lot_sizes)

    def entry_lots(self, instrument: int, price_e4: int, cash: Decimal) -> int:
        """Return how many lots ``cash`` buys at the price the fill is expected at."""
        lot_e4 = self._lot_sizes[instrument] * (price_e4 + self._slippage_e4)
        return max(0, int(cash * PRICE_SCALE // lot_e4))

    # Each check returns the context of its refusal, or nothing.

    def _duplicate(self, signal: SignalRow, facts: Facts) -> str:
        if signal.seq > facts.last_signal:
            return ""
        return f"seq={signal.seq} last_handled={facts.last_signal}"

    def _unsupported(self, signal: SignalRow, facts: Facts) -> str:
        if signal.action in (Action.BUY, Action.CLOSE):
            return ""
        names = {int(action): action.name for action in Action}
        shown = names[signal.action] if signal.action in names else signal.action
        return f"action={shown} supported=BUY,CLOSE"

    def _unknown_instrument(self, signal: SignalRow, facts: Facts) -> str:
        if self.knows(signal.instrument):
            return ""
        return f"instrument={signal.instrument} instruments={len(self._lot_sizes)}"

    def _nothing_to_close(self, signal: SignalRow, facts: Facts) -> str:
        return "" if facts.closable else f"instrument={signal.instrument} held={facts.held}"

    def _halted(self, signal: SignalRow, facts: Facts) -> str:
        return f"reason={facts.halted!r}" if facts.halted else ""

    def _expired(self, signal: SignalRow, facts: Facts) -> str:
        age_ns = facts.now_ns - signal.ts_recv_ns
        if age_ns <= self._ttl_ns:
            return ""
        return f"age_ms={age_ns / 1e6:.3f} ttl_ms={self._ttl_ns // 1_000_000}"

    def _position_open(self, signal: SignalRow, facts: Facts) -> str:
        return f"instrument={signal.instrument} held={facts.held}" if facts.held else ""

    def _no_price(self, signal: SignalRow, facts: Facts) -> str:
        return "" if facts.price_e4 > 0 else f"instrument={signal.instrument} last_price=none"

    def _market_closed(self, signal: SignalRow, facts: Facts) -> str:
        closed = self._hours[signal.instrument].closed(facts.event_ns)
        if not closed:
            return ""
        exchange = self._exchanges[signal.instrument]
        return f"date={date_of(facts.event_ns)} exchange={exchange} reason={closed!r}"

    def _outside_session(self, signal: SignalRow, facts: Facts) -> str:
        hours = self._hours[signal.instrument]
        if hours.allow_entry(facts.event_ns):
            return ""
        return f"time={clock_text(facts.event_ns)} entries={hours.entries(facts.event_ns)}"

    def _too_many(self, signal: SignalRow, facts: Facts) -> str:
        most = self._risk.max_positions_per_day
        if facts.entries_today < most:
            return ""
        return f"entries={facts.entries_today} max={most}"

    def _price_too_high(self, signal: SignalRow, facts: Facts) -> str:
        if facts.price_e4 <= self._price_max_e4:
            return ""
        return f"price={_plain(rupees(facts.price_e4))} max={_plain(self._risk.entry_price_max)}"

    def _too_little_cash(self, signal: SignalRow, facts: Facts) -> str:
        lots = self.entry_lots(signal.instrument, facts.price_e4, facts.cash)
        lot_size = self._lot_sizes[signal.instrument]
        price_e4 = facts.price_e4 + self._slippage_e4
        turnover = rupees(max(1, lots) * lot_size * price_e4)
        rates = self._tariffs[signal.instrument].on(day_of(facts.event_ns))
        needed = turnover + charges(turnover, Side.BUY, rates)
        if needed <= facts.cash:
            return ""
        money = f"cash={_plain(facts.cash)} needed={_plain(needed)}"
        return f"{money} lots={lots} lot_size={lot_size} price={_plain(rupees(price_e4))}"


def _plain(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


_Check = Callable[[Limits, SignalRow, Facts], str]

_ALL: tuple[tuple[Code, _Check], ...] = (
    (Code.DUPLICATE_SIGNAL, Limits._duplicate),
    (Code.UNSUPPORTED_ACTION, Limits._unsupported),
    (Code.UNKNOWN_INSTRUMENT, Limits._unknown_instrument),
)
_CLOSE: tuple[tuple[Code, _Check], ...] = ((Code.NOTHING_TO_CLOSE, Limits._nothing_to_close),)
_ENTRY: tuple[tuple[Code, _Check], ...] = (
    (Code.TRADING_HALTED, Limits._halted),
    (Code.SIGNAL_EXPIRED, Limits._expired),
    (Code.POSITION_OPEN, Limits._position_open),
    (Code.STALE_FEED, Limits._no_price),
    (Code.MARKET_CLOSED, Limits._market_closed),
    (Code.OUTSIDE_SESSION, Limits._outside_session),
    (Code.MAX_POSITIONS, Limits._too_many),
    (Code.PRICE_TOO_HIGH, Limits._price_too_high),
    (Code.INSUFFICIENT_CASH, Limits._too_little_cash),
)
