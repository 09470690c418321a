"""Kite's packets, against recorded ones and against packets made here."""

from __future__ import annotations

import base64
import json
import struct
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.brokers.kite.tokens import Tokens
from pipeline.brokers.kite.wire import (
    FULL,
    INDEX_FULL,
    INDEX_QUOTE,
    KINDS,
    LTP,
    QUOTE,
    Decoded,
    decode,
    encode,
    frame,
    is_exact,
)
from pipeline.records import TICK
from pipeline.testing import make_instrument, make_ticks

NOW_NS = 123_456_789
TOKEN, NIFTY_50, USDINR = 58963 << 8 | 2, 256265, 412675
EPOCH_S = 1_759_290_318
MANY = 200  # packets: enough for the way that decodes all of a kind at once


def tokens_of(*tokens: int) -> Tokens:
    exchange_of = {1: "NSE", 2: "NFO", 3: "CDS", 6: "CDS", 9: "NSE"}
    return Tokens(
        [
            make_instrument(symbol=str(token), exchange=exchange_of[token & 0xFF], token=str(token))
            for token in tokens
        ]
    )


TOKENS = tokens_of(NIFTY_50, TOKEN, USDINR)
VALUES: dict[str, Any] = {
    "token": TOKEN,
    "price": 23_585,
    "quantity": 75,
    "day_volume": 3_469_650,
    "time_s": EPOCH_S,
}


def packet(kind: np.dtype[np.void], **changes: object) -> bytes:
    """Return one right packet of TOKEN, its length in front, with ``changes``."""
    row = np.zeros(1, kind)
    for name, value in (VALUES | changes).items():
        if name in (kind.names or ()):
            row[name] = value
    return struct.pack(">H", kind.itemsize) + row.tobytes()


def with_best(bid: int, ask: int) -> bytes:
    row = np.frombuffer(bytearray(packet(FULL)), FULL, offset=2)
    row["bids"]["price"][0, :2] = bid, bid - 5
    row["asks"]["price"][0, :2] = ask, ask + 5
    return struct.pack(">H", FULL.itemsize) + row.tobytes()


def decoded(*packets: bytes) -> Decoded:
    return decode(frame(packets), TOKENS, NOW_NS)


def row_of(data: bytes) -> np.void:
    ticks, refused, skipped = decoded(data)
    assert (len(ticks), refused, skipped) == (1, 0, 0)
    tick: np.void = ticks[0]
    return tick


# Recorded packets ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"), [("ltpMode", LTP), ("quoteMode", QUOTE), ("fullMode", FULL)]
)
def test_a_recorded_frame_gives_the_values_published_beside_it(
    shared_data: Path, name: str, kind: np.dtype[np.void]
) -> None:
    data = (shared_data / f"kite/{name}_binary.packet").read_bytes()
    ((tick,), refused, _) = decode(data, tokens_of(884737), NOW_NS)
    assert refused == 0
    assert (tick["price_e4"], tick["instrument"], tick["ts_recv_ns"]) == (3_929_500, 0, NOW_NS)
    traded = (2, 22_261_032) if kind is not LTP else (0, 0)
    assert (tick["quantity"], tick["day_volume"]) == traded
    if kind is FULL:
        assert tick["ts_event_ns"] == 1_655_378_328 * 1_000_000_000
        assert (tick["bid_e4"], tick["ask_e4"]) == (3_929_500, 0)  # after the close


def published(shared_data: Path, mode: str) -> tuple[bytes, dict[str, Any]]:
    text = (shared_data / f"kite/ticker_{mode}.packet").read_text()
    values = json.loads((shared_data / f"kite/ticker_{mode}.json").read_text())
    return base64.b64decode(text), values


@pytest.mark.parametrize(("mode", "kind"), [("quote", QUOTE), ("full", FULL)])
def test_a_published_packet_has_the_fields_that_its_dtype_says(
    shared_data: Path, mode: str, kind: np.dtype[np.void]
) -> None:
    data, values = published(shared_data, mode)
    (row,) = np.frombuffer(data, kind)
    names = {
        "token": "instrument_token",
        "quantity": "last_quantity",
        "day_volume": "volume",
        "buy_quantity": "buy_quantity",
        "sell_quantity": "sell_quantity",
    }
    assert all(row[ours] == values[theirs] for ours, theirs in names.items())
    prices = values["ohlc"] | {"price": values["last_price"]}
    prices |= {"average_price": values["average_price"], "previous_close": prices.pop("close")}
    assert all(row[name] == round(price * 100) for name, price in prices.items())


def test_a_published_packet_gives_its_time_and_best_prices(shared_data: Path) -> None:
    data, values = published(shared_data, "full")
    tokens = tokens_of(values["instrument_token"])
    ((tick,), refused, _) = decode(frame([struct.pack(">H", len(data)) + data]), tokens, NOW_NS)
    assert refused == 0
    seconds = int(datetime.fromisoformat(values["timestamp"]).timestamp())
    assert tick["ts_event_ns"] == seconds * 1_000_000_000
    assert tick["bid_e4"] == round(values["depth"]["buy"][0]["price"] * 10_000)
    assert tick["ask_e4"] == round(values["depth"]["sell"][0]["price"] * 10_000)


def test_a_published_packet_has_five_levels_on_each_side(shared_data: Path) -> None:
    data, values = published(shared_data, "full")
    (row,) = np.frombuffer(data, FULL)
    for ours, theirs in (("bids", "buy"), ("asks", "sell")):
        levels = [(level["quantity"], level["price"], level["orders"]) for level in row[ours]]
        assert levels == [
            (level["quantity"], round(level["price"] * 100), level["orders"])
            for level in values["depth"][theirs]
        ]


# Packets made here ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["ltp", "quote", "full"])
@pytest.mark.parametrize("count", [1, 5, MANY])
def test_what_is_encoded_decodes_to_the_same_ticks(mode: str, count: int) -> None:
    ticks = make_ticks([88 + n / 20 for n in range(count)], quantity=75)
    ticks["seq"] = 0
    ticks["ts_recv_ns"] = NOW_NS
    ticks["instrument"] = np.arange(count) % 3
    ticks["bid_e4"], ticks["ask_e4"] = ticks["price_e4"] - 500, ticks["price_e4"] + 500
    of_index = ticks["instrument"] == 0
    for name in ("quantity", "day_volume", "bid_e4", "ask_e4"):
        ticks[name][of_index] = 0
    if mode != "full":
        ticks["bid_e4"] = ticks["ask_e4"] = ticks["ts_event_ns"] = 0
    if mode == "ltp":
        ticks["quantity"] = ticks["day_volume"] = 0
    result = decode(frame(encode(mode, ticks, TOKENS)), TOKENS, NOW_NS)
    assert result.refused == 0
    assert result.ticks.tobytes() == ticks.tobytes()


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: str(kind.itemsize))
@pytest.mark.parametrize("count", [1, 2, MANY])
def test_every_kind_gives_what_it_has(kind: np.dtype[np.void], count: int) -> None:
    ticks, refused, _ = decoded(*[packet(kind)] * count)
    assert (len(ticks), refused) == (count, 0)
    has = set(kind.names or ())
    assert set(ticks["price_e4"]) == {2_358_500}
    assert set(ticks["quantity"]) == {75 if "quantity" in has else 0}
    assert set(ticks["day_volume"]) == {3_469_650 if "day_volume" in has else 0}
    assert set(ticks["ts_event_ns"]) == {EPOCH_S * 10**9 if "time_s" in has else 0}


@pytest.mark.parametrize("times", [1, MANY])
def test_kinds_may_be_mixed_in_one_frame_and_keep_their_order(times: int) -> None:
    kinds = [FULL, LTP, INDEX_FULL, FULL, QUOTE, INDEX_QUOTE] * times
    packets = [packet(kind, price=number + 1) for number, kind in enumerate(kinds)]
    ticks, refused, _ = decoded(*packets)
    assert refused == 0
    assert ticks["price_e4"].tolist() == [100 * (number + 1) for number in range(len(kinds))]


def test_currency_derivatives_count_in_ten_millionths_of_a_rupee() -> None:
    usdinr = packet(FULL, token=USDINR, price=884_125_000)
    assert row_of(usdinr)["price_e4"] == 884_125
    assert set(decoded(*[usdinr] * MANY).ticks["price_e4"]) == {884_125}


@pytest.mark.parametrize("times", [1, MANY])
def test_a_side_of_the_depth_without_orders_is_0(times: int) -> None:
    for bid, ask, expected in ((23_580, 0, (2_358_000, 0)), (-5, 23_590, (0, 2_359_000))):
        ticks = decoded(*[with_best(bid, ask)] * times).ticks
        assert set(zip(ticks["bid_e4"].tolist(), ticks["ask_e4"].tolist(), strict=True)) == {
            expected
        }


def test_quantity_and_volume_and_time_are_unsigned() -> None:
    most = 2**32 - 1
    for ticks in (
        decoded(*[packet(FULL, quantity=most, day_volume=most, time_s=most)] * times).ticks
        for times in (1, MANY)
    ):
        assert (ticks["quantity"] == most).all()
        assert (ticks["day_volume"] == most).all()
        assert (ticks["ts_event_ns"] == most * 10**9).all()


def test_an_absent_time_stays_0() -> None:
    assert row_of(packet(FULL, time_s=0))["ts_event_ns"] == 0


def test_a_memoryview_is_as_good_as_bytes() -> None:
    for packets in ([packet(FULL)], [packet(FULL), packet(LTP)], [packet(FULL)] * MANY):
        data = frame(packets)
        assert decode(memoryview(data), TOKENS, 1).ticks.tobytes() == (
            decode(data, TOKENS, 1).ticks.tobytes()
        )


@pytest.mark.parametrize("times", [1, 2, MANY])
def test_the_rows_belong_to_the_caller(times: int) -> None:
    data = frame([packet(FULL)] * times)
    first, second = (decode(data, TOKENS, NOW_NS).ticks for _ in range(2))
    first["price_e4"] = 1
    assert (second["price_e4"] == 2_358_500).all()


def test_only_prices_and_volumes_that_fit_the_wire_are_exact() -> None:
    ticks = np.zeros(6, TICK)
    ticks["instrument"] = [1, 1, 1, 2, 1, 1]
    ticks["price_e4"] = [884_100, 884_125, 2**31 * 100, 884_125, 10_000, (2**31 - 1) * 100]
    ticks["day_volume"] = [2**32 - 1, 0, 0, 0, 2**32, 0]
    assert is_exact(ticks, TOKENS).tolist() == [True, False, False, True, False, True]


# Frames that are not as they should be -------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2, MANY])
@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: str(kind.itemsize))
@pytest.mark.parametrize("changes", [{"token": 1}, {"token": 0}, {"price": 0}, {"price": -1}])
def test_a_packet_that_cannot_be_true_is_refused_alone(
    times: int, kind: np.dtype[np.void], changes: dict[str, int]
) -> None:
    right, wrong = packet(kind), packet(kind, **changes)
    ticks, refused, skipped = decoded(*[right, wrong, right] * times)
    assert (len(ticks), refused, skipped) == (2 * times, times, len(wrong) * times)
    assert (ticks["price_e4"] == 2_358_500).all()
    assert decoded(wrong)[1:] == (1, len(wrong))


@pytest.mark.parametrize("times", [1, MANY])
@pytest.mark.parametrize("length", [0, 1, 7, 9, 164, 183, 185])
def test_a_packet_of_an_unknown_length_is_stepped_over(times: int, length: int) -> None:
    unknown = struct.pack(">H", length) + bytes(length)
    ticks, refused, skipped = decoded(*[packet(FULL), unknown, packet(LTP)] * times)
    assert (len(ticks), refused, skipped) == (2 * times, times, len(unknown) * times)
    assert decoded(unknown)[1:] == (1, len(unknown))


@pytest.mark.parametrize("times", [1, 2, MANY])
@pytest.mark.parametrize("cut", [1, 100, 185])
def test_a_frame_that_ends_too_early_gives_its_whole_packets(times: int, cut: int) -> None:
    whole = frame([packet(FULL)] * times)
    ticks, refused, skipped = decode(whole[:-cut], TOKENS, NOW_NS)
    assert (len(ticks), refused, skipped) == (times - 1, 1, len(packet(FULL)) - cut)


@pytest.mark.parametrize("times", [1, 2, MANY])
def test_a_frame_that_goes_on_behind_its_last_packet_is_counted(times: int) -> None:
    ticks, refused, skipped = decode(frame([packet(FULL)] * times) + b"\0", TOKENS, NOW_NS)
    assert (len(ticks), refused, skipped) == (times, 1, 1)


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\1", b"\0\1\0", b"\xff\xff", b"\xff\xff\0\x08"])
def test_a_frame_of_nothing_is_refused(data: bytes) -> None:
    ticks, refused, skipped = decode(data, TOKENS, NOW_NS)
    assert (len(ticks), refused) == (0, 1)
    assert skipped == (len(data) if len(data) < 2 else len(data) - 2)


def test_a_frame_of_no_packets_is_empty() -> None:
    ticks, refused, skipped = decode(b"\0\0", TOKENS, NOW_NS)
    assert (len(ticks), refused, skipped) == (0, 0, 0)


def test_every_shorter_frame_is_counted_and_the_next_one_is_read() -> None:
    whole = frame([packet(FULL), packet(INDEX_QUOTE), packet(LTP)])
    for length in range(len(whole)):
        assert decode(whole[:length], TOKENS, NOW_NS).refused == 1
        assert decode(whole, TOKENS, NOW_NS).refused == 0


@pytest.mark.parametrize("times", [1, MANY])
def test_a_uniform_frame_counts_the_bytes_of_each_packet_that_cannot_be_true(times: int) -> None:
    wrong = packet(QUOTE, token=1)
    ticks, refused, skipped = decoded(*[packet(QUOTE), wrong] * times)
    assert (len(ticks), refused, skipped) == (times, times, len(wrong) * times)
