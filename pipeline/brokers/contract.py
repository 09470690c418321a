"""Where a broker plugs in: one folder of pipeline/brokers/ with what is on this page.

A *market session* (session.py) is the broker's half of a WebSocket without the socket: what to
send on open, what a frame means, how long silence may last. The feed's shell only carries.
An *order gateway* (orders.py) takes orders and tells what became of them; only risk holds one
(I3). Nothing of it blocks: what takes time happens on its own threads.
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
    skipped: int = 0  # bytes of a binary frame that belong to no tick, taken or duplicate
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

    def encoded(self, ticks: NDArray[np.void]) -> bytes:
        """Return the binary frame that says what the one row of ``ticks`` (TICK) does."""


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"


class Quote(NamedTuple):
    """What is known of an instrument's price now; a price of 0 is not known."""

    last_e4: int = 0
    bid_e4: int = 0
    ask_e4: int = 0
    ts_event_ns: int = 0


class Order(NamedTuple):
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
    limit_e4: int = 0  # the worst price it may fill at; 0 = at the market
    ts_recv_ns: int = 0  # when the feed had the tick that caused it; 0 = no tick did
    ts_signal_ns: int = 0  # when the strategy had decided it; 0 = it did not


class Fill(NamedTuple):
    """What the broker did with an order, since the fill before."""

    order_id: str
    quantity: int  # shares
    turnover_e4: int  # Σ price × shares
    slippage_e4: int  # Σ shares × how much worse than the order's price; < 0 = better
    ts_event_ns: int

    @property
    def price_e4(self) -> int:
        """The price; over several prices their mean, rounded down."""
        return self.turnover_e4 // self.quantity


class OrderState(StrEnum):
    """Where an order stands; pipeline/risk/order_states.py has the table of what follows what."""

    PENDING_NEW = "PENDING_NEW"  # in the ledger, not handed over
    SENT = "SENT"  # handed over, not answered
    UNKNOWN = "UNKNOWN"  # the answer is missing or proves nothing: ask, never send again (I9)
    ACCEPTED = "ACCEPTED"  # the broker has it
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"  # proven: the broker said no
    EXPIRED = "EXPIRED"
    NEVER_ARRIVED = "NEVER_ARRIVED"  # risk's own finding: the broker's books did not have it


class OrderUpdate(NamedTuple):
    """What became known of one order. The counts are totals since it was sent, so an update that
    comes twice, late or by two ways says nothing new."""

    order_id: str  # ours, the tag; "" = an order that is not ours
    state: OrderState
    broker_id: str = ""  # the broker's id; "" = not known
    instrument: int | None = None  # index into settings.instruments; None = not one of them
    filled: int = 0  # shares
    turnover_e4: int = 0  # Σ price × shares of what is filled
    text: str = ""  # what the broker said, secrets removed
    ts_event_ns: int = 0  # the broker's time; 0 = not said


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerPosition:
    """What the broker says is held of one symbol, over the whole account."""

    symbol: str
    instrument: int | None  # None = not one of settings.instruments
    product: str  # as in settings
    quantity: int  # shares; long > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerBook:
    """The broker's whole answer to one ``ask``: every order of the day, and what is held."""

    asked_ns: int  # CLOCK_MONOTONIC when the question left: what was sent later may be missing
    orders: Sequence[OrderUpdate]
    positions: Sequence[BrokerPosition]


class OrderGateway(Protocol):
    """Sends orders. Never blocks; never raises for what a broker says or fails to say."""

    def send(self, order: Order) -> None:
        """Hand ``order`` over, once: it is never sent again, whatever comes back."""

    def cancel(self, order_id: str, broker_id: str) -> None:
        """Ask to cancel what is not filled yet; what came of it is an update like any other."""

    def ask(self) -> None:
        """Ask for the whole book; a BrokerBook comes with ``take`` when the broker has answered."""

    def take(self) -> Sequence[OrderUpdate | BrokerBook]:
        """Return what became known since the last call, oldest first.

        Where the way on which updates come was broken and is whole again, a BrokerBook comes
        without having been asked for: what was missed is in it.
        """

    def close(self) -> None:
        """Let go of threads and sockets, in bounded time."""
