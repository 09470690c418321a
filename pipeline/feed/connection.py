"""One WebSocket and what comes on it. The only owner of its reconnecting (R13).

websocket-client shakes hands (``connecting``); from then on this file receives as much as there is
at once, and ``frames`` splits it. What is sent is small, so a socket that does not take it whole is
as good as lost: nothing here waits for the other side for longer than 50 ms.
"""

from __future__ import annotations

import logging
import os
import socket as sockets
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from time import monotonic_ns, time_ns

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.contract import MarketSession, Received
from pipeline.feed.connecting import Connecting, masked
from pipeline.feed.frames import Frame, FrameError, Frames, Opcode
from pipeline.feed.freshness import Findings, Freshness
from pipeline.feed.gaps import OpenGaps
from pipeline.feed.hours import SessionHours
from pipeline.feed.sharing import Share
from pipeline.records import TICK, GapReason
from pipeline.settings import FeedSettings

log = logging.getLogger("feed")

RECEIVE_SECONDS_MAX = 0.05
POLL_LOOKS = 100  # at a socket in poll mode, before heartbeat and stop have their turn
LOOK_INTERVAL_NS = 50_000_000  # how often what no frame tells is looked after
LATE_NS_MIN = 4 * LOOK_INTERVAL_NS  # a look so late comes from a process that did not run
CLOSE_NORMAL = 1000
END_OF_RECORDING = "end of recording"

_NOTHING = np.zeros(0, TICK)
_NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Stalled(Exception):
    """Bytes came, and no ticks where ticks were due."""


class Connection:
    """A ``MarketSession`` on a real socket."""

    def __init__(
        self,
        session: MarketSession,
        feed: FeedSettings,
        share: Share,
        hours: SessionHours | None = None,
        *,
        last_seq: Callable[[], int] = int,
        ever_connected: bool = False,
        blocks: bool = True,
        spin_bare: bool = False,
    ) -> None:
        """Carry the ``share`` of the run's instruments that ``session`` subscribes.

        ``last_seq`` gives the last tick on the ring. ``ever_connected`` says that the address
        answered before, to a feed that died. Without ``hours`` ticks may come at any time. With
        ``blocks`` false ``receive`` returns at once, for somebody who looks at others too; where
        the settings say poll, ``spin_bare`` never leaves the CPU between two looks.
        """
        self._session = session
        self._share = share
        self._hours = hours or SessionHours(None)
        self._last_seq = last_seq
        self._connecting = Connecting(session, feed, self._hours, ever_connected=ever_connected)
        self._freshness = Freshness(feed, len(share.instruments))
        self._gaps = OpenGaps(share.connection, share.first, len(share.instruments))
        self._socket: sockets.socket | None = None
        polls = feed.receive == "poll"
        self._patience_s = RECEIVE_SECONDS_MAX if blocks else 0.0
        self._socket_timeout_s = 0.0 if polls else self._patience_s
        self._looks = POLL_LOOKS if polls and blocks else 1
        self._between_looks = os.sched_yield if polls and not spin_bare else _nothing
        self._frames = Frames()
        self._unnoted = _NOTHING  # ticks that freshness has not seen
        self._left = _NOTHING  # ticks of the last frame that were more than asked for
        self._received_ns = self._look_at_ns = self._next_ping_ns = 0
        self._has_slept = False  # so long that the next look has to tell
        self.ended_gaps: list[NDArray[np.void]] = []
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
        self._left = _NOTHING
        if len(rows) > limit:
            self._left, rows = rows[limit:], rows[:limit]
        if self._gaps and len(rows):
            rows = rows.copy()  # the session may keep its own
            self.ended_gaps.append(self._gaps.end(rows, self._last_seq(), _ahead_ns()))
        return rows

    def _next_ticks(self) -> NDArray[np.void]:
        if self._socket is None:
            self._open()
            return _NOTHING
        if len(self._unnoted):  # they are published by now, and this delays none
            numbers = self._unnoted["instrument"]
            # For one tick numpy takes ten times as long as for an int.
            of = numbers.item() if len(numbers) == 1 else numbers
            self._freshness.ticked(of - self._share.first, self._received_ns)
            self._unnoted = _NOTHING
        try:
            frame = self._frames.next() or self._receive_frame(self._socket)
            now_ns = self._received_ns if frame else monotonic_ns()
            if now_ns >= self._look_at_ns:
                self._look(now_ns)
            return self._meaning(frame) if frame else _NOTHING
        except Stalled as stall:
            self._lost(f"Stalled: {stall}", GapReason.STALLED)
        except (FrameError, OSError) as error:
            self._lost(f"{type(error).__name__}: {error}", GapReason.DISCONNECTED)
        return _NOTHING

    def _receive_frame(self, socket: sockets.socket) -> Frame | None:
        """Receive what there is; return the first frame that is whole by it."""
        space = self._frames.space()
        for _ in range(self._looks):
            try:
                count = socket.recv_into(space)
            except _NOT_YET:
                self._between_looks()
                continue
            except TimeoutError as error:
                if error.errno is not None:  # not our 50 ms, but the kernel's verdict
                    raise
                return None
            if not count:
                raise ConnectionResetError("the other side is gone without a word")
            self._received_ns = self._freshness.byte_ns = monotonic_ns()
            self._frames.received(count)
            return self._frames.next()
        return None

    def _meaning(self, frame: Frame) -> NDArray[np.void]:
        opcode, data = frame
        if opcode == Opcode.BINARY:
            return self._take(self._session.on_binary(data, self._received_ns))
        if opcode == Opcode.TEXT:
            text = str(data, "utf-8", "replace")
            return self._take(self._session.on_text(text, self._received_ns))
        if opcode == Opcode.PING:
            self._send(Opcode.PONG, bytes(data))
        elif opcode == Opcode.CLOSE:
            self._closed_by_peer(bytes(data))
        return _NOTHING

    def _take(self, received: Received) -> NDArray[np.void]:
        self.duplicates += received.duplicates
        self.refused += received.refused
        self.skipped += received.skipped
        if received.notice:
            log.warning("broker says: %s", received.notice)
        for reply in received.replies:
            self._send(Opcode.TEXT, reply.encode())
        ticks = received.ticks
        if self._share.first and len(ticks):
            ticks = ticks.copy()  # the session keeps its own
            ticks["instrument"] += self._share.first
        self._unnoted = ticks
        return ticks

    def _send(self, opcode: Opcode, data: bytes) -> None:
        assert self._socket is not None, "there is a connection"
        self._socket.sendall(masked(opcode, data))

    # What no frame tells ---------------------------------------------------------------------

    def _look(self, now_ns: int) -> None:
        has_slept = now_ns - self._look_at_ns >= LATE_NS_MIN
        self._look_at_ns = now_ns + LOOK_INTERVAL_NS
        if has_slept and not self._has_slept:  # what came meanwhile is in the socket still
            self._has_slept = True
            return
        self._has_slept = False
        self._judge(self._freshness.look(now_ns, self._hours.open_for_ns(time_ns())))
        if self._session.ping and now_ns >= self._next_ping_ns:
            self._next_ping_ns = now_ns + self._session.ping_interval_ns
            self._send(Opcode.TEXT, self._session.ping.encode())
        if not self._freshness.stalls:  # else the outage goes on, with a connection
            self._connecting.look(now_ns)

    def _judge(self, found: Findings) -> None:
        """Raise what ends the connection; name the instruments that lack ticks."""
        if found.dead_ns:
            raise TimeoutError(f"nothing arrived for {found.dead_ns / 1e9:.0f} s")
        if found.stalled_ns:
            raise Stalled(f"no tick for {found.stalled_ns / 1e9:.0f} s, though bytes came")
        if found.silent:
            names = self._share.names(found.silent)
            log.warning("subscribed, and no tick yet, of %d: %s", len(found.silent), names)
        if found.quiet:
            names = self._share.names(found.quiet)
            log.warning("no tick any more, while others tick, of %d: %s", len(found.quiet), names)
        for place in found.quiet:
            began_ns = self._freshness.tick_ns_of(place)
            self._gaps.begin_one(self._share.first + place, began_ns, self._last_seq())

    @property
    def fileno(self) -> int:
        """The descriptor on which bytes come, -1 without a connection."""
        return -1 if self._socket is None else self._socket.fileno()

    @property
    def has_more(self) -> bool:
        """True when ``receive`` is worth while though no byte comes."""
        if self._socket is None:
            return False
        hidden = isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0
        return hidden or bool(len(self._left)) or not self._frames.drained

    @property
    def ever_connected(self) -> bool:
        """True when the address is known to be right."""
        return self._connecting.outage.ever_connected

    @ever_connected.setter
    def ever_connected(self, known: bool) -> None:
        self._connecting.outage.ever_connected = known

    @property
    def connected(self) -> int:
        return int(self._socket is not None)

    @property
    def silent(self) -> int:
        """Instruments that were subscribed and never ticked in time."""
        return self._freshness.silent_count

    @property
    def missing_since_ns(self) -> int:
        """When the oldest gap that lasts began, 0 = there is none."""
        return self._gaps.since_ns

    def missing(self) -> NDArray[np.void]:
        """Return the GAP rows of what is missing still, as if it ended now."""
        return self._gaps.end_all(monotonic_ns(), self._last_seq(), _ahead_ns())

    # Opening and losing ----------------------------------------------------------------------

    def _open(self) -> None:
        if self.ended:
            return
        self._socket = self._connecting.next_socket(self._patience_s)
        if self._socket is not None:
            self._socket.settimeout(self._socket_timeout_s)
            self._frames = Frames()
            self._received_ns = now_ns = monotonic_ns()
            self._freshness.opened(now_ns)
            self._next_ping_ns = now_ns + self._session.ping_interval_ns
            self._look_at_ns = now_ns

    def _closed_by_peer(self, data: bytes) -> None:
        code = struct.unpack_from("!H", data)[0] if len(data) >= 2 else 1005
        reason = data[2:].decode("utf-8", "replace")
        self._send(Opcode.CLOSE, data[:2])
        if code == CLOSE_NORMAL and reason == END_OF_RECORDING:
            log.info("the recording ended")
            self._drop()
            self.ended = True
            return
        why = f"closed by the other side with {code} {reason}".rstrip()
        self._lost(why, GapReason.DISCONNECTED)

    def _lost(self, why: str, reason: GapReason) -> None:
        self._drop()
        self.outages += 1
        fresh = self._freshness
        began_ns = fresh.tick_ns if reason is GapReason.STALLED else fresh.byte_ns
        self._gaps.begin(reason, began_ns, self._last_seq())
        self._connecting.lost(why)

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """Close the socket, without waiting for the other side."""
        self._connecting.close()
        if self._socket is not None:
            with suppress(OSError):  # it is a courtesy
                self._send(Opcode.CLOSE, CLOSE_NORMAL.to_bytes(2, "big"))
        self._drop()


def _nothing() -> None:
    """Be what a bare spinner does between two looks."""


def _ahead_ns() -> int:
    """Return how far CLOCK_REALTIME is ahead of CLOCK_MONOTONIC."""
    return time_ns() - monotonic_ns()
