"""Mutated frames of both brokers: nothing raises, and every packet and byte is accounted for.

Each frame is a true one that was bent: bytes changed, cut off, repeated or put in, two frames
joined, lengths and counts wrong. Each is decoded and compared with the same bytes read by hand
(tests/by_hand.py): the same ticks, as many refused, as many bytes skipped. Then a true frame must
decode as it always did. The sessions take the same frames, across reconnects, and account for them.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.contract import MarketSession
from pipeline.brokers.kite import wire as kite_wire
from pipeline.brokers.kite.session import KiteSession
from pipeline.brokers.kite.tokens import Tokens
from pipeline.brokers.smartapi import wire as smart_wire
from pipeline.brokers.smartapi.session import SmartApiSession
from pipeline.records import TICK
from pipeline.settings import SIMULATOR_SECRETS, FeedSettings
from pipeline.testing import make_instrument, make_ticks
from tests import by_hand

NOW_NS = 1
RECONNECT_EVERY = 1_000
STRETCH = 500_000  # frames between two lines of output
KITE_SCALES = {256265: (100, 1), 412675: (1, 1_000), 513030: (1, 1), 58963 << 8 | 2: (100, 1)}
SMART_KEYS = {(2, b"58963"): 0, (13, b"1146"): 1, (1, b"1594"): 2}


class Found(AssertionError):
    """A frame that was not accounted for."""


class Subject(Protocol):
    """A broker's decoder, how to read its frames by hand, and true frames to bend."""

    name: str
    true: Sequence[bytes]

    def decode(self, data: bytes) -> by_hand.Read: ...

    def read(self, data: bytes) -> by_hand.Read: ...

    def session(self) -> MarketSession: ...


class Kite:
    name = "kite"

    def __init__(self, decode: Callable[..., Any] = kite_wire.decode) -> None:
        exchanges = ("NSE", "CDS", "CDS", "NFO")
        self._instruments = [
            make_instrument(symbol=str(token), token=str(token), exchange=exchange)
            for token, exchange in zip(KITE_SCALES, exchanges, strict=True)
        ]
        self._tokens = Tokens(self._instruments)
        self._decode = decode
        ticks = _ticks(len(self._instruments))
        packets = [kite_wire.encode(mode, ticks, self._tokens) for mode in ("ltp", "quote", "full")]
        mixed = [packet for kind in packets for packet in kind]
        self.true = [
            *(kite_wire.frame([packet]) for packet in mixed),
            kite_wire.frame(mixed),
            kite_wire.frame(packets[2][1:] * 12),  # uniform, and many
            kite_wire.frame(mixed * 4),
        ]

    def decode(self, data: bytes) -> by_hand.Read:
        ticks, refused, skipped = self._decode(data, self._tokens, NOW_NS)
        return by_hand.Read(ticks.tolist(), refused, skipped)

    def read(self, data: bytes) -> by_hand.Read:
        return by_hand.kite(data, KITE_SCALES, NOW_NS)

    def session(self) -> MarketSession:
        feed = FeedSettings.model_validate({"broker": "kite", "mode": "quote"})
        return KiteSession(feed, self._instruments, SIMULATOR_SECRETS)


class SmartApi:
    name = "smartapi"

    def __init__(self, decode: Callable[..., Any] = smart_wire.decode) -> None:
        self._decode = decode
        ticks = _ticks(len(SMART_KEYS))
        self.true = [
            row.tobytes()
            for mode in smart_wire.MODES
            for row in smart_wire.encode(mode, ticks, list(SMART_KEYS), 1)
        ]

    def decode(self, data: bytes) -> by_hand.Read:
        decoded = self._decode(data, SMART_KEYS, NOW_NS)
        if decoded is None:
            return by_hand.Read([], 1, len(data))
        return by_hand.Read(decoded.ticks.tolist(), 0, decoded.skipped)

    def read(self, data: bytes) -> by_hand.Read:
        return by_hand.smart(data, SMART_KEYS, NOW_NS)

    def session(self) -> MarketSession:
        feed = FeedSettings.model_validate({"broker": "smartapi", "mode": "full"})
        exchanges = {2: "NFO", 13: "CDS", 1: "NSE"}
        instruments = [
            make_instrument(symbol=token.decode(), token=token.decode(), exchange=exchanges[kind])
            for kind, token in SMART_KEYS
        ]
        return SmartApiSession(feed, instruments, SIMULATOR_SECRETS)


SUBJECTS: dict[str, Callable[[], Subject]] = {"kite": Kite, "smartapi": SmartApi}


def _ticks(count: int) -> NDArray[np.void]:
    ticks = make_ticks([84.05 + n for n in range(count)])
    ticks["instrument"] = np.arange(count)
    ticks["bid_e4"], ticks["ask_e4"] = ticks["price_e4"] - 500, ticks["price_e4"] + 500
    assert ticks.dtype == TICK
    return ticks


class Outcome(NamedTuple):
    frames: int
    ticks: int
    refused: int
    skipped: int


def fuzz(subject: Subject, frames: int, rng: random.Random) -> Outcome:
    """Decode ``frames`` bent frames. Raises Found with the frame for one that is not right."""
    session = subject.session()
    expected = [subject.decode(data) for data in subject.true]
    assert all(read.rows and not read.refused for read in expected), "true frames decode whole"
    ticks = refused = skipped = 0
    for number in range(frames):
        if number % RECONNECT_EVERY == 0:
            session.on_open()
        data = bent(rng, subject.true)
        found = _decoded(subject, number, data)
        _account(subject, number, data, found, session)
        again = number % len(expected)
        if subject.decode(subject.true[again]) != expected[again]:
            raise Found(_told(subject, number, data, "the next true frame decodes differently"))
        ticks += len(found.rows)
        refused += found.refused
        skipped += found.skipped
    return Outcome(frames, ticks, refused, skipped)


def _decoded(subject: Subject, number: int, data: bytes) -> by_hand.Read:
    try:
        found = subject.decode(data)
    except Exception as error:
        raise Found(_told(subject, number, data, f"it raises {error!r}")) from error
    expected = subject.read(data)
    if found != expected:
        raise Found(_told(subject, number, data, f"{found} is {expected} by hand"))
    return found


def _account(
    subject: Subject, number: int, data: bytes, found: by_hand.Read, session: MarketSession
) -> None:
    received = session.on_binary(data, NOW_NS)
    promised = len(found.rows) + found.refused
    counted = len(received.ticks) + received.duplicates + received.refused
    is_heartbeat = subject.name == "kite" and len(data) == 1
    skipped = 0 if is_heartbeat else found.skipped
    if (counted, received.skipped) != (0 if is_heartbeat else promised, skipped):
        raise Found(_told(subject, number, data, f"the session made {received} of it"))


def _told(subject: Subject, number: int, data: bytes, what: str) -> str:
    return f"{subject.name}, frame {number}: {what}\n{data.hex()}"


# Bending --------------------------------------------------------------------------------------


def bent(rng: random.Random, true: Sequence[bytes]) -> bytes:
    """Return one of ``true``, bent once or twice."""
    data = bytearray(rng.choice(true))
    for _ in range(rng.randint(1, 2)):
        rng.choice(BENDS)(rng, data, true)
    return bytes(data)


Bend = Callable[[random.Random, bytearray, Sequence[bytes]], object]


def _change(rng: random.Random, data: bytearray, true: Sequence[bytes]) -> None:
    for _ in range(min(len(data), rng.randint(1, 4))):
        data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _cut(rng: random.Random, data: bytearray, true: Sequence[bytes]) -> None:
    del data[rng.randint(0, len(data)) :]


def _grow(rng: random.Random, data: bytearray, true: Sequence[bytes]) -> None:
    data += rng.randbytes(rng.randint(1, 40))


def _drop(rng: random.Random, data: bytearray, true: Sequence[bytes]) -> None:
    start = rng.randint(0, len(data))
    del data[start : start + rng.randint(1, 60)]


def _repeat(rng: random.Random, data: bytearray, true: Sequence[bytes]) -> None:
    start = rng.randint(0, len(data))
    data[start:start] = data[start : start + rng.randint(1, 200)]


def _join(rng: random.Random, data: bytearray, true: Sequence[bytes]) -> None:
    other = rng.choice(true)
    data[rng.randint(0, len(data)) :] = other[rng.randint(0, len(other)) :]


def _head(rng: random.Random, data: bytearray, true: Sequence[bytes]) -> None:
    """Change what says what the frame is: Kite's count and first length, SmartAPI's mode."""
    data[: rng.randint(1, 4)] = rng.randbytes(rng.randint(1, 4))


def _rubble(rng: random.Random, data: bytearray, true: Sequence[bytes]) -> None:
    data[:] = rng.randbytes(rng.randint(0, 400))


BENDS: tuple[Bend, ...] = (_change, _change, _cut, _grow, _drop, _repeat, _join, _head, _rubble)


# The command ----------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--frames", type=int, default=10_000_000, help="of both together (10 M)")
    parser.add_argument("--seed", type=int, default=None, help="the seed that a run printed")
    parser.add_argument("--broker", choices=[*SUBJECTS], help="only this one")


def main(options: argparse.Namespace) -> None:
    seed = random.randrange(2**32) if options.seed is None else options.seed
    names = [options.broker] if options.broker else [*SUBJECTS]
    print(f"seed {seed}")
    for name in names:
        rng, left, started = random.Random(seed), options.frames // len(names), time.monotonic()
        subject = SUBJECTS[name]()
        total = Outcome(0, 0, 0, 0)
        while left > 0:
            found = fuzz(subject, min(left, STRETCH), rng)
            left -= found.frames
            total = Outcome(*map(sum, zip(total, found, strict=True)))
            seconds = time.monotonic() - started
            print(
                f"{name}: {total.frames:,} frames, {total.ticks:,} ticks, {total.refused:,} "
                f"refused, {total.skipped:,} bytes skipped, {seconds:.0f} s",
                flush=True,
            )
