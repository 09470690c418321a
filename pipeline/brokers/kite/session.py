"""Kite's half of the market data WebSocket, without the socket. Pure.

Some facts about the stream:
- Nothing confirms a subscription. Subscribed tokens come in quote mode until told otherwise, so
  after a connect a token may come in quote before its mode takes effect.
- Ticks are conflated snapshots without a number: two equal ones in a row are two ticks. What comes
  first after subscribing is a snapshot of every instrument, however old.
- With no tick to send there is a heartbeat every 1 to 2 s, one byte. Nobody asks for pings.
- The address contains the login.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from urllib.parse import quote_plus, urlencode

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.contract import Received
from pipeline.brokers.kite.tokens import Tokens
from pipeline.brokers.kite.wire import WHOLE_ROW, decode, encode, frame, whole
from pipeline.brokers.notices import Notices, Said, notice_of
from pipeline.records import TICK, TICK_WITH_DEPTH
from pipeline.settings import FeedSettings, Instrument, Secrets

TOKENS_PER_MESSAGE_MAX = 200
CONNECTIONS_MAX = 3
TOKENS_PER_CONNECTION_MAX = 3_000
HEARTBEAT_BYTES = 1

# How long after a connect a tick that is known already is taken for a snapshot. The server sends
# snapshots at once; longer, and a price that came back to where it was would count as one.
SNAPSHOTS_NS_MAX = 5 * 1_000_000_000

_NO_TICKS = np.empty(0, TICK)
_NOTHING = Received(_NO_TICKS)
_REFUSED = Received(_NO_TICKS, refused=1)

# What two ticks of a mode have in common when they say the same.
_SAID = {
    "ltp": ("price_e4",),
    "quote": ("price_e4", "quantity", "day_volume"),
    "full": ("price_e4", "quantity", "day_volume", "bid_e4", "ask_e4"),
}


class KiteSession:
    """The ``MarketSession`` of Kite for one connection."""

    headers = ("X-Kite-Version: 3",)
    ping = ""
    ping_interval_ns = 0

    def __init__(
        self,
        feed: FeedSettings,
        instruments: Sequence[Instrument],
        secrets: Secrets,
        *,
        depth: bool = False,
        newest: NDArray[np.void] | None = None,
    ) -> None:
        """Raises SettingsError for a token that is not one of Kite's. With ``depth`` the rows are
        TICK_WITH_DEPTH. ``newest`` has the newest TICK of each instrument, 0 = none yet, and is
        where the session notes them; left out, nobody knows any."""
        assert len(instruments) <= TOKENS_PER_CONNECTION_MAX, "one connection carries no more"
        self.address = self.url = feed.url
        self.log_in(secrets)
        self._notices = Notices()
        self._mode = feed.mode
        self._row_type = TICK_WITH_DEPTH if depth else TICK
        self._tokens = Tokens(instruments)
        # A packet without a time is not of mode full yet, or nothing was traded: no hours and no
        # day can be told by it.
        self._timed = feed.mode == "full"
        self._newest = np.zeros(len(instruments), TICK) if newest is None else newest
        self._newest_whole = self._newest.view(WHOLE_ROW)
        self._newest_bytes = self._newest.data.cast("B")
        self._before = np.zeros(len(instruments), TICK)  # the newest when the connection was lost
        self._snapshots_come = False
        self._opened_ns = 0

    def __repr__(self) -> str:
        return f"KiteSession({self.address}, mode {self._mode}, {len(self._newest)} tokens)"

    def log_in(self, secrets: Secrets) -> bool:
        before, login = self.url, login_query(secrets)
        self.url = f"{self.address}{'&' if '?' in self.address else '?'}{urlencode(login)}"
        self._secrets = (*login.values(), *map(quote_plus, login.values()))
        return self.url != before

    def on_open(self) -> Sequence[str]:
        """Return the subscription of every instrument and its mode, 200 tokens in a message."""
        self._before[:] = self._newest
        self._snapshots_come = bool(self._newest["price_e4"].any())
        self._opened_ns = 0
        return list(self._subscription())

    def _subscription(self) -> Iterator[str]:
        tokens = self._tokens.numbers.tolist()
        for start in range(0, len(tokens), TOKENS_PER_MESSAGE_MAX):
            batch = tokens[start : start + TOKENS_PER_MESSAGE_MAX]
            yield json.dumps({"a": "subscribe", "v": batch})
            if self._mode != "quote":  # which subscribing gives
                yield json.dumps({"a": "mode", "v": [self._mode, batch]})

    def on_text(self, text: str, now_ns: int) -> Received:
        """Pass on orders, errors and messages as notices, secrets removed and a few of each kind
        at once; refuse the rest."""
        kind, _ = _described(text)
        if kind is Said.TEXT:
            return _REFUSED
        notice = notice_of(text, lambda masked: _described(masked)[1], self._secrets)
        return Received(_NO_TICKS, notice=self._notices.tell(kind, notice, now_ns))

    def on_binary(self, data: bytes | memoryview, now_ns: int) -> Received:
        if len(data) == HEARTBEAT_BYTES:
            return _NOTHING
        ticks, refused, skipped = decode(
            data, self._tokens, now_ns, timed=self._timed, row_type=self._row_type
        )
        if not len(ticks):
            return Received(ticks, refused=refused, skipped=skipped)
        count = len(ticks)
        if self._snapshots_come:
            ticks = self._without_snapshots(ticks, now_ns)
        self._remember(ticks)
        return Received(ticks, (), count - len(ticks), refused, skipped)

    def encoded(self, ticks: NDArray[np.void]) -> bytes:
        return frame(encode(self._mode, ticks, self._tokens))

    def _remember(self, ticks: NDArray[np.void]) -> None:
        if len(ticks) == 1:  # several times quicker than what numpy does for many
            start = ticks["instrument"].item() * TICK.itemsize
            self._newest_bytes[start : start + TICK.itemsize] = ticks.tobytes()[: TICK.itemsize]
            return
        bare = ticks if self._row_type is TICK else np.ascontiguousarray(ticks["tick"])
        self._newest_whole[ticks["instrument"]] = whole(bare)

    def _without_snapshots(self, ticks: NDArray[np.void], now_ns: int) -> NDArray[np.void]:
        """Return the ticks that say something new since the connection was lost.

        An instrument of which something new has come is through with its snapshot.
        """
        self._opened_ns = self._opened_ns or now_ns
        if now_ns - self._opened_ns > SNAPSHOTS_NS_MAX:
            self._snapshots_come = False
            return ticks
        before = self._before[ticks["instrument"]]
        known = ticks["ts_event_ns"] <= before["ts_event_ns"]
        for name in _SAID[self._mode]:
            known &= ticks[name] == before[name]
        known |= ticks["ts_event_ns"] < before["ts_event_ns"]
        new: NDArray[np.void] = ticks[~known]
        self._before[new["instrument"]] = 0
        return new


def login_query(secrets: Secrets) -> dict[str, str]:
    """Return the login as the query of the address: secrets, never to be logged."""
    return {
        "api_key": secrets.api_key.get_secret_value(),
        "access_token": secrets.access_token.get_secret_value(),
    }


def _described(text: str) -> tuple[Said, str]:
    """Return the kind of a text, and an order, error or message for a person on one line."""
    nothing = (Said.TEXT, "")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return nothing
    if not isinstance(message, dict) or "data" not in message:
        return nothing
    data = message["data"]
    match message.get("type"):
        case "order" if isinstance(data, dict):
            names = ("order_id", "status", "transaction_type", "tradingsymbol", "filled_quantity")
            fields = ", ".join(f"{name} {data[name]!r}" for name in names if name in data)
            return Said.ORDER, f"Kite order: {fields}"
        case "error" | "message" as kind:
            return Said(kind), f"Kite {kind}: {data!r}"
    return nothing
