"""Which connection carries which instruments. Pure."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.errors import SettingsError, explain
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


def shares_of(
    instruments: tuple[Instrument, ...], tokens_max: int, connections_max: int
) -> tuple[Share, ...]:
    """Divide ``instruments`` evenly over as few connections as carry ``tokens_max`` each.

    Raises SettingsError for more than ``connections_max`` of them carry: nothing is sent then.
    """
    count = -(-len(instruments) // tokens_max)
    if count > connections_max:
        raise SettingsError(
            explain(
                f"{len(instruments)} instruments are configured",
                rule=f"the broker allows {connections_max} connections of {tokens_max} tokens",
                cure="remove some [[instruments]]",
            )
        )
    size = -(-len(instruments) // count)
    starts = range(0, len(instruments), size)
    return tuple(Share(n, at, instruments[at : at + size]) for n, at in enumerate(starts))
