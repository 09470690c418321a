"""What it takes to decode what brokers send, beside the brokers' own clients.

    python -m tests.perf.wire

In one process, on bytes that are in the cache already: what decoding costs, which is not the time
from the wire to a strategy. Each decoder and its peer take turns in short rounds, and the best
round of each counts: on a shared machine the ratio is steadier than either number. The peers
build dicts of every field, depth included; ours are TICK rows. Without `pip install
tickpipe[peers]` only ours is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from pipeline.brokers.kite import wire as kite
from pipeline.brokers.kite.session import KiteSession
from pipeline.brokers.kite.tokens import Tokens
from pipeline.brokers.smartapi import wire as smart
from pipeline.settings import SIMULATOR_SECRETS, FeedSettings, Instrument
from pipeline.testing import make_instrument, make_ticks
from tests import peers

INSTRUMENTS = 1_000
ROUNDS = 40
ROUND_SECONDS = 0.004


def measure() -> dict[str, float]:
    """Return µs for each decoder, times for each ratio, frames a second."""
    figures: dict[str, float] = {}
    kite_parser, smart_parser = peer(peers.kite_parser), peer(peers.smart_parser)
    instruments, frames = kite_frames()
    tokens = Tokens(instruments)
    for name, data in frames.items():
        whole_frame = partial(kite.decode, data, tokens, 1)
        compare(figures, f"Kite: {name}", whole_frame, kite_parser, data)
    keys = {(2, b"58963"): 0}
    for mode, data in smart_packets(keys).items():
        one_packet = partial(smart.decode, data, keys, 1)
        compare(figures, f"SmartAPI: one {mode} packet", one_packet, smart_parser, data)
    feed = FeedSettings.model_validate({"broker": "kite", "mode": "full"})
    session = KiteSession(feed, instruments, SIMULATOR_SECRETS)
    session.on_open()
    (seconds,) = best_of(partial(session.on_binary, frames["one full packet"], 1))
    figures["Kite: frames of one full packet through the session, 1/s"] = 1 / seconds
    return figures


def kite_frames() -> tuple[list[Instrument], dict[str, bytes]]:
    """Return instruments, and frames of them: tokens in no order, as they come."""
    numbers = np.random.default_rng(1).choice(2**20, INSTRUMENTS, replace=False) << 8 | 2
    instruments = [make_instrument(symbol=str(n), token=str(n)) for n in numbers.tolist()]
    ticks = make_ticks([100 + n / 20 for n in range(INSTRUMENTS)])
    ticks["instrument"] = np.arange(INSTRUMENTS)
    ticks["bid_e4"], ticks["ask_e4"] = ticks["price_e4"] - 500, ticks["price_e4"] + 500
    tokens = Tokens(instruments)
    full, ltp = (kite.encode(mode, ticks, tokens) for mode in ("full", "ltp"))
    mixed = [packet for pair in zip(full[::2], ltp[1::2], strict=True) for packet in pair]
    return instruments, {
        f"frame of {INSTRUMENTS:,} full packets": kite.frame(full),
        f"frame of {INSTRUMENTS:,} packets, full and LTP in turn": kite.frame(mixed),
        "frame of 10 full packets": kite.frame(full[:10]),
        "one full packet": kite.frame(full[:1]),
        "one LTP packet": kite.frame(ltp[:1]),
    }


def smart_packets(keys: Mapping[tuple[int, bytes], int]) -> dict[str, bytes]:
    ticks = make_ticks([235.85])
    ticks["bid_e4"], ticks["ask_e4"] = 2_358_000, 2_359_000
    packets = {mode: smart.encode(mode, ticks, list(keys), 1) for mode in smart.MODES}
    depth = packets["full"]["depth"]
    depth["price"] = 23_585 + np.array([[0, -5, -10, -15, -20, 5, 10, 15, 20, 25]])
    depth["quantity"], depth["orders"] = 75, 3
    names = {"ltp": "LTP", "quote": "Quote", "full": "SnapQuote"}
    return {names[mode]: rows.tobytes() for mode, rows in packets.items()}


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


def main() -> None:
    for name, value in measure().items():
        print(f"{name:<78} {value:>12,.2f}")


if __name__ == "__main__":
    main()
