"""Several connections that one feed carries, beside the simulator and a server of the test's."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.brokers.kite import wire
from pipeline.brokers.kite.session import KiteSession
from pipeline.brokers.kite.tokens import Tokens
from pipeline.errors import FeedLost
from pipeline.feed.connection import Connection
from pipeline.feed.connections import Connections
from pipeline.feed.sharing import shares_of
from pipeline.records import AFTER_GAP
from pipeline.settings import SIMULATOR_SECRETS, FeedSettings
from pipeline.testing import make_instrument, make_ticks
from tests.system.listening import SECONDS_MAX, Listener, Peer
from tests.system.simulating import Simulators

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"),
]

INSTRUMENTS = tuple(
    make_instrument(symbol=f"S{n}", token=str((58_963 + n) << 8 | 2)) for n in range(5)
)
FRAMES = [
    wire.frame(wire.encode("full", make_ticks([100.0 + n]), Tokens([row])))
    for n, row in enumerate(INSTRUMENTS)
]


def connect(url: str, receive: str = "block", **more: object) -> Connections:
    """Return three connections, of two, two and one instrument."""
    quick = {"reconnect_delay_seconds": 0.01, "healthy_seconds": 0.05, "receive": receive}
    fields = {"broker": "kite", "url": url, "mode": "full", "credentials": "simulator"}
    feed = FeedSettings.model_validate(fields | quick | more)
    connections = [
        Connection(
            KiteSession(feed, share.instruments, SIMULATOR_SECRETS), feed, share, blocks=False
        )
        for share in shares_of(INSTRUMENTS, 2, 3)
    ]
    return Connections(connections, blocks=receive == "block", spin_bare=False)


def receive_until(connections: Connections, condition: Callable[[], bool]) -> NDArray[np.void]:
    deadline = time.monotonic() + SECONDS_MAX
    batches = [connections.receive(256)]
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        batches.append(connections.receive(256))
    return np.concatenate(batches)


@pytest.mark.parametrize("receive", ["block", "poll"])
def test_every_tick_of_every_instrument_comes_once_under_its_own_number(
    simulators: Simulators, receive: str
) -> None:
    ticks = np.resize(make_ticks([100 + n / 20 for n in range(500)]), 2_000)
    ticks["instrument"] = np.arange(len(ticks)) % len(INSTRUMENTS)
    simulator = simulators(INSTRUMENTS)(ticks, broker="kite", wait_for=3)
    with closing(connect(simulator.url, receive)) as connections:
        found = receive_until(connections, lambda: connections.ended)
        assert (connections.outages, connections.refused) == (0, 0)
    for number in range(len(INSTRUMENTS)):
        sent = ticks[ticks["instrument"] == number]
        came = found[found["instrument"] == number]
        assert came["price_e4"].tolist() == sent["price_e4"].tolist()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Return a server that sends one tick, hangs up on who has the last instrument, once, and
    keeps the others."""
    hung_up = []

    def serve(peer: Peer) -> None:
        peer.upgrade()
        asked = peer.hear()
        for row, frame in zip(INSTRUMENTS, FRAMES, strict=True):
            if row.token in asked:
                peer.send(frame)
        if INSTRUMENTS[-1].token in asked and not hung_up:
            hung_up.append(True)
            peer.hang_up()
        else:
            peer.wait_until_gone()

    opened = Listener(serve)
    yield opened
    opened.close()


def test_an_outage_of_one_is_a_gap_of_its_instruments_and_the_others_stay(
    listener: Listener,
) -> None:
    with closing(connect(listener.url)) as connections:
        first = receive_until(connections, lambda: connections.outages == 1)
        assert connections.connected == 2
        receive_until(connections, lambda: connections.connected == 3)
        (gap,) = connections.missing()
        assert (gap["connection"], gap["first_instrument"], gap["instrument_count"]) == (2, 4, 1)
        assert not (first["flags"] & AFTER_GAP).any()
        assert connections.outages == 1


def test_a_snapshot_ends_a_gap_where_it_says_something_new_and_of_its_connection_only() -> None:
    last = INSTRUMENTS[-1]
    changed = wire.frame(wire.encode("full", make_ticks([200.0]), Tokens([last])))
    hung_up, shown = [], threading.Event()

    def serve(peer: Peer) -> None:
        peer.upgrade()
        asked = peer.hear()
        for row, frame in zip(INSTRUMENTS, FRAMES, strict=True):
            if row.token in asked:
                peer.send(frame)
        if last.token in asked and not hung_up:
            hung_up.append(True)
            peer.hang_up()
        elif last.token in asked:
            shown.wait()
            peer.send(changed)
        peer.wait_until_gone()

    listener = Listener(serve)
    with closing(listener), closing(connect(listener.url)) as connections:
        receive_until(connections, lambda: connections.duplicates == 1)
        assert connections.missing_since_ns, "the snapshot said what was known"
        shown.set()
        found = receive_until(connections, lambda: bool(connections.ended_gaps))
        (tick,) = found
        assert (tick["instrument"], tick["flags"]) == (4, AFTER_GAP)
        ((gap,),) = connections.ended_gaps
        assert (gap["first_instrument"], gap["instrument_count"]) == (4, 1)
        assert not connections.missing_since_ns


def test_a_poll_over_all_ends_when_one_has_bytes(listener: Listener) -> None:
    with closing(connect(listener.url)) as connections:
        found = receive_until(connections, lambda: connections.connected == 3)
        while len(found) < len(INSTRUMENTS):
            found = np.concatenate((found, connections.receive(256)))
        assert sorted(found["instrument"].tolist()) == [0, 1, 2, 3, 4]


def test_an_address_where_nobody_answers_is_given_up_with_several_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"ws://127.0.0.1:{server.getsockname()[1]}/"
    with closing(connect(url, connect_attempts_max=2)) as connections, pytest.raises(FeedLost):
        receive_until(connections, lambda: False)
