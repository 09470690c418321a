"""Kite's side of its market data WebSocket. Pure.

Ticks that are due together go in one frame, each instrument once: unlike the broker's, none is
conflated away. Subscribing and setting a mode are answered with a snapshot of what was asked for,
the newest tick of each instrument, where there has been one.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, SecretStr, TypeAdapter, ValidationError

from pipeline.brokers.kite.session import TOKENS_PER_CONNECTION_MAX, login_query
from pipeline.brokers.kite.tokens import Tokens
from pipeline.brokers.kite.wire import encode, frame, is_exact
from pipeline.settings import SIMULATOR_SECRETS, Instrument
from pipeline.simulator.dialect import (
    Answer,
    Modes,
    Refusal,
    Snapshot,
    newest,
    refuse_inexact,
)
from pipeline.simulator.playing import Packets


class Subscribe(BaseModel):
    a: Literal["subscribe", "unsubscribe"]
    v: list[int]


class SetMode(BaseModel):
    a: Literal["mode"]
    v: tuple[Literal["ltp", "quote", "full"], list[int]]


Request = Subscribe | SetMode
_REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="a")])


class KiteDialect:
    path = "/"
    heartbeat = b"\0"

    def __init__(self, ticks: NDArray[np.void], instruments: Sequence[Instrument]) -> None:
        """Raises TickFileError for what a packet cannot hold, SettingsError for tokens that are
        not Kite's."""
        tokens = Tokens(instruments)
        rule = (
            "Kite sends prices below 2³¹ in whole paise (except in currency derivatives) and "
            "volumes below 2³²"
        )
        refuse_inexact(ticks, is_exact(ticks, tokens), rule)
        self._instrument_of = {int(token): index for index, token in enumerate(tokens.numbers)}
        self._login = login_query(SIMULATOR_SECRETS)
        self._instruments: NDArray[np.uint16] = ticks["instrument"].copy()
        self._instrument_at: list[int] = self._instruments.tolist()
        self._packets = Packets(ticks, lambda mode, rows, _: encode(mode, rows, tokens))

    def renew(self, token: str) -> None:
        fields = {"access_token": SecretStr(token)}
        self._login = login_query(SIMULATOR_SECRETS.model_copy(update=fields))

    def refusal(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Refusal | None:
        for name, expected in self._login.items():
            found = query[name] if name in query else ""
            if not hmac.compare_digest(found.encode("utf-8", "surrogateescape"), expected.encode()):
                why = f"{name} is missing or wrong"
                body = {"status": "error", "error_type": "TokenException", "message": why}
                return Refusal(403, body, why)
        return None

    def answer(self, text: str, modes: Modes, position: int) -> Answer:
        try:
            request = _REQUEST.validate_json(text)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            where = ".".join(map(str, problem["loc"]))
            return Answer((_error(f"{where}: {problem['msg']}".removeprefix(": ")),))
        tokens = request.v[1] if isinstance(request, SetMode) else request.v
        unknown = [token for token in tokens if token not in self._instrument_of]
        indexes = [self._instrument_of[token] for token in tokens if token not in unknown]
        count = len(modes.keys() | set(indexes))
        if request.a == "subscribe" and count > TOKENS_PER_CONNECTION_MAX:
            limit = f"{count} tokens, a connection carries {TOKENS_PER_CONNECTION_MAX}"
            return Answer((_error(limit),))
        asked = _apply(request, indexes, modes)
        return Answer(_unknown(unknown), self._snapshot(asked, modes, position))

    def _snapshot(
        self, indexes: Iterable[int], modes: Modes, position: int
    ) -> tuple[Snapshot, ...]:
        found = newest(self._instruments, indexes, position)
        places = tuple(place for _, place in found)
        packets = [self._packets.packets_at(modes[index], [place])[0] for index, place in found]
        return (Snapshot(frame(packets), places),) if packets else ()

    def frames(self, modes: Modes, start: int, stop: int) -> Iterator[tuple[bytes, int]]:
        """Ticks are one frame until an instrument comes again."""
        packet, instrument_at = self._packets.packet, self._instrument_at
        packets: dict[int, bytes] = {}
        for position in range(start, stop):
            instrument = instrument_at[position]
            if instrument in packets:
                yield frame(list(packets.values())), position
                packets.clear()
            mode = modes.get(instrument)
            if mode is not None:
                packets[instrument] = packet(mode, position)
        if packets:
            yield frame(list(packets.values())), stop


def _apply(request: Request, indexes: Sequence[int], modes: Modes) -> list[int]:
    """Change ``modes``; return the instruments of which a snapshot is due."""
    if isinstance(request, SetMode):
        subscribed = [index for index in dict.fromkeys(indexes) if index in modes]
        modes.update(dict.fromkeys(subscribed, request.v[0]))
        return subscribed
    if request.a == "unsubscribe":
        for index in indexes:
            modes.pop(index, None)
        return []
    for index in indexes:
        modes.setdefault(index, "quote")
    return list(dict.fromkeys(indexes))


def _unknown(tokens: Sequence[int]) -> tuple[str, ...]:
    if not tokens:
        return ()
    more = f" and {len(tokens) - 3} more" if len(tokens) > 3 else ""
    names = ", ".join(map(str, tokens[:3]))
    return (_error(f"not in the recording's instruments: {names}{more}"),)


def _error(what: str) -> str:
    """Return the text frame that the broker answers a wrong request with."""
    return json.dumps({"type": "error", "data": what})
