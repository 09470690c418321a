"""Frames split from bytes as they come, against an encoder of others and bytes nobody wrote."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websocket import ABNF

from pipeline.feed.frames import FrameError, Frames, Opcode

TEXT, BINARY, CONTINUATION = Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION
CONTROLS = (Opcode.CLOSE, Opcode.PING, Opcode.PONG)
LIMIT = 200_000

sizes = st.sampled_from([0, 1, 124, 125, 126, 127, 186, 65_535, 65_536, 70_000])
payloads = sizes.map(lambda size: bytes(range(256)) * (size // 256 + 1)).flatmap(
    lambda data: sizes.map(lambda size: data[:size])
)
small = st.binary(max_size=125)
controls = st.tuples(st.sampled_from(CONTROLS), small)
messages = st.tuples(st.sampled_from([TEXT, BINARY]), st.lists(payloads, min_size=1, max_size=3))


def sent(opcode: int, data: bytes, fin: int = 1) -> bytes:
    """Return a frame of a server, made by websocket-client."""
    return bytes(ABNF(fin, 0, 0, 0, opcode, 0, data).format())


def in_frames(
    message: tuple[Opcode, list[bytes]], between: Iterable[tuple[Opcode, bytes]]
) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Return the bytes of a message in fragments, a control frame behind each but the last, and
    what is to come of them."""
    opcode, parts = message
    raw, expected = b"", []
    waiting = iter(between)
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        raw += sent(CONTINUATION if number else opcode, part, int(is_last))
        control = None if is_last else next(waiting, None)
        if control is not None:
            raw += sent(*control)
            expected.append(control)
    return raw, [*expected, (opcode, b"".join(parts))]


def split(raw: bytes, cuts: Iterable[int], frames: Frames) -> list[tuple[int, bytes]]:
    """Feed ``raw`` in pieces of the sizes ``cuts``, then of 4 kB; return what comes out."""
    found = []
    sizes = iter(cuts)
    while raw:
        space = frames.space()
        count = min(len(space), len(raw), next(sizes, 4_096))
        space[:count] = raw[:count]
        frames.received(count)
        raw = raw[count:]
        while (frame := frames.next()) is not None:
            found.append((frame.opcode, bytes(frame.data)))
    return found


@given(
    st.lists(st.tuples(messages, st.lists(controls, max_size=2)), max_size=5),
    st.lists(st.integers(1, 300), max_size=30),
    st.sampled_from([16, 1_000, 2**18]),
)
def test_what_was_sent_comes_out_however_it_is_cut(
    stream: list[tuple[tuple[Opcode, list[bytes]], list[tuple[Opcode, bytes]]]],
    cuts: list[int],
    buffer_bytes: int,
) -> None:
    raw, expected = b"", []
    for message, between in stream:
        more, frames = in_frames(message, between)
        raw += more
        expected += frames
    assert split(raw, cuts, Frames(buffer_bytes, 10**6)) == expected


@given(st.binary(max_size=300), st.lists(st.integers(1, 20), max_size=20))
def test_bytes_that_nobody_wrote_give_frames_or_a_frame_error(raw: bytes, cuts: list[int]) -> None:
    try:
        found = split(raw, cuts, Frames(64, LIMIT))
    except FrameError:
        return
    assert sum(2 + len(data) for _, data in found) <= len(raw)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (sent(BINARY, b"x")[:1] + b"\x81\0\0\0\0x", "masked"),
        (b"\xc2\x01x", "0xc2"),
        (b"\x83\x01x", "0x83"),
        (b"\x09\x01x", "control frame in fragments"),
        (b"\x89\x7e\x00\x7e", "more than 125 bytes"),
        (sent(CONTINUATION, b"x"), "without its message"),
        (sent(BINARY, b"x", 0) + sent(BINARY, b"y"), "within another"),
        (b"\x82\x7f" + (LIMIT + 1).to_bytes(8, "big"), f"at most {LIMIT}"),
        (b"\x82\x7f" + b"\xff" * 8, f"at most {LIMIT}"),
        (sent(TEXT, bytes(LIMIT), 0) + b"\x00\x01", f"more than {LIMIT} bytes"),
    ],
)
def test_what_a_server_may_not_send_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(FrameError, match=why):
        split(raw, [], Frames(64, LIMIT))


def test_a_length_is_judged_before_its_bytes_come_and_nothing_is_kept_for_it() -> None:
    frames = Frames(64, LIMIT)
    with pytest.raises(FrameError):
        split(b"\x82\x7f" + (2**62).to_bytes(8, "big"), [], frames)
    assert len(frames.space()) <= 64


def test_a_stream_of_small_frames_never_needs_a_larger_buffer() -> None:
    frames = Frames(1_000, LIMIT)
    assert len(split(sent(BINARY, bytes(186)) * 500, [7] * 100, frames)) == 500
    assert len(frames.space()) <= 1_000
