"""One WebSocket, opened again whenever it is lost. The only owner of reconnecting (R13).

Some facts. websocket-client keeps a half-received frame over a timeout, so a short timeout loses
nothing and lets signals and heartbeats through. From 1.9 on it hands a received CLOSE frame to
the caller like any other frame. An upgrade that is answered with 401 or 403 is about the token,
and trying again with the same one can only get the account locked.
"""

from __future__ import annotations

import logging
import struct
import time
from time import monotonic_ns

import numpy as np
import websocket
from numpy.typing import NDArray

from pipeline.brokers.contract import MarketSession, Received
from pipeline.errors import AuthRefused, FeedLost, explain
from pipeline.feed.reconnecting import ReconnectPolicy
from pipeline.records import TICK
from pipeline.settings import FeedSettings

log = logging.getLogger("feed")

RECEIVE_SECONDS_MAX = 0.05
CLOSE_NORMAL = 1000
END_OF_RECORDING = "end of recording"

_NOTHING = np.zeros(0, TICK)


class Connection:
    """A ``MarketSession`` on a real socket."""

    def __init__(self, session: MarketSession, feed: FeedSettings) -> None:
        self._session = session
        self._feed = feed
        self._policy = ReconnectPolicy(
            feed.reconnect_attempts_max, int(feed.reconnect_delay_seconds * 1e9)
        )
        self._socket: websocket.WebSocket | None = None
        self._left = _NOTHING  # ticks of the last frame that were more than asked for
        self._failures = 0
        self._ever_connected = False
        self._retry_at_ns = 0
        self._last_inbound_ns = 0
        self._next_ping_ns = 0
        self.ended = False
        self.duplicates = 0
        self.refused = 0
        self.skipped = 0
        self.outages = 0

    def receive(self, limit: int) -> NDArray[np.void]:
        """Return at most ``limit`` ticks of one frame, possibly none; blocks for 50 ms at most.

        What a frame has beyond the limit comes with the next calls. Connects when there is no
        connection and the time for it has come. Raises AuthRefused and FeedLost.
        """
        rows = self._left if len(self._left) else self._next_frame()
        self._left = rows[limit:]
        return rows[:limit]

    def _next_frame(self) -> NDArray[np.void]:
        if self.ended:
            return _NOTHING
        now_ns = monotonic_ns()
        if self._socket is None:
            self._connect_when_due(now_ns)
            return _NOTHING
        try:
            self._keep_alive(self._socket, now_ns)
            return self._receive_frame(self._socket)
        except websocket.WebSocketTimeoutException:
            return _NOTHING
        except (websocket.WebSocketException, OSError) as error:
            self._lost(f"{type(error).__name__}: {error}")
            return _NOTHING

    def _connect_when_due(self, now_ns: int) -> None:
        if now_ns < self._retry_at_ns:
            time.sleep(min(RECEIVE_SECONDS_MAX, (self._retry_at_ns - now_ns) / 1e9))
            return
        try:
            self._connect()
        except websocket.WebSocketBadStatusException as error:
            if error.status_code in (401, 403):
                raise self._auth_refused(error.status_code) from None
            self._failed_to_connect(f"HTTP {error.status_code}")
        except (websocket.WebSocketException, OSError) as error:
            self._failed_to_connect(f"{type(error).__name__}: {error}")

    def _connect(self) -> None:
        self._socket = websocket.create_connection(
            self._session.url,
            timeout=self._feed.connect_timeout_seconds,
            header=list(self._session.headers),
            skip_utf8_validation=True,
        )
        self._socket.settimeout(RECEIVE_SECONDS_MAX)
        for text in self._session.on_open():
            self._socket.send(text)
        self._failures = 0
        self._ever_connected = True
        self._last_inbound_ns, silent_since_ns = monotonic_ns(), self._last_inbound_ns
        self._next_ping_ns = self._last_inbound_ns + self._session.ping_interval_ns
        if silent_since_ns:
            outage_s = (self._last_inbound_ns - silent_since_ns) / 1e9
            log.warning("connected again to %s after %.1f s", self._session.address, outage_s)
        else:
            log.info("connected to %s", self._session.address)

    def _keep_alive(self, socket: websocket.WebSocket, now_ns: int) -> None:
        silence_ns = now_ns - self._last_inbound_ns
        if silence_ns > self._feed.silence_seconds_max * 1e9:
            raise websocket.WebSocketException(f"nothing arrived for {silence_ns / 1e9:.0f} s")
        if self._session.ping and now_ns >= self._next_ping_ns:
            self._next_ping_ns = now_ns + self._session.ping_interval_ns
            socket.send(self._session.ping)

    def _receive_frame(self, socket: websocket.WebSocket) -> NDArray[np.void]:
        opcode, data = socket.recv_data(control_frame=True)
        now_ns = self._last_inbound_ns = monotonic_ns()
        if opcode == websocket.ABNF.OPCODE_BINARY:
            return self._count(self._session.on_binary(data, now_ns))
        if opcode == websocket.ABNF.OPCODE_TEXT:
            return self._count(self._session.on_text(data.decode("utf-8", "replace"), now_ns))
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            self._closed_by_peer(data)
        return _NOTHING

    def _count(self, received: Received) -> NDArray[np.void]:
        self.duplicates += received.duplicates
        self.refused += received.refused
        self.skipped += received.skipped
        if received.notice:
            log.warning("broker says: %s", received.notice)
        for reply in received.replies:
            assert self._socket is not None, "a frame came from somewhere"
            self._socket.send(reply)
        return received.ticks

    def _closed_by_peer(self, data: bytes) -> None:
        code = struct.unpack_from("!H", data)[0] if len(data) >= 2 else 1005
        reason = data[2:].decode("utf-8", "replace")
        if code == CLOSE_NORMAL and reason == END_OF_RECORDING:
            log.info("the recording ended")
            self._drop()
            self.ended = True
            return
        self._lost(f"closed by the other side with {code} {reason}".rstrip())

    def _lost(self, why: str) -> None:
        self.outages += 1
        log.warning("connection lost: %s; outage %d", why, self.outages)
        self._drop()

    def _failed_to_connect(self, why: str) -> None:
        self._drop()
        self._failures += 1
        pause_ns = self._policy.pause_ns(self._failures, ever_connected=self._ever_connected)
        if pause_ns is None:
            raise self._feed_lost(why)
        self._retry_at_ns = monotonic_ns() + pause_ns
        log.warning(
            "cannot connect to %s: %s; attempt %d, next in %.1f s",
            self._session.address,
            why,
            self._failures,
            pause_ns / 1e9,
        )

    def _auth_refused(self, status: int) -> AuthRefused:
        return AuthRefused(
            explain(
                f"{self._session.address} refused the login with HTTP {status}",
                rule=f"credentials = {self._feed.credentials!r} must be today's",
                cure="log in again and renew the token; it ends every day",
            )
        )

    def _feed_lost(self, why: str) -> FeedLost:
        attempts_max = f"feed.reconnect_attempts_max = {self._feed.reconnect_attempts_max}"
        if not self._ever_connected:
            attempts_max = f"an address that never answered is tried {self._failures} times"
        return FeedLost(
            explain(
                f"{self._session.address}: {why}; gave up after {self._failures} attempts",
                rule=attempts_max,
                cure="start `tickpipe simulate FILE` first, or correct feed.url"
                if "127.0.0.1" in self._session.address
                else "check the network and the broker's status page",
            )
        )

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close(timeout=0)
            self._socket = None
        self._retry_at_ns = 0

    def close(self) -> None:
        """Close the socket; bounded in time on a dead one."""
        self._drop()
