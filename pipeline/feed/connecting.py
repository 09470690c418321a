"""Connecting, over and over: the attempts, the pauses between them, and what a person is told.

An attempt runs in a thread: name servers and handshakes take as long as they like, and neither
the other connections nor a stop waits for them. What comes and goes on a socket that was opened is
the connection's business.
"""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from time import monotonic_ns, time_ns

import websocket

from pipeline.brokers.contract import MarketSession
from pipeline.errors import AuthRefused, FeedLost, SettingsError, explain
from pipeline.feed.frames import Opcode
from pipeline.feed.hours import EARLY_NS, SessionHours
from pipeline.feed.reconnecting import Failure, Outage, ReconnectPolicy
from pipeline.settings import FeedSettings, load_secrets

log = logging.getLogger("feed")

LOGIN_INTERVAL_NS = 1_000_000_000  # how often a login that was refused is read again
ATTEMPT_TIMEOUTS = 6  # each step of an attempt has the timeout; all of them together, this many
LOGIN_REFUSED, TOO_MANY = (401, 403), 429


def masked(opcode: int, data: bytes) -> bytes:
    """Return the frame of a client."""
    frame: bytes = websocket.ABNF.create_frame(data, opcode).format()
    return frame


class Attempt:
    """The opening of one WebSocket, up to the last text that subscribes."""

    def __init__(
        self, url: str, headers: Sequence[str], texts: Sequence[str], timeout_s: float
    ) -> None:
        self._opened: Future[socket.socket] = Future()
        arguments = (url, list(headers), list(texts), timeout_s)
        threading.Thread(target=self._run, args=arguments, daemon=True).start()

    def _run(self, url: str, headers: list[str], texts: list[str], timeout_s: float) -> None:
        try:
            self._opened.set_result(_open(url, headers, texts, timeout_s))
        except BaseException as error:  # noqa: BLE001 - raised again by ``result``
            self._opened.set_exception(error)

    def wait(self, seconds: float) -> bool:
        """Wait for at most ``seconds``; tell whether the attempt is over."""
        return bool(wait_for_futures([self._opened], seconds).done)

    def result(self) -> socket.socket:
        """Return the socket. Raises what connecting raised; never waits."""
        return self._opened.result(0)

    def abandon(self) -> None:
        """Want no socket any more: one that is opened later is closed."""
        self._opened.add_done_callback(_close)


def _close(opened: Future[socket.socket]) -> None:
    if opened.exception() is None:
        opened.result().close()


def _open(url: str, headers: list[str], texts: list[str], timeout_s: float) -> socket.socket:
    """Raises WebSocketException and OSError."""
    opened = websocket.create_connection(url, timeout=timeout_s, header=headers)
    found = opened.sock
    assert found is not None, "it is open"
    try:
        for text in texts:
            found.sendall(masked(Opcode.TEXT, text.encode()))
    except OSError:
        found.close()
        raise
    return found


class Connecting:
    """Gets one socket after the other for one connection."""

    def __init__(
        self,
        session: MarketSession,
        feed: FeedSettings,
        hours: SessionHours,
        *,
        ever_connected: bool,
    ) -> None:
        """Say with ``ever_connected`` that the address is known to be right."""
        self._session = session
        self._feed = feed
        self._hours = hours
        policy = ReconnectPolicy(
            delay_ns=int(feed.reconnect_delay_seconds * 1e9),
            healthy_ns=int(feed.healthy_seconds * 1e9),
            connect_attempts_max=feed.connect_attempts_max,
        )
        self.outage = Outage(policy, ever_connected=ever_connected)
        self._attempt: Attempt | None = None
        self._attempt_until_ns = self._login_at_ns = 0

    def next_socket(self, seconds: float) -> socket.socket | None:
        """Return a socket on which everything was subscribed, None while there is none.

        Waits for it for at most ``seconds``. Raises AuthRefused and FeedLost.
        """
        if self._attempt is None:
            self._begin_when_due(monotonic_ns(), seconds)
        elif self._attempt.wait(seconds):
            attempt, self._attempt = self._attempt, None
            return self._take_up(attempt)
        elif monotonic_ns() > self._attempt_until_ns:
            self._attempt.abandon()
            self._attempt = None
            self._failed(Failure.NETWORK, "the handshake does not end")
        return None

    def _begin_when_due(self, now_ns: int, seconds: float) -> None:
        has_another_login = self._has_another_login(now_ns)
        wait_ns = self.outage.retry_at_ns - now_ns
        if wait_ns > 0 and not has_another_login:
            time.sleep(min(seconds, wait_ns / 1e9))
            return
        session, timeout_s = self._session, self._feed.connect_timeout_seconds
        self._attempt = Attempt(session.url, session.headers, session.on_open(), timeout_s)
        self._attempt_until_ns = now_ns + int(ATTEMPT_TIMEOUTS * timeout_s * 1e9)

    def _take_up(self, attempt: Attempt) -> socket.socket | None:
        try:
            opened = attempt.result()
        except websocket.WebSocketBadStatusException as error:
            self._answered_with(error.status_code, error.resp_headers or {})
        except (websocket.WebSocketException, OSError) as error:
            self._failed(Failure.NETWORK, f"{type(error).__name__}: {error}")
        else:
            if not self.outage.ever_connected:
                log.info("connected to %s", self._session.address)
            self.outage.connected(monotonic_ns())
            return opened
        return None

    def _answered_with(self, status: int, headers: dict[str, str]) -> None:
        """Take the answer to a handshake that was refused."""
        if status in LOGIN_REFUSED:
            if not self.outage.ever_connected and self._feed.credentials != "file":
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
            if self.outage.is_news(str(error)):
                log.warning("%s", error)
            return False

    def lost(self, why: str) -> None:
        """Note that the socket is no good any more."""
        opens_in_ns = self._opens_in_ns()
        self.outage.lost(monotonic_ns(), opens_in_ns=opens_in_ns, chance=random.random())
        self._tell(f"connection lost: {why}", opens_in_ns)

    def look(self, now_ns: int) -> None:
        """See whether the socket has become healthy, and say so after an outage."""
        was_told = self.outage.alarmed
        lasted_ns = self.outage.healed(now_ns)
        if lasted_ns is not None and was_told:
            log.warning(
                "connected again to %s after %.1f s", self._session.address, lasted_ns / 1e9
            )

    def _failed(self, failure: Failure, why: str, asked_ns: int = 0) -> None:
        opens_in_ns = self._opens_in_ns()
        pause_ns = self.outage.failed(
            failure,
            monotonic_ns(),
            opens_in_ns=opens_in_ns,
            chance=random.random(),
            asked_ns=asked_ns,
        )
        if pause_ns is None:
            raise self._feed_lost(why)
        what = f"cannot connect to {self._session.address}: {why}"
        if self.outage.ever_connected or failure is not Failure.NETWORK:
            self._tell(what, opens_in_ns)
        else:
            failures, pause_s = self.outage.failures, pause_ns / 1e9
            log.warning("%s; attempt %d, next in %.1f s", what, failures, pause_s)

    def _opens_in_ns(self) -> int:
        return self._hours.opens_in_ns(time_ns(), EARLY_NS)

    def _tell(self, what: str, opens_in_ns: int) -> None:
        """Alarm once in an outage; other reasons are told once each. Outside hours, one line."""
        is_first, is_news = not self.outage.was_told, self.outage.is_news(what)
        if self.outage.alarm(in_session=not opens_in_ns):
            log.error("%s", what)
        elif is_news and not opens_in_ns:
            log.warning("%s", what)
        elif is_first:
            log.info("%s; the session opens in %.0f min", what, opens_in_ns / 60e9)

    def _login_refused(self, status: int) -> str:
        cure = "log in again and renew the token; it ends every day"
        if self._feed.credentials == "file":
            cure = (
                f"log in again and put the token into {self._feed.secrets_file}: "
                "it is read again by itself"
            )
        return explain(
            f"{self._session.address} refused the login with HTTP {status}",
            rule=f"credentials = {self._feed.credentials!r} must be today's",
            cure=cure,
        )

    def _feed_lost(self, why: str) -> FeedLost:
        return FeedLost(
            explain(
                f"{self._session.address}: {why}; gave up after {self.outage.failures} attempts",
                rule="an address that never answered is tried "
                f"feed.connect_attempts_max = {self._feed.connect_attempts_max} times",
                cure="start `tickpipe simulate FILE` first, or correct feed.url"
                if "127.0.0.1" in self._session.address
                else "check the network and the broker's status page",
            )
        )

    def close(self) -> None:
        """Want no socket any more."""
        if self._attempt is not None:
            self._attempt.abandon()
