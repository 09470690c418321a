"""What it takes to decode what brokers send, beside the brokers' own clients.

In one process, on bytes that are in the cache already: what decoding costs, which is not the time
from the wire to a strategy. Each decoder and its peer take turns in short rounds, and the best
round of each counts: on a shared machine the ratio is steadier than either number. The peers
build dicts of every field, depth included; ours are TICK rows, into a ring where it says so.
Without `pip install tickpipe[peers]` only ours is measured.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.brokers.kite import wire as kite
from pipeline.brokers.kite.session import KiteSession
from pipeline.brokers.kite.tokens import Tokens
from pipeline.brokers.smartapi import wire as smart
from pipeline.brokers.smartapi.session import SmartApiSession
from pipeline.channels import choose
from pipeline.records import TICK
from pipeline.settings import SIMULATOR_SECRETS, FeedSettings
from pipeline.testing import make_instrument
from tests import peers
from tests.perf.wire.frames import INSTRUMENTS, kite_frames, smart_packets

RING_CAPACITY = 65_536  # the default of channels.ring_capacity
ROUNDS = 100
ROUND_SECONDS = 0.004


def measure() -> dict[str, float]:
    """Return µs for each decoder, times for each ratio, frames a second."""
    figures: dict[str, float] = {}
    kite_parser, smart_parser = peer(peers.kite_parser), peer(peers.smart_parser)
    instruments, frames = kite_frames()
    tokens = Tokens(instruments)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        publish = _publisher(Path(folder))
        for name, data in frames.items():
            into_ring = partial(_kite_into_ring, publish, data, tokens)
            compare(figures, f"Kite: {name} into the ring", into_ring, kite_parser, data)
        rows = kite.decode(frames[f"frame of {INSTRUMENTS:,} full packets"], tokens, 1).ticks
        (publish_s,) = best_of(partial(publish, rows))
        figures[f"the ring alone: publish {len(rows):,} rows, µs"] = publish_s * 1e6
    for name, data in frames.items():
        whole_frame = partial(kite.decode, data, tokens, 1)
        compare(figures, f"Kite: {name}", whole_frame, kite_parser, data)
    keys = {(2, b"58963"): 0}
    for mode, data in smart_packets(keys).items():
        one_packet = partial(smart.decode, data, keys, 1)
        compare(figures, f"SmartAPI: one {mode} packet", one_packet, smart_parser, data)
    return figures | _sessions(frames["one full packet"], smart_packets(keys)["SnapQuote"])


def _publisher(folder: Path) -> Callable[[Any], object]:
    channels = choose("auto")
    readers = channels.Readers.create(folder, [])
    ring = channels.RingWriter(folder / "ticks.ring", TICK, RING_CAPACITY, readers.bells())
    publish: Callable[[Any], object] = ring.publish
    return publish


def _kite_into_ring(publish: Callable[[Any], object], data: bytes, tokens: Tokens) -> None:
    publish(kite.decode(data, tokens, 1).ticks)


def _sessions(kite_frame: bytes, smart_packet: bytes) -> dict[str, float]:
    """Return frames a second through the sessions: duplicates and snapshots looked for."""
    instruments, _ = kite_frames()
    feed = FeedSettings.model_validate({"broker": "kite", "mode": "full"})
    session = KiteSession(feed, instruments, SIMULATOR_SECRETS)
    session.on_open()
    (kite_s,) = best_of(partial(session.on_binary, kite_frame, 1))
    feed = FeedSettings.model_validate({"broker": "smartapi", "mode": "full"})
    option = make_instrument(token="58963")
    packet = bytearray(smart_packet)
    packet[27:35] = bytes(8)  # no sequence: never a duplicate
    other = SmartApiSession(feed, [option], SIMULATOR_SECRETS)
    (smart_s,) = best_of(partial(other.on_binary, bytes(packet), 1))
    return {
        "Kite: frames of one full packet through the session, 1/s": 1 / kite_s,
        "SmartAPI: SnapQuote packets through the session, 1/s": 1 / smart_s,
    }


def peer(find: Callable[[], Any]) -> Any:
    try:
        return find()
    except ImportError:
        return None


def compare(
    figures: dict[str, float], name: str, ours: Callable[[], object], theirs: Any, data: bytes
) -> None:
    if theirs is None:
        figures[f"{name}, µs"] = best_of(ours)[0] * 1e6
        return
    our_s, their_s = best_of(ours, partial(theirs, data))
    figures[f"{name}, µs"] = our_s * 1e6
    figures[f"{name}, the broker's client, µs"] = their_s * 1e6
    figures[f"{name}, times as fast"] = their_s / our_s


def best_of(*calls: Callable[[], object]) -> list[float]:
    """Return the seconds of one call of each, the best of rounds in which they take turns."""
    counts = [max(1, int(ROUND_SECONDS / timed(call, 1))) for call in calls]
    rounds = [
        [timed(call, n) for call, n in zip(calls, counts, strict=True)] for _ in range(ROUNDS)
    ]
    return [min(times) for times in zip(*rounds, strict=True)]


def timed(call: Callable[[], object], count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - started) / count
