"""What a broker has told of the orders of a day, so that only what is new is passed on. Pure."""

from __future__ import annotations

from pipeline.brokers.contract import OrderState, OrderUpdate

# Polled. Of an order that nobody has seen risk asks the whole book, until it is sure of it.
_SEEN = frozenset({OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED})


class Told:
    """The broker's ids, the orders that it may still fill, and the last that it said of each."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}  # order id -> the broker's
        self._open: set[str] = set()  # order ids
        self._last: dict[str, OrderUpdate] = {}  # by the broker's id

    def note(self, update: OrderUpdate) -> bool:
        """Remember what ``update`` says; False if it is what was said last of that order."""
        if update.order_id and update.broker_id:
            self._ids[update.order_id] = update.broker_id
        if update.order_id and update.state in _SEEN:
            self._open.add(update.order_id)
        else:
            self._open.discard(update.order_id)
        name = update.broker_id or update.order_id
        if name in self._last and self._last[name] == update:
            return False
        self._last[name] = update
        return True

    def leaves(self, order_id: str) -> None:
        """Take into account that the order is being sent."""
        self._open.add(order_id)

    def restore(self, order_id: str, state: OrderState) -> None:
        """Take an order into account that a risk which died may have sent."""
        if state in _SEEN:
            self._open.add(order_id)

    def broker_id(self, order_id: str) -> str:
        """Return the broker's id of an order; "" = it is not known."""
        return self._ids[order_id] if order_id in self._ids else ""

    @property
    def open_count(self) -> int:
        """How many orders are to be asked for."""
        return len(self._open)
