"""How many lots, in which slices, at which limit. All prices are e4, all quantities shares."""

from __future__ import annotations

from pipeline.brokers.contract import Side
from pipeline.risk.calendar import Calendar
from pipeline.risk.hours import date_of, day_of
from pipeline.risk.rulebook import Rulebook
from pipeline.settings import Settings

SLICES_MAX = 10  # of one entry; more is a mistake in the sizing
ANY_QUANTITY = (1 << 63) - 1  # a freeze quantity that no order reaches


def slices(quantity: int, lot_size: int, freeze: int) -> list[int]:
    """Cut ``quantity`` into orders of whole lots, each as large as ``freeze`` allows.

    A part of a lot goes into the last one. A freeze below one lot cannot be kept by anything that
    is held, so an order is one lot then.
    """
    largest = max(freeze // lot_size, 1) * lot_size
    whole, rest = divmod(quantity, largest)
    return [largest] * whole + ([rest] if rest else [])


def limit_e4(side: Side, last_e4: int, collar_e4: int, tick_e4: int) -> int:
    """Return the price worse than ``last_e4`` by the collar, on the tick grid, at least a tick.

    Rounded in the direction in which it still fills: up to buy, down to sell.
    """
    if side is Side.BUY:
        return -(-(last_e4 + collar_e4) // tick_e4) * tick_e4
    return max(tick_e4, (last_e4 - collar_e4) // tick_e4 * tick_e4)


class Freezes:
    """The largest order that an exchange takes, of every instrument."""

    def __init__(self, settings: Settings, rulebook: Rulebook) -> None:
        self._instruments = settings.instruments
        self._calendar = Calendar(rulebook) if settings.session.calendar else None
        self._known: dict[tuple[int, int], int] = {}  # instrument, day -> shares

    def of(self, instrument: int, ts_event_ns: int) -> int:
        """Return that of ``instrument`` at an exchange time; ANY_QUANTITY where none is known."""
        stated = self._instruments[instrument].freeze_quantity
        if stated is not None:
            return stated
        place = instrument, day_of(ts_event_ns)
        if place not in self._known:
            self._known[place] = self._look_up(instrument, ts_event_ns)
        return self._known[place]

    def _look_up(self, instrument: int, ts_event_ns: int) -> int:
        row = self._instruments[instrument]
        if self._calendar is None or row.underlying is None:
            return ANY_QUANTITY
        freeze = self._calendar.freeze(row.exchange, row.underlying, date_of(ts_event_ns))
        return ANY_QUANTITY if freeze is None else freeze.shares[row.underlying]
