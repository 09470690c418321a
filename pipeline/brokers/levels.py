"""Best prices of both sides as the brokers' decoders make a DEPTH row of them. Pure."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from pipeline.records import DEPTH, LEVELS

DepthLevel = tuple[int, int, int]  # price in e4, quantity, orders; (0, 0, 0) is none
NO_LEVEL: DepthLevel = (0, 0, 0)

_ROW = struct.Struct("<QQqq" + f"{2 * LEVELS}q{2 * LEVELS}Q" + f"{LEVELS}IH2x{LEVELS}I20x")
assert _ROW.size == DEPTH.itemsize


def depth_row(time_ns: int, now_ns: int, levels: Sequence[DepthLevel], instrument: int) -> bytes:
    """Return five bids and then five asks, best first, as a DEPTH row; both seqs are 0."""
    prices, quantities, orders = zip(*levels, strict=True)
    bid_orders, ask_orders = orders[:LEVELS], orders[LEVELS:]
    return _ROW.pack(
        0, 0, time_ns, now_ns, *prices, *quantities, *bid_orders, instrument, *ask_orders
    )
