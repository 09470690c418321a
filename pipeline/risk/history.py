"""What a session is rebuilt from: the records of a ledger, in the order in which they were made.

Beside orders and fills: where an order stood from then on, what the exits of a position and the
loss limits remember, what the account held that is not ours, and what a person should know. Nothing
else is needed, so starting is recovering: a session that takes the history stands where the one
before it stood.
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.brokers.contract import Fill, Order, OrderState


class Sent(NamedTuple):
    """When an order was handed to the gateway (CLOCK_MONOTONIC)."""

    order_id: str
    ts_sent_ns: int


class Change(NamedTuple):
    """Where an order stood from then on; the counts are totals."""

    order_id: str
    state: OrderState
    filled: int  # shares
    turnover_e4: int
    broker_id: str
    text: str  # what the broker said, or what was strange


class Mark(NamedTuple):
    """What the exits of an open position remember; the last one of a position counts."""

    position_id: int
    instrument: int
    quantity: int  # shares held; long > 0
    entry_e4: int
    low_e4: int  # extremes since entry
    high_e4: int
    targets_reached: int
    tick_seq: int  # the last tick in it
    last_e4: int  # the last price of the instrument
    wanted: str  # the reason with which somebody wants all of it closed; "" = nobody


class LossMark(NamedTuple):
    """What the loss limits remember; the last one counts."""

    day: int  # days since 1970-01-01, IST
    begin_e4: int  # equity at the first look of the day
    peak_e4: int  # the highest equity so far


class Outside(NamedTuple):
    """Shares of a symbol in the account that were never ours, at the first look of the day."""

    symbol: str
    product: str
    quantity: int


class Event(NamedTuple):
    """What a person should know."""

    kind: str
    text: str
    ts_ns: int  # epoch


Record = Order | Sent | Change | Fill | Mark | LossMark | Outside | Event

START = "start"  # an event: from here on seqs are those of another run
