"""Frames of both brokers read as the pages of their protocols are written: one field after another.

Slow, and without a line in common with the decoders that it judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

KITE_LENGTHS = (8, 28, 32, 44, 184)
SMART_LENGTHS = {1: 51, 2: 123, 3: 379}
CDS_BYTE, SMART_CDS = 3, 13
I64_MAX = 2**63 - 1

Row = tuple[int, ...]  # a TICK, seq 0 and ts_recv_ns as given


class Read(NamedTuple):
    rows: list[Row]
    refused: int
    skipped: int


def kite(data: bytes, scales: Mapping[int, tuple[int, int]], now_ns: int) -> Read:
    """Read a frame; ``scales`` is by token what a price is multiplied with and divided by."""
    if len(data) < 2:
        return Read([], 1, len(data))
    rows: list[Row] = []
    refused = skipped = 0
    end = 2
    for _ in range(int.from_bytes(data[:2], "big")):
        start = end + 2
        length = int.from_bytes(data[end:start], "big")
        if len(data) < start or len(data) < start + length:
            return Read(rows, refused + 1, skipped + len(data) - end)
        end = start + length
        row = _kite_packet(data[start:end], scales, now_ns)
        if row is None:
            refused += 1
            skipped += 2 + length
        else:
            rows.append(row)
    rest = len(data) - end
    return Read(rows, refused + (rest > 0), skipped + rest)


def _kite_packet(data: bytes, scales: Mapping[int, tuple[int, int]], now_ns: int) -> Row | None:
    def field(at: int, *, signed: bool = False) -> int:
        return int.from_bytes(data[at : at + 4], "big", signed=signed)

    if len(data) not in KITE_LENGTHS or field(0) not in scales:
        return None
    times, divisor = scales[field(0)]

    def e4(at: int) -> int:
        return field(at, signed=True) * times // divisor

    if e4(4) <= 0:
        return None
    traded = len(data) >= 44
    time_at = {32: 28, 184: 60}
    time_s = field(time_at[len(data)]) if len(data) in time_at else 0
    best = (max(0, e4(68)), max(0, e4(128))) if len(data) == 184 else (0, 0)
    instrument = list(scales).index(field(0))
    volumes = (field(8), field(16)) if traded else (0, 0)
    return (0, time_s * 1_000_000_000, now_ns, e4(4), instrument, 0, *volumes, *best)


def smart(data: bytes, instrument_of: Mapping[tuple[int, bytes], int], now_ns: int) -> Read:
    """Read a packet."""
    row = _smart_packet(data, instrument_of, now_ns)
    if row is None:
        return Read([], 1, len(data))
    return Read([row], 0, len(data) - SMART_LENGTHS[data[0]])


def _smart_packet(
    data: bytes, instrument_of: Mapping[tuple[int, bytes], int], now_ns: int
) -> Row | None:
    def field(at: int) -> int:
        return int.from_bytes(data[at : at + 8], "little", signed=True)

    if not data or data[0] not in SMART_LENGTHS or len(data) < SMART_LENGTHS[data[0]]:
        return None
    key = (data[1], data[2:27].split(b"\0")[0])
    times, divisor = (1, 1_000) if data[1] == SMART_CDS else (100, 1)
    price_e4 = field(43) * times // divisor
    quantity, volume = (field(51), field(67)) if data[0] > 1 else (0, 0)
    sides: dict[int, list[int]] = {0: [], 1: []}
    for at in range(147, 347, 20) if data[0] == 3 else ():
        flag, price = int.from_bytes(data[at : at + 2], "little"), field(at + 10)
        if flag in sides and 0 < price <= I64_MAX // 100:
            sides[flag].append(price * times // divisor)
    time_ns = field(35) * 1_000_000
    possible = (
        key in instrument_of
        and 0 < price_e4 <= I64_MAX
        and 0 <= time_ns <= I64_MAX
        and field(27) >= 0
        and 0 <= quantity < 2**32
        and volume >= 0
    )
    if not possible:
        return None
    best = (max(sides[1], default=0), min(sides[0], default=0))
    return (0, time_ns, now_ns, price_e4, instrument_of[key], 0, quantity, volume, *best)
