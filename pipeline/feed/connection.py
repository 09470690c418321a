"""One WebSocket, opened again whenever it is lost. The only owner of its reconnecting (R13).

websocket-client shakes hands (``connecting``); from then on this file receives as much as there is
at once, and ``frames`` splits it. What is sent is small, so a socket that does not take it whole is
as good as lost: nothing here waits for the other side for longer than 50 ms.
"""

from __future__ import annotations

import logging
import random
import socket as sockets
import ssl
import struct
import time
from contextlib import suppress
from time import monotonic_ns, time_ns

import numpy as np
import websocket
from numpy.typing import NDArray

from pipeline.brokers.contract import MarketSession, Received
from pipeline.errors import AuthRefused, FeedLost, SettingsError, explain
from pipeline.feed.connecting import Attempt, masked
from pipeline.feed.frames import Frame, FrameError, Frames, Opcode
from pipeline.feed.hours import EARLY_NS, SessionHours
from pipeline.feed.reconnecting import Failure, Outage, ReconnectPolicy
from pipeline.records import TICK
from pipeline.settings import FeedSettings, load_secrets

log = logging.getLogger("feed")

RECEIVE_SECONDS_MAX = 0.05
LOOK_INTERVAL_NS = 50_000_000  # how often what no frame tells is looked after
LOGIN_INTERVAL_NS = 1_000_000_000  # how often a login that was refused is read again
ATTEMPT_TIMEOUTS = 6  # each step of an attempt has the timeout; all of them together, this many
CLOSE_NORMAL = 1000
END_OF_RECORDING = "end of recording"
LOGIN_REFUSED, TOO_MANY = (401, 403), 429

_NOTHING = np.zeros(0, TICK)
_NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Connection:
    """A ``MarketSession`` on a real socket."""

    def __init__(
        self,
        session: MarketSession,
        feed: FeedSettings,
        hours: SessionHours | None = None,
        *,
        ever_connected: bool = False,
    ) -> None:
        """Say with ``ever_connected`` that the address answered before, to a feed that died."""
        self._session = session
        self._feed = feed
        self._hours = hours or SessionHours(None)
        policy = ReconnectPolicy(
            delay_ns=int(feed.reconnect_delay_seconds * 1e9),
            healthy_ns=int(feed.healthy_seconds * 1e9),
            connect_attempts_max=feed.connect_attempts_max,
        )
        self._outage = Outage(policy, ever_connected=ever_connected)
        self._attempt: Attempt | None = None
        self._attempt_until_ns = self._login_at_ns = 0
        self._socket: sockets.socket | None = None
        self._frames = Frames()
        self._left = _NOTHING  # ticks of the last frame that were more than asked for
        self._received_ns = self._look_at_ns = self._next_ping_ns = 0
        self.ended = False
        self.duplicates = 0
        self.refused = 0
        self.skipped = 0
        self.outages = 0

    # Receiving -------------------------------------------------------------------------------

    def receive(self, limit: int) -> NDArray[np.void]:
        """Return at most ``limit`` ticks of one frame, possibly none; blocks for 50 ms at most.

        What a frame has beyond the limit comes with the next calls. Connects when there is no
        connection and the time for it has come. Raises AuthRefused and FeedLost.
        """
        rows = self._left if len(self._left) else self._next_ticks()
        if len(rows) <= limit:
            self._left = _NOTHING
            return rows
        self._left = rows[limit:]
        return rows[:limit]

    def _next_ticks(self) -> NDArray[np.void]:
        if self._socket is None:
            self._connect_when_due()
            return _NOTHING
        try:
            frame = self._frames.next() or self._receive_frame(self._socket)
            now_ns = self._received_ns if frame else monotonic_ns()
            if now_ns >= self._look_at_ns:
                self._look(self._socket, now_ns)
            return self._meaning(frame) if frame else _NOTHING
        except (FrameError, OSError) as error:
            self._lost(f"{type(error).__name__}: {error}")
            return _NOTHING

    def _receive_frame(self, socket: sockets.socket) -> Frame | None:
        """Receive what there is; return the first frame that is whole by it."""
        try:
            count = socket.recv_into(self._frames.space())
        except _NOT_YET:
            return None
        except TimeoutError as error:
            if error.errno is not None:  # not our 50 ms, but the kernel's verdict
                raise
            return None
        if not count:
            raise ConnectionResetError("the other side is gone without a word")
        self._received_ns = monotonic_ns()
        self._frames.received(count)
        return self._frames.next()

    def _meaning(self, frame: Frame) -> NDArray[np.void]:
        opcode, data = frame
        if opcode == Opcode.BINARY:
            return self._count(self._session.on_binary(data, self._received_ns))
        if opcode == Opcode.TEXT:
            text = str(data, "utf-8", "replace")
            return self._count(self._session.on_text(text, self._received_ns))
        if opcode == Opcode.PING:
            self._send(Opcode.PONG, bytes(data))
        elif opcode == Opcode.CLOSE:
            self._closed_by_peer(bytes(data))
        return _NOTHING

    def _count(self, received: Received) -> NDArray[np.void]:
        self.duplicates += received.duplicates
        self.refused += received.refused
        self.skipped += received.skipped
        if received.notice:
            log.warning("broker says: %s", received.notice)
        for reply in received.replies:
            self._send(Opcode.TEXT, reply.encode())
        return received.ticks

    def _send(self, opcode: Opcode, data: bytes) -> None:
        assert self._socket is not None, "there is a connection"
        self._socket.sendall(masked(opcode, data))

    def _look(self, socket: sockets.socket, now_ns: int) -> None:
        """Look after what no frame tells: silence, the next ping, the end of an outage."""
        self._look_at_ns = now_ns + LOOK_INTERVAL_NS
        silence_ns = now_ns - self._received_ns
        if silence_ns > self._feed.silence_seconds_max * 1e9:
            raise TimeoutError(f"nothing arrived for {silence_ns / 1e9:.0f} s")
        if self._session.ping and now_ns >= self._next_ping_ns:
            self._next_ping_ns = now_ns + self._session.ping_interval_ns
            self._send(Opcode.TEXT, self._session.ping.encode())
        lasted_ns = self._outage.healed(now_ns)
        if lasted_ns is not None:
            log.warning(
                "connected again to %s after %.1f s", self._session.address, lasted_ns / 1e9
            )

    # Connecting ------------------------------------------------------------------------------

    def _connect_when_due(self) -> None:
        if self.ended:
            return
        if self._attempt is None:
            self._begin_attempt_when_due(monotonic_ns())
        elif self._attempt.wait(RECEIVE_SECONDS_MAX):
            attempt, self._attempt = self._attempt, None
            self._take_up(attempt)
        elif monotonic_ns() > self._attempt_until_ns:
            self._attempt.abandon()
            self._attempt = None
            self._failed(Failure.NETWORK, "the handshake does not end")

    def _begin_attempt_when_due(self, now_ns: int) -> None:
        has_another_login = self._has_another_login(now_ns)
        wait_ns = self._outage.retry_at_ns - now_ns
        if wait_ns > 0 and not has_another_login:
            time.sleep(min(RECEIVE_SECONDS_MAX, wait_ns / 1e9))
            return
        session, timeout_s = self._session, self._feed.connect_timeout_seconds
        self._attempt = Attempt(session.url, session.headers, session.on_open(), timeout_s)
        self._attempt_until_ns = now_ns + int(ATTEMPT_TIMEOUTS * timeout_s * 1e9)

    def _take_up(self, attempt: Attempt) -> None:
        try:
            self._opened(attempt.result())
        except websocket.WebSocketBadStatusException as error:
            self._answered_with(error.status_code, error.resp_headers or {})
        except (websocket.WebSocketException, OSError) as error:
            self._failed(Failure.NETWORK, f"{type(error).__name__}: {error}")

    def _opened(self, socket: sockets.socket) -> None:
        socket.settimeout(RECEIVE_SECONDS_MAX)
        self._socket, self._frames = socket, Frames()
        self._received_ns = now_ns = monotonic_ns()
        self._next_ping_ns = now_ns + self._session.ping_interval_ns
        self._look_at_ns = 0
        if not self._outage.ever_connected:
            log.info("connected to %s", self._session.address)
        self._outage.connected(now_ns)

    def _answered_with(self, status: int, headers: dict[str, str]) -> None:
        """Take the answer to a handshake that was refused."""
        if status in LOGIN_REFUSED:
            if not self._outage.ever_connected and self._feed.credentials != "file":
                raise AuthRefused(self._login_refused(status))
            self._login_at_ns = 0
            self._failed(Failure.LOGIN, self._login_refused(status))
        elif status == TOO_MANY:
            asked_s = headers["retry-after"] if "retry-after" in headers else ""
            asked_ns = int(asked_s) * 1_000_000_000 if asked_s.isdecimal() else 0
            self._failed(Failure.CROWDED, f"HTTP {status}: too many connections", asked_ns)
        else:
            self._failed(Failure.NETWORK, f"HTTP {status}")

    def _has_another_login(self, now_ns: int) -> bool:
        """Read the secrets file again, once a second, and tell whether it has another login."""
        if self._feed.credentials != "file" or now_ns < self._login_at_ns:
            return False
        self._login_at_ns = now_ns + LOGIN_INTERVAL_NS
        try:
            return self._session.log_in(load_secrets(self._feed, {}))
        except SettingsError as error:  # it may be being written
            if self._outage.is_news(str(error)):
                log.warning("%s", error)
            return False

    # Losing ----------------------------------------------------------------------------------

    def _closed_by_peer(self, data: bytes) -> None:
        code = struct.unpack_from("!H", data)[0] if len(data) >= 2 else 1005
        reason = data[2:].decode("utf-8", "replace")
        self._send(Opcode.CLOSE, data[:2])
        if code == CLOSE_NORMAL and reason == END_OF_RECORDING:
            log.info("the recording ended")
            self._drop()
            self.ended = True
            return
        self._lost(f"closed by the other side with {code} {reason}".rstrip())

    def _lost(self, why: str) -> None:
        self._drop()
        self.outages += 1
        opens_in_ns = self._opens_in_ns()
        self._outage.lost(monotonic_ns(), opens_in_ns=opens_in_ns, chance=random.random())
        self._tell(f"connection lost: {why}", opens_in_ns)

    def _failed(self, failure: Failure, why: str, asked_ns: int = 0) -> None:
        opens_in_ns = self._opens_in_ns()
        pause_ns = self._outage.failed(
            failure,
            monotonic_ns(),
            opens_in_ns=opens_in_ns,
            chance=random.random(),
            asked_ns=asked_ns,
        )
        if pause_ns is None:
            raise self._feed_lost(why)
        what = f"cannot connect to {self._session.address}: {why}"
        if self._outage.ever_connected or failure is Failure.LOGIN:
            self._tell(what, opens_in_ns)
        else:
            failures, pause_s = self._outage.failures, pause_ns / 1e9
            log.warning("%s; attempt %d, next in %.1f s", what, failures, pause_s)

    def _opens_in_ns(self) -> int:
        return self._hours.opens_in_ns(time_ns(), EARLY_NS)

    def _tell(self, what: str, opens_in_ns: int) -> None:
        """Alarm once in an outage; other reasons are told once each. Outside hours, nothing."""
        news = self._outage.is_news(what)
        if self._outage.alarm(in_session=not opens_in_ns):
            log.error("%s", what)
        elif news and not opens_in_ns:
            log.warning("%s", what)

    def _login_refused(self, status: int) -> str:
        can_change = self._feed.credentials == "file"
        return explain(
            f"{self._session.address} refused the login with HTTP {status}",
            rule=f"credentials = {self._feed.credentials!r} must be today's",
            cure=f"log in again and put the token into {self._feed.secrets_file}: it is read again "
            "by itself"
            if can_change
            else "log in again and renew the token; it ends every day",
        )

    def _feed_lost(self, why: str) -> FeedLost:
        return FeedLost(
            explain(
                f"{self._session.address}: {why}; gave up after {self._outage.failures} attempts",
                rule="an address that never answered is tried "
                f"feed.connect_attempts_max = {self._feed.connect_attempts_max} times",
                cure="start `tickpipe simulate FILE` first, or correct feed.url"
                if "127.0.0.1" in self._session.address
                else "check the network and the broker's status page",
            )
        )

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """Close the socket, without waiting for the other side."""
        if self._attempt is not None:
            self._attempt.abandon()
        if self._socket is not None:
            with suppress(OSError):
                self._send(Opcode.CLOSE, CLOSE_NORMAL.to_bytes(2, "big"))
        self._drop()
