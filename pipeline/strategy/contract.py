"""What a strategy author writes against: Strategy, Tick, Signal, Position, Gap.

    class Breakout(Strategy):
        def __init__(self, settings: StrategySettings) -> None:
            self.high = 0.0

        def on_tick(self, tick: Tick) -> Signal | None:
            new_high = tick.price > self.high > 0
            self.high = max(self.high, tick.price)
            return Signal.buy("new high") if new_high and self.position.is_flat else None

A strategy decides; it never sends orders and cannot stop an exit. Its clock is ``tick.timestamp``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.records import IST, PRICE_SCALE, Action, Gap
from pipeline.settings import Instrument, StrategySettings


class Tick(NamedTuple):
    """One tick. The first fields are those of ``records.TICK``, in its order and units."""

    seq: int
    ts_event_ns: int
    ts_recv_ns: int
    price_e4: int
    instrument_index: int
    flags: int
    quantity: int
    day_volume: int
    bid_e4: int
    ask_e4: int
    instrument: Instrument

    @property
    def price(self) -> float:
        """Last traded price, ₹."""
        return self.price_e4 / PRICE_SCALE

    @property
    def ltp(self) -> float:
        """Last traded price, ₹, under the name that brokers give it."""
        return self.price

    @property
    def volume(self) -> int:
        """Last traded quantity, shares."""
        return self.quantity

    @property
    def symbol(self) -> str:
        return self.instrument.symbol

    @property
    def exchange(self) -> str:
        return self.instrument.exchange

    @property
    def timestamp(self) -> datetime:
        """Exchange time, aware, IST."""
        return ist(self.ts_event_ns)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the field ``name`` as the guide's dictionary ticks did."""
        return getattr(self, name, default)

    def __contains__(self, key: object) -> bool:
        """Tell whether there is a field of the guide's name: ``"timestamp" in tick``."""
        return hasattr(self, key) if isinstance(key, str) else tuple.__contains__(self, key)

    def __getitem__(self, key: Any) -> Any:
        """Return a field by the guide's name (``tick["price"]``) or by position."""
        if isinstance(key, str):
            try:
                return getattr(self, key)
            except AttributeError:
                raise KeyError(key) from None
        return tuple.__getitem__(self, key)


class DepthLevel(NamedTuple):
    """One price of a side of the book."""

    price_e4: int
    quantity: int  # shares
    orders: int

    @property
    def price(self) -> float:
        """₹."""
        return self.price_e4 / PRICE_SCALE


class Depth(NamedTuple):
    """The best prices of both sides as they came with a tick, at most five each, best first."""

    tick_seq: int  # the tick that it came with
    ts_event_ns: int  # that tick's
    ts_recv_ns: int
    instrument_index: int
    bids: tuple[DepthLevel, ...]
    asks: tuple[DepthLevel, ...]
    instrument: Instrument

    @property
    def symbol(self) -> str:
        return self.instrument.symbol


def ist(epoch_ns: int) -> datetime:
    """Return ``epoch_ns`` as an aware datetime in IST, exact to the microsecond."""
    seconds, rest_ns = divmod(epoch_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, IST) + timedelta(microseconds=rest_ns // 1_000)


@dataclass(frozen=True, slots=True)
class Signal:
    """What the strategy wants done about the instrument of the tick it was just given.

    ``buy`` opens a long position, ``sell`` a short one (where risk.allow_short is true), ``close``
    leaves either.

    ``price`` (₹) defaults to the tick's price; ``stop_loss`` and ``take_profit`` (₹) are advice
    that is recorded; ``confidence`` is 0..1.
    """

    action: Action
    reason: str
    price: float | None = None
    confidence: float = 1.0
    stop_loss: float | None = None
    take_profit: float | None = None

    @classmethod
    def buy(cls, reason: str, **details: Any) -> Signal:
        return cls(Action.BUY, reason, **details)

    @classmethod
    def sell(cls, reason: str, **details: Any) -> Signal:
        return cls(Action.SELL, reason, **details)

    @classmethod
    def close(cls, reason: str, **details: Any) -> Signal:
        return cls(Action.CLOSE, reason, **details)


class Position(NamedTuple):
    """What is held in one instrument, as risk last published it."""

    position_id: int = 0  # 0 = flat
    quantity: int = 0  # shares, long > 0
    entry_price: float = 0.0  # ₹
    stop: float = 0.0  # the stop in force, ₹; 0 = none
    entry_pending: bool = False  # a signal is on its way to risk and not answered yet
    instrument_index: int = 0

    @property
    def is_flat(self) -> bool:
        """True when nothing is held and nothing has been asked for."""
        return self.quantity == 0 and not self.entry_pending


FLAT = Position()


class Strategy:
    """Subclass it and write ``on_tick`` or ``on_batch``. One object serves every instrument."""

    position: Position = FLAT
    """What is held in the instrument that the call is about; set before every call."""

    positions: Sequence[Position] = ()
    """What is held in each instrument of the run, in settings order; always up to date."""

    def __init__(self, settings: StrategySettings) -> None:
        """Take the [strategy] section; your own values are in ``settings.parameters``."""

    def on_tick(self, tick: Tick) -> Signal | None:
        """Return what you want done, or None."""
        raise NotImplementedError

    def on_batch(self, ticks: NDArray[np.void]) -> Iterable[tuple[int, Signal]] | None:
        """Return what you want done, each with the row of ``ticks`` that it is about, or None.

        Write it in place of ``on_tick`` to compute on arrays. ``ticks`` are ``records.TICK``
        rows, oldest first, one or more. They lie in the ring itself and are read-only: copy what
        you keep. Rows that the feed overwrote in the meantime cost the batch: its signals are
        dropped and ``on_gap`` is called.
        """
        raise NotImplementedError

    def on_depth(self, depth: Depth) -> None:
        """Be told of the book right before the tick that came with it, with
        ``strategy.depth = true``; before the batch where you wrote ``on_batch``."""

    def on_gap(self, gap: Gap) -> None:
        """Be told that ticks were lost, before the ticks that follow them."""

    def on_position_closed(self, position_id: int, reason: str) -> None:
        """Be told that a position closed completely; ``reason`` is the kind of its last exit:
        Stop Loss, Breakeven Stop, Trailing Stop, Time Limit, Take Profit, Session End or Other."""
