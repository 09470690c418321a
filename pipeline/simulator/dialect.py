"""What the exchange needs to know of a broker's protocol; a file of this folder for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import TickFileError, explain
from pipeline.records import INSTRUMENTS_MAX, PRICE_SCALE

Modes = dict[int, str]  # what a client gets: ltp, quote or full, by instrument


class Refusal(NamedTuple):
    """How a login is refused."""

    status: int  # of HTTP
    body: dict[str, str]
    why: str  # for the log, without what was sent


class Snapshot(NamedTuple):
    """A binary frame with the newest tick of instruments that were asked for."""

    frame: bytes
    places: tuple[int, ...]  # of its ticks in the recording, from 0


class Answer(NamedTuple):
    """What a text frame is answered with."""

    texts: tuple[str, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()  # sent behind the texts


class Dialect(Protocol):
    """The server's half of a broker's market data protocol. Pure: no sockets, no clock."""

    path: str
    heartbeat: bytes  # sent when nothing else was for a while; b"" = the broker sends none

    def renew(self, token: str) -> None:
        """From now on take ``token`` in a login, and no longer the one before."""

    def refusal(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Refusal | None:
        """Return how an upgrade request with a wrong login is answered, None for the right one."""

    def answer(self, text: str, modes: Modes, position: int) -> Answer:
        """Change ``modes`` as a client's text frame asks, and answer it.

        ``position`` is the first tick that the client has not been sent.
        """

    def frames(self, modes: Modes, start: int, stop: int) -> Iterator[tuple[bytes, int]]:
        """Yield the frames of the ticks from ``start`` to before ``stop`` that ``modes`` wants.

        With each comes the first position that it leaves out. ``modes`` may change on the way.
        """


def newest(
    instrument_of: NDArray[np.uint16], wanted: Iterable[int], position: int
) -> list[tuple[int, int]]:
    """Return each wanted instrument with the place of its newest tick before ``position``.

    ``instrument_of`` has the instrument of each tick of the recording. One without a tick so far
    is left out.
    """
    places = np.full(INSTRUMENTS_MAX + 1, -1)
    places[instrument_of[:position]] = np.arange(position)  # the last of each stays
    return [(index, int(places[index])) for index in wanted if places[index] >= 0]


def refuse_inexact(ticks: NDArray[np.void], exact: NDArray[np.bool_], rule: str) -> None:
    """Raise TickFileError for the first tick that is not ``exact``."""
    wrong = np.flatnonzero(~exact)
    if len(wrong):
        tick = ticks[wrong[0]]
        raise TickFileError(
            explain(
                f"tick {wrong[0] + 1} has the price {int(tick['price_e4']) / PRICE_SCALE} ₹ "
                f"and the day volume {tick['day_volume']}",
                rule=rule,
                cure="replay the file instead: `tickpipe replay FILE`",
            )
        )
