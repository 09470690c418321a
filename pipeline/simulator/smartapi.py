"""SmartAPI's side of its market data WebSocket. Pure.

Sequence numbers are the ticks' places in the recording, 1 for the first, so that a client that
comes back sees them go on, whatever it missed. Subscribing is answered with the newest tick of
each instrument, where there has been one: who comes back and missed nothing gets an exact
duplicate, as in recordings of the broker's stream.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, SecretStr, ValidationError

from pipeline.brokers.smartapi.session import TOKENS_PER_CONNECTION_MAX, auth_headers
from pipeline.brokers.smartapi.wire import MODES, encode, instrument_key, is_exact
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

_INVALID = "E1001"  # the broker's code for a request that it does not understand
_LIMIT = "E1002"  # and for too many subscriptions
_NAMES = {number: name for name, number in MODES.items()}


class Tokens(BaseModel):
    exchangeType: int
    tokens: list[str]


class Params(BaseModel):
    mode: Literal[1, 2, 3]
    tokenList: list[Tokens]


class Request(BaseModel):
    """Subscribe (action 1) or unsubscribe (0)."""

    correlationID: Annotated[str, Field(max_length=10)] = ""
    action: Literal[0, 1]
    params: Params

    @property
    def keys(self) -> list[tuple[int, bytes]]:
        """Exchange type and token of every instrument that is named."""
        return [
            (group.exchangeType, token.encode())
            for group in self.params.tokenList
            for token in group.tokens
        ]


class SmartApiDialect:
    path = "/smart-stream"
    heartbeat = b""

    def __init__(self, ticks: NDArray[np.void], instruments: Sequence[Instrument]) -> None:
        """Raises TickFileError for prices that a packet cannot hold."""
        keys = [instrument_key(row) for row in instruments]
        rule = "SmartAPI sends whole paise, except in currency derivatives"
        refuse_inexact(ticks, is_exact(ticks, keys), rule)
        self._instrument_of = {key: index for index, key in enumerate(keys)}
        self._login = auth_headers(SIMULATOR_SECRETS)
        self._instruments: NDArray[np.uint16] = ticks["instrument"].copy()
        self._instrument_at: list[int] = self._instruments.tolist()

        def packets(mode: str, rows: NDArray[np.void], position: int) -> Sequence[bytes]:
            return [row.tobytes() for row in encode(mode, rows, keys, position + 1)]

        self._packets = Packets(ticks, packets)

    def renew(self, token: str) -> None:
        fields = {"jwt": SecretStr(token)}
        self._login = auth_headers(SIMULATOR_SECRETS.model_copy(update=fields))

    def refusal(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Refusal | None:
        for name, expected in self._login.items():
            found = headers[name] if name in headers else ""
            if not hmac.compare_digest(found.encode("utf-8", "surrogateescape"), expected.encode()):
                why = f"{name} is missing or wrong"
                return Refusal(401, {"errorCode": "AG8001", "message": why}, why)
        return None

    def answer(self, text: str, modes: Modes, position: int) -> Answer:
        if text == "ping":
            return Answer(("pong",))
        request = parse_request(text)
        if isinstance(request, str):
            return Answer((request,))
        known = [self._instrument_of[key] for key in request.keys if key in self._instrument_of]
        asked = dict.fromkeys(known)  # each once, in order
        if request.action == 1 and len(asked | modes) > TOKENS_PER_CONNECTION_MAX:
            return Answer((_too_many_frame(request, len(asked | modes)),))
        unknown = [key for key in request.keys if key not in self._instrument_of]
        texts = (_unknown_tokens_frame(request, unknown),) if unknown else ()
        if request.action == 0:
            for index in asked:
                modes.pop(index, None)
            return Answer(texts)
        mode = _NAMES[request.params.mode]
        modes.update(dict.fromkeys(asked, mode))
        return Answer(texts, self._snapshots(asked, mode, position))

    def _snapshots(self, asked: Iterable[int], mode: str, position: int) -> tuple[Snapshot, ...]:
        places = [place for _, place in newest(self._instruments, asked, position)]
        packets = self._packets.packets_at(mode, places)
        pairs = zip(packets, places, strict=True)
        return tuple(Snapshot(packet, (place,)) for packet, place in pairs)

    def frames(self, modes: Modes, start: int, stop: int) -> Iterator[tuple[bytes, int]]:
        """One tick is one frame."""
        packet, instrument_at = self._packets.packet, self._instrument_at
        for position in range(start, stop):
            mode = modes.get(instrument_at[position])
            if mode is not None:
                yield packet(mode, position), position + 1


def parse_request(text: str) -> Request | str:
    """Return the request in ``text``, or the error frame that answers it."""
    try:
        return Request.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        return _error_frame("", _INVALID, f"{where}: {problem['msg']}".removeprefix(": "))


def _unknown_tokens_frame(request: Request, keys: list[tuple[int, bytes]]) -> str:
    names = ", ".join(f"{token.decode()} (exchangeType {kind})" for kind, token in keys[:3])
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return _error_frame(
        request.correlationID, _INVALID, f"not in the recording's instruments: {names}{more}"
    )


def _too_many_frame(request: Request, count: int) -> str:
    return _error_frame(
        request.correlationID,
        _LIMIT,
        f"{count} tokens, a connection carries {TOKENS_PER_CONNECTION_MAX}",
    )


def _error_frame(correlation_id: str, code: str, message: str) -> str:
    """Return the JSON that the broker answers a wrong request with."""
    return json.dumps({"correlationID": correlation_id, "errorCode": code, "errorMessage": message})
