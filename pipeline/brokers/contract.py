"""Where a broker plugs in: one folder of pipeline/brokers/ with what is on this page.

A *market session* (session.py) is the broker's half of a WebSocket without the socket: what to
send on open, what a frame means, how long silence may last. The feed's shell only carries.
An *order gateway* (orders.py) takes orders and gives fills; only risk holds one (I3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.settings import Secrets


class Received(NamedTuple):
    """What one frame meant. A tuple, because one is made for every frame."""

    ticks: NDArray[np.void]  # TICK rows, possibly none; seq is left 0
    replies: tuple[str, ...] = ()  # text frames to send back now
    duplicates: int = 0  # ticks dropped because they had been seen
    refused: int = 0  # ticks dropped because they cannot be true (price <= 0, short frame, …); text
    # that means nothing
    notice: str = ""  # what a person should read, secrets removed


class MarketSession(Protocol):
    """One broker's market data protocol. Pure: no sockets, no clock; survives reconnects."""

    @property
    def url(self) -> str:
        """Return where to connect. It may contain secrets: never log it."""

    @property
    def address(self) -> str:
        """Return the url without secrets, for logs and messages."""

    @property
    def headers(self) -> Sequence[str]:
        """Return "Name: value" lines. They contain secrets: never log them."""

    @property
    def ping(self) -> str:
        """Return the text frame that keeps an open connection alive, "" where none is needed."""

    @property
    def ping_interval_ns(self) -> int:
        """Return how often ``ping`` is due; of no meaning without one."""

    def log_in(self, secrets: Secrets) -> bool:
        """Take what a login gave, for the next connect; tell whether it is another login."""

    def on_open(self) -> Sequence[str]:
        """Return the text frames that (re)subscribe everything; called for every attempt to
        connect."""

    def on_text(self, text: str, now_ns: int) -> Received: ...

    def on_binary(self, data: bytes | memoryview, now_ns: int) -> Received:
        """Decode one binary frame that was in hand at ``now_ns`` (CLOCK_MONOTONIC).

        ``data`` is the feed's buffer: overwritten after the call, so nothing of it is kept.
        """


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order as risk decided it. ``order_id`` is deterministic and doubles as the tag."""

    order_id: str
    instrument: int
    symbol: str
    side: Side
    quantity: int  # shares, > 0
    price_e4: int  # the last price when it was decided
    position_id: int
    reason: str
    tick_seq: int  # the tick on which it was decided
    ts_event_ns: int  # that tick's exchange time
    ts_recv_ns: int = 0  # when the feed had the tick that caused it; 0 = no tick did
    ts_signal_ns: int = 0  # when the strategy had decided it; 0 = it did not


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """What the broker did with an order."""

    order_id: str
    quantity: int  # shares
    price_e4: int
    slippage_e4: int  # price worse than the order's by this, per share
    ts_event_ns: int


class OrderGateway(Protocol):
    """Sends orders. May block; never raises for a refusal by the broker."""

    def send(self, order: Order) -> Sequence[Fill]:
        """Send ``order`` once and return the fills known so far."""
