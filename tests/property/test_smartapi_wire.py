"""SmartAPI's decoder against bytes that nobody wrote."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.brokers.smartapi.session import SmartApiSession
from pipeline.brokers.smartapi.wire import LTP, QUOTE, SNAPQUOTE, decode, encode
from pipeline.records import TICK
from pipeline.settings import SIMULATOR_SECRETS, FeedSettings
from pipeline.testing import make_instrument
from tests import by_hand

NOW_NS = 1
SIZES = {1: LTP.itemsize, 2: QUOTE.itemsize, 3: SNAPQUOTE.itemsize}
KEY = (2, b"1")
HEAD = bytes((KEY[0],)) + KEY[1].ljust(25, b"\0")  # what makes the rest worth reading

rubble = st.binary(max_size=SNAPQUOTE.itemsize + 20)
plausible = st.builds(
    lambda mode, rest, size: (bytes((mode,)) + HEAD + rest)[:size],
    st.integers(0, 5),
    st.binary(min_size=SNAPQUOTE.itemsize, max_size=SNAPQUOTE.itemsize),
    st.sampled_from([LTP.itemsize, QUOTE.itemsize, SNAPQUOTE.itemsize, 0, 50, 122, 378, 400]),
)
small = st.builds(
    lambda mode, numbers: bytes((mode,)) + HEAD + np.array(numbers, "<i8").tobytes(),
    st.integers(1, 3),
    st.lists(st.integers(-2, 5) | st.integers(2**63 - 3, 2**63 - 1), min_size=44, max_size=44),
)
frames = rubble | plausible | small


@given(frames)
def test_no_bytes_make_it_raise_and_what_it_takes_is_a_true_tick(data: bytes) -> None:
    decoded = decode(data, {KEY: 0}, NOW_NS)
    if decoded is None:
        return
    (tick,) = decoded.ticks
    assert tick["price_e4"] > 0
    assert tick["ts_event_ns"] >= 0
    assert tick["bid_e4"] >= 0
    assert tick["ask_e4"] >= 0
    assert (tick["seq"], tick["instrument"], tick["ts_recv_ns"]) == (0, 0, NOW_NS)
    assert decoded.sequence >= 0


@given(frames)
def test_every_byte_is_decoded_or_refused_as_by_hand(data: bytes) -> None:
    decoded = decode(data, {KEY: 0}, NOW_NS)
    rows, _, skipped = by_hand.smart(data, {KEY: 0}, NOW_NS)
    assert (decoded.ticks.tolist() if decoded else []) == rows
    assert (decoded.skipped if decoded else len(data)) == skipped


@given(st.lists(frames, max_size=20))
def test_every_frame_is_a_tick_a_duplicate_or_refused(batch: list[bytes]) -> None:
    session = SmartApiSession(
        FeedSettings.model_validate({"broker": "smartapi"}),
        [make_instrument(exchange="NFO", token="1")],
        SIMULATOR_SECRETS,
    )
    received = [session.on_binary(data, NOW_NS) for data in batch]
    assert all(len(r.ticks) + r.duplicates + r.refused == 1 for r in received)
    sizes = [0 if r.refused else SIZES[data[0]] for r, data in zip(received, batch, strict=True)]
    assert [r.skipped + n for r, n in zip(received, sizes, strict=True)] == list(map(len, batch))


@given(
    sequences=st.lists(st.integers(1, 12), max_size=40),
    time_ms=st.integers(0, 59_999),
)
def test_an_instruments_sequence_only_rises(sequences: list[int], time_ms: int) -> None:
    session = SmartApiSession(
        FeedSettings.model_validate({"broker": "smartapi"}), [make_instrument()], SIMULATOR_SECRETS
    )
    tick = np.zeros(1, TICK)
    tick["price_e4"], tick["ts_event_ns"] = 10_000, time_ms * 1_000_000
    taken = [
        sequence
        for sequence in sequences
        if len(session.on_binary(encode("quote", tick, [KEY], sequence).tobytes(), NOW_NS).ticks)
    ]
    assert taken == sorted(set(taken))
    assert taken[-1:] == ([max(sequences)] if sequences else [])


@given(st.text())
def test_no_text_makes_the_session_raise(text: str) -> None:
    session = SmartApiSession(
        FeedSettings.model_validate({"broker": "smartapi"}), [make_instrument()], SIMULATOR_SECRETS
    )
    received = session.on_text(text, NOW_NS)
    assert len(received.ticks) == 0
    assert (received.notice == "") == (text == "pong")
