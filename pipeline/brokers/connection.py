"""The WebSocket over which order updates come, opened again whenever it is lost.

Updates repeat, go stale and go missing, so nothing depends on it: it is what is quicker than
polling. The only owner of its reconnecting.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic

import websocket

from pipeline.brokers.notices import masked

log = logging.getLogger("risk")

_LOOK_SECONDS = 0.25  # how often to look whether it is to end
_DELAY_SECONDS = 0.5
_DELAY_SECONDS_MAX = 30.0
_LOGIN_REFUSED = (401, 403)


class UpdatesConnection:
    """Carries text frames to ``on_text``, from its own thread, until it is stopped."""

    def __init__(
        self,
        url: str,
        headers: Sequence[str],
        secrets: Sequence[str],
        *,
        timeout_s: float,
        silence_s: float,
        stopped: threading.Event,
        on_open: Callable[[], None],
        on_text: Callable[[str], None],
    ) -> None:
        self._url = url
        self._headers = list(headers)
        self._secrets = secrets
        self._timeout_s = timeout_s
        self._silence_s = silence_s
        self._stopped = stopped
        self._on_open = on_open
        self._on_text = on_text
        self._lost = False

    def run(self) -> None:
        """Connect and receive, again and again."""
        delay_s = _DELAY_SECONDS
        while not self._stopped.is_set():
            opened = monotonic()
            try:
                self._converse()
            except websocket.WebSocketBadStatusException as error:
                refused = error.status_code in _LOGIN_REFUSED
                delay_s = _DELAY_SECONDS_MAX if refused else delay_s
                self._say_lost(f"HTTP {error.status_code}")
            except (websocket.WebSocketException, OSError) as error:
                self._say_lost(f"{type(error).__name__}: {error}")
            if monotonic() - opened > _DELAY_SECONDS_MAX:
                delay_s = _DELAY_SECONDS
            self._stopped.wait(delay_s)
            delay_s = min(2 * delay_s, _DELAY_SECONDS_MAX)

    def _converse(self) -> None:
        socket = websocket.create_connection(
            self._url, timeout=self._timeout_s, header=self._headers
        )
        try:
            socket.settimeout(_LOOK_SECONDS)
            if self._lost:
                self._lost = False
                log.warning("order updates come again")
            self._on_open()
            self._receive(socket)
        finally:
            with suppress(websocket.WebSocketException, OSError):
                socket.shutdown()  # type: ignore[no-untyped-call]

    def _receive(self, socket: websocket.WebSocket) -> None:
        heard = monotonic()
        while not self._stopped.is_set():
            try:
                opcode, data = socket.recv_data(control_frame=True)
            except websocket.WebSocketTimeoutException:
                if monotonic() - heard > self._silence_s:
                    raise
                continue
            heard = monotonic()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                raise websocket.WebSocketConnectionClosedException("closed by the broker")
            if opcode == websocket.ABNF.OPCODE_TEXT:
                self._on_text(data.decode("utf-8", "replace"))

    def _say_lost(self, why: str) -> None:
        """Log the first failure of an outage, not each of them."""
        if not self._lost and not self._stopped.is_set():
            self._lost = True
            log.warning("order updates are lost (polling goes on): %s", masked(why, self._secrets))
