"""Which connection carries which instruments. Pure."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.settings import Instrument

NAMES_MAX = 10


class Share(NamedTuple):
    """The instruments of one connection: a row of the run's."""

    connection: int  # from 0
    first: int  # index of its first into settings.instruments
    instruments: tuple[Instrument, ...]

    def names(self, places: tuple[int, ...]) -> str:
        """Return the symbols at ``places`` of this share, the first few of many."""
        names = [self.instruments[place].symbol for place in places[:NAMES_MAX]]
        return ", ".join(names) + (", …" if len(places) > NAMES_MAX else "")
