"""Kite's decoder against bytes that nobody wrote, beside the same read by hand."""

from __future__ import annotations

import struct

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.brokers.kite.session import KiteSession
from pipeline.brokers.kite.tokens import Tokens
from pipeline.brokers.kite.wire import FULL, KINDS, decode, frame
from pipeline.settings import SIMULATOR_SECRETS, FeedSettings
from pipeline.testing import make_instrument
from tests import by_hand

# A busy machine is no finding.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NOW_NS = 1
SCALES = {256265: (100, 1), 412675: (1, 1_000), 513030: (1, 1), 58963 << 8 | 2: (100, 1)}
INSTRUMENTS = [
    make_instrument(symbol=str(token), token=str(token), exchange=exchange)
    for token, exchange in zip(SCALES, ("NSE", "CDS", "CDS", "NFO"), strict=True)
]
TOKENS = Tokens(INSTRUMENTS)

tokens = st.sampled_from([*SCALES, 1, 2**32 - 1])
prices = st.integers(-1, 2) | st.integers(-(2**31), 2**31 - 1)
rubble = st.binary(max_size=200)


def packet(length: int, token: int, price: int, rest: bytes) -> bytes:
    body = struct.pack(">Ii", token, price) + rest.ljust(length, b"\x01")
    return struct.pack(">H", length) + body[:length]


known = st.builds(packet, st.sampled_from([*KINDS]), tokens, prices, rubble)
unknown = st.builds(packet, st.integers(0, 200), tokens, prices, rubble)
packets = st.lists(known | unknown, max_size=8)
times = st.sampled_from([1, 1, 1, 20])  # 20: enough for the way that decodes kinds at once
frames = st.builds(lambda some, n: frame(some * n), packets, times)
uniform = st.builds(lambda one, n: frame([one] * n), known, st.sampled_from([1, 2, 33, 100]))
wrong_count = st.builds(
    lambda data, count: struct.pack(">H", count) + data[2:], frames, st.integers(0, 65_535)
)
cut = st.builds(lambda data, size: data[:size], frames | uniform, st.integers(0, 4_000))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(frames | uniform))
    for _ in range(draw(st.integers(1, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


anything = rubble | frames | uniform | wrong_count | cut | mutated()


@settings(patient, max_examples=400)
@given(anything)
@example(frame([packet(FULL.itemsize, 412675, 999, b"")] * 40))
def test_every_byte_is_decoded_or_refused_as_by_hand(data: bytes) -> None:
    ticks, refused, skipped = decode(data, TOKENS, NOW_NS)
    assert (ticks.tolist(), refused, skipped) == by_hand.kite(data, SCALES, NOW_NS)


@patient
@given(st.lists(anything, max_size=5))
def test_a_broken_frame_does_not_change_what_the_next_ones_mean(batch: list[bytes]) -> None:
    right = frame([packet(FULL.itemsize, 412675, 884_125_000, b"")])
    expected = decode(right, TOKENS, NOW_NS).ticks.tobytes()
    for data in batch:
        decode(data, TOKENS, NOW_NS)
        assert decode(right, TOKENS, NOW_NS).ticks.tobytes() == expected


@patient
@given(anything)
def test_what_is_taken_is_a_true_tick(data: bytes) -> None:
    ticks = decode(data, TOKENS, NOW_NS).ticks
    assert (ticks["price_e4"] > 0).all()
    assert (ticks["ts_event_ns"] >= 0).all()
    assert (ticks["bid_e4"] >= 0).all()
    assert (ticks["ask_e4"] >= 0).all()
    assert not ticks["seq"].any()


@patient
@given(st.text())
def test_no_text_makes_the_session_raise(text: str) -> None:
    received = session_of("full").on_text(text, NOW_NS)
    assert len(received.ticks) == 0
    assert bool(received.notice) != bool(received.refused)
    assert received.skipped == 0


@patient
@given(st.sampled_from(["ltp", "quote", "full"]), st.lists(anything | st.none(), max_size=8))
def test_every_packet_is_a_tick_a_duplicate_or_refused(
    mode: str, batch: list[bytes | None]
) -> None:
    session = session_of(mode)
    session.on_open()
    for data in batch:
        if data is None:
            session.on_open()
            continue
        ticks, refused, _ = decode(data, TOKENS, NOW_NS)
        promised = 0 if len(data) == 1 else len(ticks) + refused
        received = session.on_binary(data, NOW_NS)
        assert len(received.ticks) + received.duplicates + received.refused == promised


def session_of(mode: str) -> KiteSession:
    feed = FeedSettings.model_validate({"broker": "kite", "mode": mode})
    return KiteSession(feed, INSTRUMENTS, SIMULATOR_SECRETS)
