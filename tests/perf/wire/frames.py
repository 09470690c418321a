"""The frames of both brokers that are sent and decoded, and their WebSocket heads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.kite import wire as kite
from pipeline.brokers.kite.tokens import Tokens
from pipeline.brokers.smartapi import wire as smart
from pipeline.settings import Instrument
from pipeline.simulator.generator import generate_day
from pipeline.testing import make_instrument, make_ticks

DAY = date(2026, 1, 5)
INSTRUMENTS = 1_000
KITE_TOKEN = 58963 << 8 | 2
SMART_TOKEN = "58963"
_LONG, _LONGER = 126, 127  # RFC 6455: the length stands behind, in 2 or 8 bytes
_BINARY = 0x82  # final, binary; a server does not mask


def kite_instruments() -> list[Instrument]:
    """Return instruments with tokens in no order, as they come."""
    numbers = np.random.default_rng(1).choice(2**20, INSTRUMENTS, replace=False) << 8 | 2
    return [make_instrument(symbol=str(n), token=str(n)) for n in numbers.tolist()]


def kite_ticks(count: int) -> NDArray[np.void]:
    ticks = make_ticks([100 + n % 4_000 / 20 for n in range(count)])
    ticks["bid_e4"], ticks["ask_e4"] = ticks["price_e4"] - 500, ticks["price_e4"] + 500
    return ticks


def kite_frames() -> tuple[list[Instrument], dict[str, bytes]]:
    """Return instruments, and frames of them by what they are."""
    instruments = kite_instruments()
    ticks = kite_ticks(INSTRUMENTS)
    ticks["instrument"] = np.arange(INSTRUMENTS)
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
    """Return one packet of each mode by its name."""
    ticks = make_ticks([235.85])
    ticks["bid_e4"], ticks["ask_e4"] = 2_358_000, 2_359_000
    packets = {mode: smart.encode(mode, ticks, list(keys), 1) for mode in smart.MODES}
    depth = packets["full"]["depth"]
    depth["price"] = 23_585 + np.array([[0, -5, -10, -15, -20, 5, 10, 15, 20, 25]])
    depth["quantity"], depth["orders"] = 75, 3
    names = {"ltp": "LTP", "quote": "Quote", "full": "SnapQuote"}
    return {names[mode]: rows.tobytes() for mode, rows in packets.items()}


def web_socket(payload: bytes) -> bytes:
    """Return a server's binary WebSocket frame of ``payload``."""
    size = len(payload)
    if size < _LONG:
        head = bytes((_BINARY, size))
    elif size < 2**16:
        head = bytes((_BINARY, _LONG)) + size.to_bytes(2, "big")
    else:
        head = bytes((_BINARY, _LONGER)) + size.to_bytes(8, "big")
    return head + payload


def numbered(broker: str, count: int) -> list[bytes]:
    """Return WebSocket frames of one packet in full mode; the day volume of the n-th is n.

    The prices are those of a generated day: one that only rises would move a stop on every tick.
    """
    ticks = generate_day(seed=1, date=DAY, ticks_per_instrument=count, lot_size=75)
    ticks["ts_event_ns"] = 1_790_000_000 * 1_000_000_000
    ticks["quantity"], ticks["day_volume"] = 75, np.arange(1, count + 1)
    ticks["bid_e4"], ticks["ask_e4"] = ticks["price_e4"] - 500, ticks["price_e4"] + 500
    if broker == "kite":
        tokens = Tokens([make_instrument(token=str(KITE_TOKEN))])
        packets = [kite.frame([packet]) for packet in kite.encode("full", ticks, tokens)]
    else:
        rows = smart.encode("full", ticks, [(2, SMART_TOKEN.encode())], 1)
        packets = [row.tobytes() for row in rows]
    return [web_socket(packet) for packet in packets]
