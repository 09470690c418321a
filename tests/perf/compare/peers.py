"""Others that hand ticks on, at the same intended times as the ways: open loop, lost ones counted.

Between threads and between processes a number is handed on (handovers.py), by a thread that
sleeps to each intended time; a broker's client gets the frames of its own protocol from the sender
of the ways. A tick has arrived when the receiver's own code runs. Each is optional: who is not
installed, or has no server, is skipped and says why. Nothing here trades.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.kite.tokens import Tokens
from pipeline.brokers.kite.wire import encode, frame
from pipeline.settings import Instrument
from tests.peers import kite_ticker, smart_web_socket
from tests.perf.compare.handovers import HAND_OVERS, Note, Skipped, receiving
from tests.perf.compare.measure import percentiles
from tests.perf.compare.sender import Sender, framed, quote_frames
from tests.perf.serving import LEAD_NS

RATES = (100, 1_000, 10_000)
SECONDS = 2.0
ARRIVAL_SECONDS_MAX = 10.0


# The brokers' clients ------------------------------------------------------------------------


def _be_kite(ready: Any, note: Note, instruments: tuple[Instrument, ...], port: int) -> None:
    arrived = iter(range(2**62))  # a packet of Kite has no number of its own
    client = kite_ticker()("simulator-key", "simulator-token", root=f"ws://127.0.0.1:{port}")
    tokens = [int(each.token) for each in _of_kite(instruments)]
    client.on_connect = lambda client, _: client.subscribe(tokens)
    client.on_ticks = lambda _, ticks: [note(next(arrived)) for _ in ticks]
    ready.set()
    client.connect()


def _be_smart(ready: Any, note: Note, instruments: tuple[Instrument, ...], port: int) -> None:
    kind = smart_web_socket()
    kind.ROOT_URI = f"ws://127.0.0.1:{port}/smart-stream"
    client = kind("Bearer simulator-jwt", "simulator-key", "SIM0001", "simulator-feed-token")
    tokens = [{"exchangeType": 2, "tokens": [i.token for i in instruments]}]
    client.on_open = lambda _: client.subscribe("peer", 2, tokens)
    client.on_data = lambda _, packet: note(packet["sequence_number"] - 1)
    ready.set()
    client.connect()


def _in_folder(ready: Any, folder: str, be_client: Callable[..., None], *arguments: Any) -> None:
    os.chdir(folder)  # SmartWebSocketV2 makes one for its logs where it stands
    be_client(ready, *arguments)


def _of_kite(instruments: tuple[Instrument, ...]) -> tuple[Instrument, ...]:
    """Return them with tokens as Kite has them: the exchange's, and its segment of NFO."""
    return tuple(
        each.model_copy(update={"token": str(int(each.token) << 8 | 2)}) for each in instruments
    )


def kite_frames(ticks: NDArray[np.void], instruments: tuple[Instrument, ...]) -> NDArray[np.uint8]:
    """Return one WebSocket frame per tick, shape (n, bytes of a frame)."""
    packets = encode("quote", ticks, Tokens(_of_kite(instruments)))
    payloads = np.frombuffer(b"".join(frame([packet]) for packet in packets), np.uint8)
    return framed(payloads.reshape(len(ticks), -1))


# All of them ---------------------------------------------------------------------------------

CLIENTS = {
    "SmartWebSocketV2": (smart_web_socket, _be_smart, quote_frames),
    "KiteTicker": (kite_ticker, _be_kite, kite_frames),
}


class Arrivals:
    """When each of ``count`` numbers arrived, ns, in memory that a fork shares; 0 = never."""

    def __init__(self, count: int) -> None:
        self._words = memoryview(mmap.mmap(-1, 8 * count)).cast("q")

    def note(self, number: int) -> None:
        self._words[number] = time.monotonic_ns()

    def wait(self) -> NDArray[np.int64]:
        """Return the times, once the last number is there or the time is up."""
        deadline = time.monotonic() + ARRIVAL_SECONDS_MAX
        while not self._words[-1] and time.monotonic() < deadline:
            time.sleep(0.02)
        return np.array(self._words, np.int64)


def hand_over(name: str, rate: int, seconds: float) -> dict[str, Any]:
    """Return what came of ``rate`` numbers a second that were given to the peer ``name``."""
    offsets_ns = np.arange(int(rate * seconds), dtype=np.int64) * 1_000_000_000 // rate
    arrivals = Arrivals(len(offsets_ns))
    _, opened = HAND_OVERS[name]
    with opened(arrivals.note) as put:
        intended = time.monotonic_ns() + LEAD_NS + offsets_ns
        for number, due_ns in enumerate(intended.tolist()):
            while (early_ns := due_ns - time.monotonic_ns()) > 0:
                time.sleep(early_ns / 1e9)
            put(number)
        return _figures(rate, intended, arrivals.wait())


def client(
    name: str, rate: int, seconds: float, day: NDArray[np.void], instruments: Any
) -> dict[str, Any]:
    """Return what came of ``rate`` ticks a second that were sent to the client ``name``."""
    offsets_ns = np.arange(int(rate * seconds), dtype=np.int64) * 1_000_000_000 // rate
    arrivals = Arrivals(len(offsets_ns))
    _, be_client, frames = CLIENTS[name]
    with (
        Sender(frames(day[: len(offsets_ns)], instruments)) as sender,
        tempfile.TemporaryDirectory() as folder,
        receiving(_in_folder, folder, be_client, arrivals.note, instruments, sender.port),
    ):
        if not sender.wait_for_client():
            raise Skipped("it did not subscribe")
        sender.start("at_times", offsets_ns)
        return _figures(rate, sender.finish().intended_ns, arrivals.wait())


def _figures(rate: int, intended: NDArray[np.int64], seen: NDArray[np.int64]) -> dict[str, Any]:
    arrived = seen > 0
    lost = int(len(seen) - arrived.sum())
    latency = {"intended to arrival": percentiles((seen - intended)[arrived])}
    return {"rate": rate, "lost": lost, "latency": latency}


def measure(
    day: NDArray[np.void],
    instruments: tuple[Instrument, ...],
    rates: tuple[int, ...] = RATES,
    seconds: float = SECONDS,
) -> list[dict[str, Any]]:
    """Return for each peer what it is between, and a row for each rate, or why it was skipped."""
    found = [
        {"peer": name, "between": between}
        | _all_rates(rates, lambda rate, name=name: hand_over(name, rate, seconds))
        for name, (between, _) in HAND_OVERS.items()
    ]
    for name, (load, _, _) in CLIENTS.items():

        def one(rate: int, name: str = name, load: Callable[[], Any] = load) -> dict[str, Any]:
            load()
            return client(name, rate, seconds, day, instruments)

        found.append({"peer": name, "between": "wire and callback"} | _all_rates(rates, one))
    return found


def _all_rates(
    rates: tuple[int, ...], measure_one: Callable[[int], dict[str, Any]]
) -> dict[str, Any]:
    try:
        return {"skipped": "", "rates": [measure_one(rate) for rate in rates]}
    except (ImportError, Skipped) as error:
        return {"skipped": str(error), "rates": []}
