"""SmartAPI's half of the market data WebSocket, without the socket. Pure.

Some facts about the stream:
- Nothing confirms a subscription; a wrong one is answered by a JSON text frame, or by nothing.
- Right after a reconnect a tick may arrive a second time, with the same sequence number.
- Exchange time can go back by half a second while the sequence advances, so order and identity
  go by the sequence. It is feed-wide; per instrument it only rises.
- ``ping`` as a text frame is due at least every 30 s and answered by ``pong``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.contract import Received
from pipeline.brokers.notices import Notices, Said, notice_of
from pipeline.brokers.smartapi.wire import (
    EXCHANGE_TYPES,
    MODES,
    decode,
    encode,
    instrument_key,
)
from pipeline.records import TICK, TICK_WITH_DEPTH
from pipeline.settings import FeedSettings, Instrument, Secrets

TOKENS_PER_MESSAGE_MAX = 200
CONNECTIONS_MAX = 3
TOKENS_PER_CONNECTION_MAX = 1_000
PING_SECONDS_MAX = 10.0

# A sequence that went back is a duplicate, unless the exchange's clock has moved on by more than
# any reordering explains: then the server counts afresh, and to drop would be to drop for good.
RENUMBERED_NS_MIN = 60 * 1_000_000_000

_SUBSCRIBE = 1
_WORDS = TICK.itemsize // 8
_EVENT_WORD = 1
assert TICK.names is not None
assert TICK.names[:2] == ("seq", "ts_event_ns"), "the words that are looked at"
_NO_TICKS = np.empty(0, TICK)
_NOTHING = Received(_NO_TICKS)


class SmartApiSession:
    """The ``MarketSession`` of SmartAPI for one connection."""

    ping = "ping"

    def __init__(
        self,
        feed: FeedSettings,
        instruments: Sequence[Instrument],
        secrets: Secrets,
        *,
        depth: bool = False,
        newest: NDArray[np.void] | None = None,
    ) -> None:
        """With ``depth`` the rows are TICK_WITH_DEPTH. ``newest`` has the newest TICK of each
        instrument, its ``seq`` the broker's sequence, and is where the session notes them; left
        out, nobody knows any."""
        assert len(instruments) <= TOKENS_PER_CONNECTION_MAX, "one connection carries no more"
        self.url = self.address = feed.url
        self.headers: tuple[str, ...] = ()
        self.log_in(secrets)
        self.ping_interval_ns = int(min(PING_SECONDS_MAX, feed.silence_seconds_max / 3) * 1e9)
        self._notices = Notices()
        self._mode_name, self._mode = feed.mode, MODES[feed.mode]
        self._row_type = TICK_WITH_DEPTH if depth else TICK
        self._instruments = tuple(instruments)
        self._instrument_of = {instrument_key(row): i for i, row in enumerate(instruments)}
        newest = np.zeros(len(instruments), TICK) if newest is None else newest
        self._newest_bytes = newest.data.cast("B")
        self._newest_words = self._newest_bytes.cast("Q")  # eight of each, see records.py

    def __repr__(self) -> str:
        return f"SmartApiSession({self.url}, mode {self._mode}, {len(self._instruments)} tokens)"

    def log_in(self, secrets: Secrets) -> bool:
        before = self.headers
        self.headers = tuple(f"{name}: {value}" for name, value in auth_headers(secrets).items())
        self._secrets = tuple(header.rpartition(" ")[2] for header in self.headers)
        return self.headers != before

    def on_open(self) -> Sequence[str]:
        """Return the subscription of every instrument, at most 200 tokens in a message."""
        return [
            json.dumps(
                {
                    "correlationID": f"tp{number:04d}",
                    "action": _SUBSCRIBE,
                    "params": {"mode": self._mode, "tokenList": _token_list(batch)},
                }
            )
            for number, batch in enumerate(_batches(self._instruments), 1)
        ]

    def on_text(self, text: str, now_ns: int) -> Received:
        """Ignore pongs; pass on everything else as a notice, secrets removed and a few of each kind
        at once. What is no error means nothing and is refused too."""
        if text == "pong":
            return _NOTHING
        kind, _ = _described(text)
        notice = notice_of(text, lambda masked: _described(masked)[1], self._secrets)
        told = self._notices.tell(kind, notice, now_ns)
        return Received(_NO_TICKS, refused=int(kind is Said.TEXT), notice=told)

    def on_binary(self, data: bytes | memoryview, now_ns: int) -> Received:
        decoded = decode(data, self._instrument_of, now_ns, self._row_type)
        if decoded is None:
            return Received(_NO_TICKS, refused=1, skipped=len(data))
        ticks, instrument, sequence, skipped = decoded
        notice = ""
        before = self._newest_words[instrument * _WORDS]
        if 0 < sequence <= before:
            if not self._counts_afresh(ticks, instrument):
                return Received(_NO_TICKS, duplicates=1, skipped=skipped)
            went_back = (
                f"{self._instruments[instrument].symbol}: sequence went from "
                f"{before} back to {sequence}, the server counts afresh"
            )
            notice = self._notices.tell(Said.SEQUENCE, went_back, now_ns)
        self._note(ticks, instrument, sequence or before)
        return Received(ticks, (), 0, 0, skipped, notice)

    def encoded(self, ticks: NDArray[np.void]) -> bytes:
        return encode(self._mode_name, ticks, list(self._instrument_of), 0).tobytes()

    def _note(self, ticks: NDArray[np.void], instrument: int, sequence: int) -> None:
        start = instrument * TICK.itemsize
        self._newest_bytes[start : start + TICK.itemsize] = ticks.tobytes()[: TICK.itemsize]
        self._newest_words[instrument * _WORDS] = sequence

    def _counts_afresh(self, ticks: NDArray[np.void], instrument: int) -> bool:
        newest_ns = self._newest_words[instrument * _WORDS + _EVENT_WORD]
        return int(ticks["ts_event_ns"][0]) - newest_ns >= RENUMBERED_NS_MIN


def auth_headers(secrets: Secrets) -> dict[str, str]:
    """Return the headers of the upgrade request: secrets, never to be logged."""
    # The broker's own login call returns the jwt with "Bearer " already in front.
    jwt = secrets.jwt.get_secret_value().removeprefix("Bearer ")
    return {
        "Authorization": f"Bearer {jwt}",
        "x-api-key": secrets.api_key.get_secret_value(),
        "x-client-code": secrets.client_code.get_secret_value(),
        "x-feed-token": secrets.feed_token.get_secret_value(),
    }


def _batches(instruments: Sequence[Instrument]) -> Iterator[Sequence[Instrument]]:
    for start in range(0, len(instruments), TOKENS_PER_MESSAGE_MAX):
        yield instruments[start : start + TOKENS_PER_MESSAGE_MAX]


def _token_list(instruments: Sequence[Instrument]) -> list[dict[str, object]]:
    tokens: dict[int, list[str]] = {}
    for row in instruments:
        tokens.setdefault(EXCHANGE_TYPES[row.exchange], []).append(row.token)
    return [{"exchangeType": kind, "tokens": names} for kind, names in tokens.items()]


def _described(text: str) -> tuple[Said, str]:
    """Return the kind of a text, and the text for a person: the fields of an error, or what came,
    on one line."""
    nothing = (Said.TEXT, f"SmartAPI sent text: {text!r}")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return nothing
    if isinstance(message, dict) and "errorCode" in message:
        code, why = message["errorCode"], message.get("errorMessage")
        return Said.ERROR, f"SmartAPI error {code!r}: {why!r}"
    return nothing
