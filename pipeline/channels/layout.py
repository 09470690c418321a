"""The bytes of every shared-memory file; both sides import this and nothing else knows an offset.

    0     HEADER: magic, version, kind, sizes, layout hash, epoch, owner      written once
    128   claimed    u64   records whose slots may be being written           the writer
    256   published  u64   records that may be read                           the writer
    384   state      u64   State                                              it, or the next writer
    512   taken      u64   queue: records the reader is done with             the reader
    576   full       u64   queue: puts refused because it was full            the writer
    640   slots, each starting with ``seq`` (1 for the first record)          the writer

Each hot word stands on its own 128 bytes, so that writer and reader do not share a cache line
and the adjacent-line prefetcher does not join them.

``readers.ctl`` has the same header; its slots are READER rows, and the word at 128 holds one
byte per reader, 1 while that reader is parked: a writer looks at eight readers with one load.

Epochs: a segment that is created where one of its kind stands already is the next epoch of that
name. A ring goes on counting: its first record is ``base`` + 1, where ``base`` is what the ring
before had claimed. Seqs never go back over the epochs of a run, so that what a reader lost is one
subtraction, however many of them it missed.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum

import numpy as np

MAGIC = b"TICKPIPE"
VERSION = 2

HEADER = np.dtype(
    [
        ("magic", "S8"),
        ("version", "<u4"),
        ("kind", "<u4"),  # Kind
        ("header_len", "<u4"),
        ("slot_size", "<u4"),
        ("capacity", "<u8"),  # slots
        ("layout_hash", "<u8"),  # of the slot's fields, so that two versions never talk
        ("epoch", "<u8"),  # counts the segments that had this name
        ("created_ns", "<i8"),  # CLOCK_REALTIME
        ("monotonic_offset_ns", "<i8"),  # CLOCK_REALTIME minus CLOCK_MONOTONIC at creation
        ("pid", "<u4"),  # of the owner
        ("reserved", "<u4"),
        ("base", "<u8"),  # seqs up to this were an earlier epoch's
    ]
)

# Indexes of u64 words.
CLAIMED = 128 // 8
PUBLISHED = 256 // 8
STATE = 384 // 8
TAKEN = 512 // 8
FULL = 576 // 8

PARKED_OFFSET = 128  # readers.ctl: one byte per reader
SLOTS_OFFSET = 640

READERS_MAX = 8  # one byte each in one u64 word
READER = np.dtype(
    [
        ("name", "S16"),
        ("pid", "<u4"),  # 0 = nobody yet
        ("gone", "<u4"),  # 1 = left or declared dead; nobody waits for it any more
        ("cursor", "<u8"),  # seq of the last tick it is done with
        ("lapped", "<u8"),  # times it was overtaken
        ("lost", "<u8"),  # ticks it lost by that
        ("bell", "<u4"),  # futex word: 0 = sleep, 1 = somebody published
        ("reserved", "<u4"),
        ("unused", "V72"),  # two readers never share 128 bytes
    ]
)
assert READER.itemsize == 128, "one reader, one pair of cache lines"
assert HEADER.itemsize <= CLAIMED * 8, "the header ends before the first hot word"


class Kind(IntEnum):
    RING = 1
    QUEUE = 2
    CELL = 3
    READERS = 4
    TABLE = 5  # one slot for each instrument; only its writer reads it, and the next one


class State(IntEnum):
    """OPEN until the writer says otherwise; a writer that was killed says nothing, and the next
    one says it."""

    OPEN = 0
    CLOSED = 1  # it came to its end
    ABANDONED = 2  # it ended by an error
    SUPERSEDED = 3  # another writer goes on in a new segment of that name, or is about to


def layout_hash(slot: np.dtype[np.void]) -> int:
    """Return a 64-bit hash of the names, types and offsets of ``slot``'s fields."""
    text = f"{slot.descr}{slot.itemsize}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
