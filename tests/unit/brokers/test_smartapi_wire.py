"""SmartAPI's packets, against recorded ones and against packets made here."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.brokers.smartapi.wire import (
    LTP,
    MODE_LTP,
    MODE_QUOTE,
    MODE_SNAPQUOTE,
    QUOTE,
    SNAPQUOTE,
    decode,
    encode,
    instrument_key,
    is_exact,
)
from pipeline.records import TICK
from pipeline.testing import make_instrument, make_ticks

NOW_NS = 123_456_789
KEY = (2, b"58963")
INSTRUMENT_OF = {(2, b"1"): 0, KEY: 1}


def packet(dtype: np.dtype[np.void], **changes: object) -> NDArray[np.void]:
    """Return one right packet of KEY, with ``changes``."""
    mode = {LTP: MODE_LTP, QUOTE: MODE_QUOTE, SNAPQUOTE: MODE_SNAPQUOTE}[dtype]
    fields = {"mode": mode, "exchange_type": KEY[0], "token": KEY[1], "sequence": 9, "price": 23585}
    fields |= {"time_ms": 1_759_290_318_250}
    if dtype != LTP:
        fields |= {"quantity": 75, "day_volume": 3_469_650}
    packets = np.zeros(1, dtype)
    for name, value in (fields | changes).items():
        packets[name] = value
    return packets


def decoded_row(data: bytes | memoryview) -> np.void:
    decoded = decode(data, INSTRUMENT_OF, NOW_NS)
    assert decoded is not None
    return decoded.ticks[0]


# Recorded packets ----------------------------------------------------------------------------


def recorded_frames(shared_data: Path) -> list[bytes]:
    data = gzip.decompress((shared_data / "angel/ltp_frames_first5000.bin.gz").read_bytes())
    return [data[start : start + 51] for start in range(0, len(data), 51)]


def test_recorded_frames_give_the_values_published_beside_them(shared_data: Path) -> None:
    with gzip.open(shared_data / "angel/ltp_messages_first5000.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    frames = recorded_frames(shared_data)
    instrument_of = {(1, b"26009"): 0, (1, b"2885"): 1}
    assert len(frames) == len(rows) == 5_000
    for frame, row in zip(frames, rows, strict=True):
        decoded = decode(frame, instrument_of, NOW_NS)
        assert decoded is not None
        (tick,) = decoded.ticks
        assert decoded.sequence == int(row["sequence_number"])
        assert decoded.instrument == tick["instrument"] == ("26009", "2885").index(row["token"])
        assert tick["price_e4"] == int(row["last_traded_price_paise"]) * 100
        assert tick["ts_event_ns"] == int(row["exchange_timestamp_ms"]) * 1_000_000
        assert tick["ts_recv_ns"] == NOW_NS


def test_recorded_frames_are_encoded_byte_for_byte(shared_data: Path) -> None:
    keys = [(1, b"26009"), (1, b"2885")]
    instrument_of = {key: index for index, key in enumerate(keys)}
    for frame in recorded_frames(shared_data):
        decoded = decode(frame, instrument_of, NOW_NS)
        assert decoded is not None
        assert encode("ltp", decoded.ticks, keys, decoded.sequence).tobytes() == frame


def test_a_recorded_snapquote_gives_trade_volume_and_best_prices(shared_data: Path) -> None:
    published = json.loads((shared_data / "angel/angel_v2_snapquote_INFY.json").read_text())
    frame = (shared_data / "angel/angel_v2_snapquote_INFY.bin").read_bytes()
    decoded = decode(frame, {(1, published["token"].encode()): 3}, NOW_NS)
    assert decoded is not None
    assert decoded.sequence == published["sequence_number"]
    (tick,) = decoded.ticks
    assert tick["instrument"] == 3
    assert tick["price_e4"] == published["last_traded_price"] * 100
    assert tick["ts_event_ns"] == published["exchange_timestamp"] * 1_000_000
    assert tick["quantity"] == published["last_traded_quantity"]
    assert tick["day_volume"] == published["volume_trade_for_the_day"]
    assert tick["bid_e4"] == max(level["price"] for level in published["best_5_buy_data"]) * 100
    assert tick["ask_e4"] == min(level["price"] for level in published["best_5_sell_data"]) * 100


# Packets made here ---------------------------------------------------------------------------


def some_ticks() -> NDArray[np.void]:
    ticks = make_ticks([235.85, 237.25, 0.05], quantity=75, step_ms=250)
    ticks["seq"] = 0
    ticks["ts_recv_ns"] = NOW_NS
    ticks["instrument"] = (1, 0, 1)
    return ticks


@pytest.mark.parametrize("mode", ["ltp", "quote", "full"])
def test_what_is_encoded_decodes_to_the_same_tick(mode: str) -> None:
    ticks = some_ticks()
    if mode == "ltp":
        ticks["quantity"] = ticks["day_volume"] = 0
    if mode == "full":
        ticks["bid_e4"], ticks["ask_e4"] = ticks["price_e4"] - 500, ticks["price_e4"] + 500
    for place, row in enumerate(encode(mode, ticks, list(INSTRUMENT_OF), first_sequence=7)):
        decoded = decode(row.tobytes(), INSTRUMENT_OF, NOW_NS)
        assert decoded is not None
        assert decoded.sequence == 7 + place
        assert decoded.ticks.tobytes() == ticks[place : place + 1].tobytes()


def test_an_instrument_is_named_by_exchange_type_and_token() -> None:
    names = ("NSE", "NFO", "BSE", "BFO", "MCX", "CDS")
    keys = [instrument_key(make_instrument(exchange=name, token="58963")) for name in names]
    assert keys == [(kind, b"58963") for kind in (1, 2, 3, 4, 5, 13)]


def test_the_same_token_of_another_exchange_is_another_instrument() -> None:
    assert decode(packet(LTP, exchange_type=1).tobytes(), INSTRUMENT_OF, NOW_NS) is None


def test_bytes_after_the_nul_of_a_token_do_not_count() -> None:
    data = bytearray(packet(LTP).tobytes())
    data[20:26] = b"rubble"
    assert decoded_row(bytes(data))["instrument"] == 1


def test_a_packet_that_grew_at_its_end_is_read() -> None:
    assert decoded_row(packet(LTP).tobytes() + b"new")["price_e4"] == 2_358_500
    assert decoded_row(packet(QUOTE).tobytes() + bytes(40))["quantity"] == 75


def test_the_bytes_that_grew_are_counted() -> None:
    for grown in (b"", b"new"):
        decoded = decode(packet(LTP).tobytes() + grown, INSTRUMENT_OF, NOW_NS)
        assert decoded is not None
        assert decoded.skipped == len(grown)


def test_a_memoryview_is_as_good_as_bytes() -> None:
    for dtype in (LTP, QUOTE, SNAPQUOTE):
        data = packet(dtype).tobytes()
        assert decoded_row(memoryview(data)) == decoded_row(data)


def test_the_row_belongs_to_the_caller() -> None:
    data = packet(LTP).tobytes()
    first, second = (decode(data, INSTRUMENT_OF, NOW_NS) for _ in range(2))
    assert first is not None
    assert second is not None
    first.ticks["price_e4"] = 1
    assert second.ticks["price_e4"] == 2_358_500


def test_currency_derivatives_count_in_ten_millionths_of_a_rupee() -> None:
    key = (13, b"1")
    tick = np.zeros(1, TICK)
    tick["price_e4"] = 884_125  # ₹ 88.4125
    (row,) = encode("quote", tick, [key], 1)
    assert row["price"] == 884_125_000
    decoded = decode(row.tobytes(), {key: 0}, NOW_NS)
    assert decoded is not None
    assert decoded.ticks["price_e4"] == 884_125


def test_only_whole_paise_are_exact_except_in_currency() -> None:
    ticks = make_ticks([88.4125, 88.41, 88.4125])
    ticks["instrument"] = (0, 0, 1)
    assert is_exact(ticks, [(2, b"1"), (13, b"2")]).tolist() == [False, True, True]


# Depth ---------------------------------------------------------------------------------------


def with_depth(*levels: tuple[int, int]) -> bytes:
    packets = packet(SNAPQUOTE)
    for place, (flag, price) in enumerate(levels):
        packets["depth"][0, place] = (flag, 10, price, 1)
    return packets.tobytes()


def test_sides_of_the_depth_go_by_the_flag_and_not_by_the_place() -> None:
    row = decoded_row(with_depth((0, 23_595), (1, 23_580), (0, 23_590), (1, 23_585)))
    assert (row["bid_e4"], row["ask_e4"]) == (2_358_500, 2_359_000)


ASKS = [(0, 23_590), (0, 23_595), (0, 23_600), (0, 23_605), (0, 23_610)]
BIDS = [(1, 23_585), (1, 23_580), (1, 23_575), (1, 23_570), (1, 23_565)]


@pytest.mark.parametrize(
    "levels", [BIDS + ASKS, ASKS + BIDS, BIDS[::-1] + ASKS[::-1], (BIDS + ASKS)[::-1]]
)
def test_a_whole_depth_gives_its_best_prices_in_whatever_order(
    levels: list[tuple[int, int]],
) -> None:
    row = decoded_row(with_depth(*levels))
    assert (row["bid_e4"], row["ask_e4"]) == (2_358_500, 2_359_000)


@pytest.mark.parametrize("price", [2**63 - 1, 2**63 // 100 + 1])
def test_a_price_of_the_depth_that_cannot_be_counted_is_passed_over(price: int) -> None:
    row = decoded_row(with_depth((1, price), *BIDS[:4], (0, price), *ASKS[:4]))
    assert (row["bid_e4"], row["ask_e4"]) == (2_358_500, 2_359_000)
    row = decoded_row(with_depth(*BIDS, *[(0, price)] * 5))
    assert (row["bid_e4"], row["ask_e4"]) == (2_358_500, 0)


def test_an_empty_side_of_the_depth_is_0() -> None:
    row = decoded_row(with_depth((1, 23_580), (0, 0), (0, -5), (7, 23_590)))
    assert (row["bid_e4"], row["ask_e4"]) == (2_358_000, 0)


# Refused packets -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [LTP, QUOTE, SNAPQUOTE])
def test_every_shorter_frame_is_refused(dtype: np.dtype[np.void]) -> None:
    data = packet(dtype).tobytes()
    assert decode(data, INSTRUMENT_OF, NOW_NS) is not None
    for length in range(len(data)):
        assert decode(data[:length], INSTRUMENT_OF, NOW_NS) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": 0},
        {"mode": 4},
        {"token": b"58964"},
        {"token": b""},
        {"price": 0},
        {"price": -1},
        {"price": 2**63 // 100 + 1},
        {"time_ms": -1},
        {"time_ms": 2**63 // 1_000_000 + 1},
        {"sequence": -1},
        {"quantity": -1},
        {"quantity": 2**32},
        {"day_volume": -1},
    ],
    ids=str,
)
def test_a_packet_that_cannot_be_true_is_refused(changes: dict[str, object]) -> None:
    assert decode(packet(QUOTE, **changes).tobytes(), INSTRUMENT_OF, NOW_NS) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"price": 2**63 // 100},
        {"time_ms": 0},
        {"sequence": 0},
        {"quantity": 2**32 - 1},
        {"day_volume": 2**63 - 1},
    ],
    ids=str,
)
def test_the_outermost_value_that_can_be_true_is_taken(changes: dict[str, object]) -> None:
    assert decode(packet(QUOTE, **changes).tobytes(), INSTRUMENT_OF, NOW_NS) is not None
