"""The decoders and the brokers' own say the same of the same bytes, field by field."""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.brokers.kite import wire as kite
from pipeline.brokers.kite.tokens import Tokens
from pipeline.brokers.smartapi import wire as smart
from pipeline.testing import make_instrument
from tests import peers

# A busy machine is no finding.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

Fields = dict[str, Any]

Rows = np.ndarray[Any, np.dtype[np.void]]

NIFTY_50 = 256265
KITE_TOKENS = {  # exchange, and units of the price in a rupee
    408065: ("NSE", 100),
    NIFTY_50: ("NSE", 100),
    412675: ("CDS", 10_000_000),
    513030: ("CDS", 10_000),
    58963 << 8 | 2: ("NFO", 100),
}
TOKENS = Tokens(
    [
        make_instrument(symbol=str(token), token=str(token), exchange=exchange)
        for token, (exchange, _) in KITE_TOKENS.items()
    ]
)

KITE_QUANTITIES = {
    "last_traded_quantity": "quantity",
    "volume_traded": "day_volume",
    "total_buy_quantity": "buy_quantity",
    "total_sell_quantity": "sell_quantity",
    "oi": "open_interest",
    "oi_day_high": "open_interest_high",
    "oi_day_low": "open_interest_low",
}
SMART_FIELDS = {
    "subscription_mode": "mode",
    "exchange_type": "exchange_type",
    "sequence_number": "sequence",
    "exchange_timestamp": "time_ms",
    "last_traded_price": "price",
    "last_traded_quantity": "quantity",
    "average_traded_price": "average_price",
    "volume_trade_for_the_day": "day_volume",
    "total_buy_quantity": "buy_quantity",
    "total_sell_quantity": "sell_quantity",
    "open_price_of_the_day": "open",
    "high_price_of_the_day": "high",
    "low_price_of_the_day": "low",
    "closed_price": "previous_close",
    "last_traded_timestamp": "last_trade_s",
    "open_interest": "open_interest",
    "upper_circuit_limit": "upper_circuit",
    "lower_circuit_limit": "lower_circuit",
    "52_week_high_price": "year_high",
    "52_week_low_price": "year_low",
}
LEVEL = ("flag", "quantity", "price", "no of orders")
NOBODY = {"price": 0.0}


def values_of(dtype: np.dtype[Any]) -> st.SearchStrategy[Any]:
    """Return what a field may hold that every client reads the same: nothing negative."""
    if dtype.subdtype is not None:
        part, (count,) = dtype.subdtype
        return st.tuples(*[values_of(part)] * count).map(list)
    if dtype.names:
        return st.tuples(*[values_of(dtype[name]) for name in dtype.names])
    if dtype.kind == "V":
        return st.just(bytes(dtype.itemsize))
    if dtype.kind == "f":
        return st.floats(0, 1e12)
    bits = 8 * dtype.itemsize - (dtype.kind == "i")
    return st.integers(0, min(2**bits - 1, 2**50))


def rows_of(dtype: np.dtype[Any], **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return rows of a packet, as arrays of one."""
    fields = [fixed[n] if n in fixed else values_of(dtype[n]) for n in dtype.names or ()]
    return st.tuples(*fields).map(lambda values: np.array([values], dtype))


def parser_or_skip(find: Callable[[], Any]) -> Any:
    try:
        return find()
    except ImportError as error:
        pytest.skip(f"needs `pip install tickpipe[peers]`: {error}")


# Kite ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kite_parser() -> Any:
    return parser_or_skip(peers.kite_parser)


kite_packets = st.sampled_from([*kite.KINDS.values()]).flatmap(
    lambda kind: rows_of(kind, token=st.sampled_from([*KITE_TOKENS]))
)


def kite_frame(packets: list[Rows]) -> bytes:
    return kite.frame([struct.pack(">H", rows.itemsize) + rows.tobytes() for rows in packets])


def kite_fields(row: np.void) -> Fields:
    """Return a packet as KiteTicker tells it, read by our dtype."""
    has, token = set(row.dtype.names or ()), int(row["token"])
    divisor = float(KITE_TOKENS[token][1])
    fields: Fields = {
        "instrument_token": token,
        "tradable": token != NIFTY_50,
        "mode": {8: "ltp", 28: "quote", 32: "full", 44: "quote", 184: "full"}[row.itemsize],
        "last_price": row["price"] / divisor,
    }
    if "open" in has:
        names = {"open": "open", "high": "high", "low": "low", "close": "previous_close"}
        fields["ohlc"] = {theirs: row[ours] / divisor for theirs, ours in names.items()}
    if "quantity" in has:
        fields["average_traded_price"] = row["average_price"] / divisor
        fields |= {theirs: row[ours] for theirs, ours in KITE_QUANTITIES.items() if ours in has}
    if "time_s" in has:
        fields["exchange_timestamp"] = datetime.fromtimestamp(int(row["time_s"]))
    if "bids" in has:
        fields["last_trade_time"] = datetime.fromtimestamp(int(row["last_trade_s"]))
        fields["depth"] = {
            theirs: [
                {"quantity": quantity, "price": price / divisor, "orders": orders}
                for quantity, price, orders, _ in row[ours].tolist()
            ]
            for theirs, ours in (("buy", "bids"), ("sell", "asks"))
        }
    return fields


@patient
@given(st.lists(kite_packets, min_size=1, max_size=5))
def test_kiteticker_reads_every_field_the_same(kite_parser: Any, packets: list[Rows]) -> None:
    theirs = kite_parser(kite_frame(packets))
    for fields in theirs:
        fields.pop("change", None)  # in percent; the packet of an index has it in points
    assert theirs == [kite_fields(rows[0]) for rows in packets]


@patient
@given(st.lists(kite_packets, min_size=1, max_size=5), st.sampled_from([1, 20]))
def test_our_ticks_say_what_kiteticker_says(
    kite_parser: Any, packets: list[Rows], times: int
) -> None:
    data = kite_frame(packets * times)
    ticks, refused, _ = kite.decode(data, TOKENS, 0)
    expected = [row for row in map(as_tick, kite_parser(data)) if row[0] > 0]
    assert len(expected) + refused == len(packets) * times
    names = ["price_e4", "instrument", "quantity", "day_volume", "bid_e4", "ask_e4", "ts_event_ns"]
    assert ticks[names].tolist() == expected


def as_tick(fields: Fields) -> tuple[int, ...]:
    _, divisor = KITE_TOKENS[fields["instrument_token"]]

    def e4(price: float) -> int:
        return round(price * divisor) * 10_000 // divisor

    depth = fields["depth"] if "depth" in fields else {"buy": [NOBODY], "sell": [NOBODY]}
    seconds = fields["exchange_timestamp"].timestamp() if "exchange_timestamp" in fields else 0
    return (
        e4(fields["last_price"]),
        list(KITE_TOKENS).index(fields["instrument_token"]),
        fields["last_traded_quantity"] if "last_traded_quantity" in fields else 0,
        fields["volume_traded"] if "volume_traded" in fields else 0,
        e4(depth["buy"][0]["price"]),
        e4(depth["sell"][0]["price"]),
        int(seconds) * 1_000_000_000,
    )


# SmartAPI ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smart_parser() -> Any:
    return parser_or_skip(peers.smart_parser)


def smart_row(kind: np.dtype[Any], mode: int) -> st.SearchStrategy[Rows]:
    tokens = st.text("0123456789", min_size=1, max_size=24).map(str.encode)
    fixed = {"mode": st.just(mode), "exchange_type": st.sampled_from([1, 2, 3, 4, 5, 13])}
    return rows_of(kind, token=tokens, **fixed)


smart_packets = st.one_of(
    smart_row(smart.LTP, smart.MODE_LTP),
    smart_row(smart.QUOTE, smart.MODE_QUOTE),
    smart_row(smart.SNAPQUOTE, smart.MODE_SNAPQUOTE),
)


def smart_fields(row: np.void) -> Fields:
    """Return a packet as SmartWebSocketV2 tells it, read by our dtype."""
    has = set(row.dtype.names or ())
    fields: Fields = {theirs: row[ours] for theirs, ours in SMART_FIELDS.items() if ours in has}
    fields["token"] = row["token"].decode()
    fields["subscription_mode_val"] = {1: "LTP", 2: "QUOTE", 3: "SNAP_QUOTE"}[int(row["mode"])]
    if "depth" in has:
        (garbage,) = struct.unpack("<q", struct.pack("<d", row["open_interest_change"]))
        fields["open_interest_change_percentage"] = garbage  # it reads the bits as an integer
        levels = [dict(zip(LEVEL, level, strict=True)) for level in row["depth"].tolist()]
        fields["best_5_buy_data"] = [level for level in levels if level["flag"] != 0]
        fields["best_5_sell_data"] = [level for level in levels if level["flag"] == 0]
    return fields


@patient
@given(smart_packets)
def test_smartwebsocketv2_reads_every_field_the_same(smart_parser: Any, packet: Rows) -> None:
    assert smart_parser(packet.tobytes()) == smart_fields(packet[0])


@patient
@given(smart_packets)
def test_our_tick_says_what_smartwebsocketv2_says(smart_parser: Any, packet: Rows) -> None:
    theirs = smart_parser(packet.tobytes())
    kind, times = theirs["exchange_type"], 100
    decoded = smart.decode(packet.tobytes(), {(kind, theirs["token"].encode()): 3}, 0)
    price, quantity = theirs["last_traded_price"], 0
    if "last_traded_quantity" in theirs:
        quantity = theirs["last_traded_quantity"]
    price_e4 = price // 1_000 if kind == 13 else price * times
    possible = (
        price_e4 > 0 and quantity < 2**32 and theirs["exchange_timestamp"] < 2**63 // 1_000_000
    )
    assert (decoded is not None) == possible
    if decoded is None:
        return
    (tick,) = decoded.ticks
    assert decoded.sequence == theirs["sequence_number"]
    assert tick["price_e4"] == price_e4
    assert tick["ts_event_ns"] == theirs["exchange_timestamp"] * 1_000_000
    assert tick["quantity"] == quantity
