"""The best five of both sides, as both brokers send them and as DEPTH rows."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.brokers.kite import wire as kite
from pipeline.brokers.kite.session import KiteSession
from pipeline.brokers.kite.tokens import Tokens
from pipeline.brokers.smartapi import wire as smart
from pipeline.brokers.smartapi.session import SmartApiSession
from pipeline.records import DEPTH, TICK, TICK_WITH_DEPTH
from pipeline.settings import SIMULATOR_SECRETS, FeedSettings
from pipeline.testing import make_instrument
from tests import peers

NOW_NS = 7
NFO, CDS = 58963 << 8 | 2, 412675
INSTRUMENTS = [
    make_instrument(symbol="A", token=str(NFO)),
    make_instrument(symbol="B", token=str(CDS), exchange="CDS"),
]
TOKENS = Tokens(INSTRUMENTS)
SMART_KEYS = {(2, b"58963"): 0, (13, b"1146"): 1}
MANY = 50  # enough for the way that decodes a frame at once
BIDS = [(75 * n, 23_585 - 5 * n, n) for n in range(5)]  # quantity, price, orders
ASKS = [(150 * n, 23_590 + 5 * n, 2 * n) for n in range(5)]


def kite_packet(kind: np.dtype[Any] = kite.FULL, **fields: Any) -> bytes:
    row = np.zeros(1, kind)
    given = {"token": NFO, "price": 23_585, "time_s": 1_790_000_000, "quantity": 1} | fields
    for name, value in given.items():
        if name in (kind.names or ()):
            row[name] = value
    if kind is kite.FULL and "bids" not in fields:
        for side, levels in (("bids", BIDS), ("asks", ASKS)):
            row[side] = [(*level, b"") for level in levels]
    return struct.pack(">H", kind.itemsize) + row.tobytes()


def kite_rows(*packets: bytes) -> NDArray[np.void]:
    decoded = kite.decode(kite.frame(packets), TOKENS, NOW_NS, row_type=TICK_WITH_DEPTH)
    assert decoded.ticks.dtype == TICK_WITH_DEPTH
    return decoded.ticks


def smart_packet(levels: list[tuple[int, int, int, int]], **fields: Any) -> bytes:
    """Return a SnapQuote with (flag, quantity, price, orders) for each level."""
    row = np.zeros(1, smart.SNAPQUOTE)
    given = {"mode": 3, "exchange_type": 2, "token": b"58963", "price": 23_585, "time_ms": 9}
    for name, value in (given | fields).items():
        row[name] = value
    row["depth"] = levels
    return row.tobytes()


def smart_rows(data: bytes) -> NDArray[np.void]:
    decoded = smart.decode(data, SMART_KEYS, NOW_NS, TICK_WITH_DEPTH)
    assert decoded is not None
    return decoded.ticks


def sides(depth: np.void) -> tuple[list[Any], list[Any]]:
    """Return the levels that are there: (price_e4, quantity, orders), best first."""
    return tuple(
        [
            level
            for level in zip(
                depth[f"{side}_e4"].tolist(),
                depth[f"{side}_quantity"].tolist(),
                depth[f"{side}_orders"].tolist(),
                strict=True,
            )
            if any(level)
        ]
        for side in ("bid", "ask")
    )


FLAGGED = [(1, *level) for level in BIDS] + [(0, *level) for level in ASKS]
IN_E4 = (
    [(price * 100, quantity, orders) for quantity, price, orders in BIDS],
    [(price * 100, quantity, orders) for quantity, price, orders in ASKS],
)


@pytest.mark.parametrize("times", [1, 2, MANY])
def test_a_full_packet_of_kite_has_five_levels_of_each_side(times: int) -> None:
    rows = kite_rows(*[kite_packet()] * times)
    assert len(rows) == times
    for row in rows:
        assert sides(row["depth"]) == IN_E4
        assert row["depth"]["ts_recv_ns"] == NOW_NS
        assert row["depth"]["ts_event_ns"] == row["ts_event_ns"] == 1_790_000_000 * 1_000_000_000


@pytest.mark.parametrize("times", [1, MANY])
def test_the_tick_is_the_same_with_and_without_its_depth(times: int) -> None:
    packets = [kite_packet(), kite_packet(kite.LTP), kite_packet(token=CDS)] * times
    bare = kite.decode(kite.frame(packets), TOKENS, NOW_NS)
    rows = kite_rows(*packets)
    assert np.ascontiguousarray(rows["tick"]).tobytes() == bare.ticks.tobytes()
    for name in TICK.names or ():
        assert (rows[name] == bare.ticks[name]).all()


@pytest.mark.parametrize("times", [1, MANY])
def test_a_packet_without_depth_has_none(times: int) -> None:
    rows = kite_rows(*[kite_packet(), kite_packet(kite.QUOTE), kite_packet(kite.LTP)] * times)
    assert rows["depth"]["ts_recv_ns"].tolist() == [NOW_NS, 0, 0] * times
    assert sides(rows["depth"][1]) == ([], [])


@pytest.mark.parametrize("times", [1, MANY])
def test_the_depth_of_kite_counts_as_its_segment_does(times: int) -> None:
    levels = [(10, 884_125_000 - n * 25_000, 1, b"") for n in range(5)]
    rows = kite_rows(*[kite_packet(token=CDS, bids=levels, asks=levels)] * times)
    assert rows["depth"]["bid_e4"][0].tolist() == [884_125 - 25 * n for n in range(5)]
    assert (rows["depth"]["instrument"] == 1).all()


@pytest.mark.parametrize("times", [1, MANY])
def test_a_level_that_cannot_be_true_is_no_level(times: int) -> None:
    levels = [(5, 23_585, 1, b""), (5, 0, 1, b""), (5, -3, 1, b""), (5, 1, 1, b""), (0, 0, 0, b"")]
    rows = kite_rows(*[kite_packet(bids=levels, asks=levels)] * times)
    assert sides(rows[0]["depth"])[0] == [(2_358_500, 5, 1), (100, 5, 1)]


def test_a_refused_packet_leaves_no_depth() -> None:
    rows = kite_rows(*[kite_packet(), kite_packet(price=0), kite_packet(token=CDS)] * MANY)
    assert rows["depth"]["instrument"].tolist() == [0, 1] * MANY


def test_a_snapquote_goes_by_the_flag_and_has_the_best_first() -> None:
    for levels in (FLAGGED, FLAGGED[::-1], FLAGGED[::2] + FLAGGED[1::2]):
        (row,) = smart_rows(smart_packet(levels))
        assert sides(row["depth"]) == IN_E4
        assert (row["depth"]["ts_recv_ns"], row["depth"]["ts_event_ns"]) == (NOW_NS, 9_000_000)


def test_a_snapquote_of_one_side_has_five_levels_of_it() -> None:
    (row,) = smart_rows(smart_packet([(1, 75, 23_585 - n, 1) for n in range(10)]))
    bids, asks = sides(row["depth"])
    assert [price for price, _, _ in bids] == [(23_585 - n) * 100 for n in range(5)]
    assert asks == []


def test_impossible_levels_of_a_snapquote_are_none() -> None:
    levels = [(1, 5, 23_585, 1), (7, 5, 23_590, 1), (1, -5, 23_595, 1), (0, 5, 2**62, 1)]
    (row,) = smart_rows(smart_packet(levels + [(0, 0, 0, 0)] * 6))
    assert sides(row["depth"]) == ([(2_358_500, 5, 1)], [])


def test_the_depth_of_a_currency_derivative_of_smartapi() -> None:
    levels = [(1, 1, 884_125_000, 1), (0, 1, 884_150_000, 1)] + [(1, 0, 0, 0)] * 8
    (row,) = smart_rows(smart_packet(levels, exchange_type=13, token=b"1146", price=884_125_000))
    assert sides(row["depth"]) == ([(884_125, 1, 1)], [(884_150, 1, 1)])
    assert row["depth"]["instrument"] == 1


def test_a_mode_of_smartapi_without_depth_has_none() -> None:
    (row,) = smart_rows(smart.encode("quote", ticks_of_one(), list(SMART_KEYS), 1).tobytes())
    assert row["depth"]["ts_recv_ns"] == 0


def ticks_of_one() -> NDArray[np.void]:
    tick = np.zeros(1, TICK)
    tick["price_e4"] = 2_358_500
    return tick


def test_a_recorded_packet_of_kite_has_the_depth_that_is_published_with_it(
    shared_data: Path,
) -> None:
    data = (shared_data / "kite/fullMode_binary.packet").read_bytes()
    tokens = Tokens([make_instrument(token="884737", exchange="NSE")])
    (row,) = kite.decode(data, tokens, NOW_NS, row_type=TICK_WITH_DEPTH).ticks
    bids, asks = sides(row["depth"])
    assert bids[0][0] == row["bid_e4"] == 3_929_500
    assert asks == []  # after the close


def test_a_depth_says_what_kiteticker_says() -> None:
    pytest.importorskip("kiteconnect", reason="needs `pip install tickpipe[peers]`")
    (theirs,) = peers.kite_parser()(kite.frame([kite_packet()]))
    told = [
        [(round(level["price"] * 10_000), level["quantity"], level["orders"]) for level in side]
        for side in (theirs["depth"]["buy"], theirs["depth"]["sell"])
    ]
    assert tuple(told) == sides(kite_rows(kite_packet())[0]["depth"])


def test_a_depth_says_what_smartwebsocketv2_says() -> None:
    pytest.importorskip("SmartApi", reason="needs `pip install tickpipe[peers]`")
    packet = smart_packet(FLAGGED)
    theirs = peers.smart_parser()(packet)
    told = [
        [(level["price"] * 100, level["quantity"], level["no of orders"]) for level in side]
        for side in (theirs["best_5_buy_data"], theirs["best_5_sell_data"])
    ]
    assert tuple(told) == sides(smart_rows(packet)[0]["depth"])


# Sessions -------------------------------------------------------------------------------------


def feed(broker: str) -> FeedSettings:
    return FeedSettings.model_validate({"broker": broker, "mode": "full"})


def test_the_sessions_give_rows_with_depth_where_it_was_asked_for() -> None:
    session = KiteSession(feed("kite"), INSTRUMENTS, SIMULATOR_SECRETS, depth=True)
    session.on_open()
    data = kite.frame([kite_packet()])
    assert session.on_binary(data, NOW_NS).ticks.dtype == TICK_WITH_DEPTH
    session.on_open()
    assert session.on_binary(data, NOW_NS).duplicates == 1  # the snapshot after a reconnect
    other = SmartApiSession(
        feed("smartapi"), [make_instrument(token="58963")], SIMULATOR_SECRETS, depth=True
    )
    received = other.on_binary(smart_packet(FLAGGED, sequence=5), NOW_NS)
    assert sides(received.ticks["depth"][0]) == IN_E4
    assert other.on_binary(smart_packet(FLAGGED, sequence=5), NOW_NS).duplicates == 1


def test_without_it_nothing_is_carried() -> None:
    session = KiteSession(feed("kite"), INSTRUMENTS, SIMULATOR_SECRETS)
    session.on_open()
    assert session.on_binary(kite.frame([kite_packet()]), NOW_NS).ticks.dtype == TICK


def test_a_row_with_depth_is_a_tick_and_a_depth() -> None:
    assert TICK_WITH_DEPTH.itemsize == TICK.itemsize + DEPTH.itemsize
    rows = np.zeros(2, TICK_WITH_DEPTH)
    rows["price_e4"] = [1, 2]
    assert rows["tick"]["price_e4"].tolist() == [1, 2]
    assert not rows["depth"]["seq"].any()
