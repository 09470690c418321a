"""What a segment is checked for before anybody relies on it; each check says what it found."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np

from pipeline.channels.layout import (
    CLAIMED,
    HEADER,
    MAGIC,
    PUBLISHED,
    SLOTS_OFFSET,
    STATE,
    VERSION,
    Kind,
    State,
    layout_hash,
)
from pipeline.errors import SegmentRefused, explain

FILE_MODE = 0o600


def check_file(path: Path, status: os.stat_result) -> int:
    """Return the size of the file; raise SegmentRefused where it is no private file of ours."""
    if not stat.S_ISREG(status.st_mode):
        raise refused(path, "is not a regular file", "segments are regular files")
    if status.st_uid != os.getuid():
        raise refused(path, f"belongs to uid {status.st_uid}", f"the owner is uid {os.getuid()}")
    mode = stat.S_IMODE(status.st_mode)
    if mode != FILE_MODE:
        raise refused(path, f"has mode {mode:04o}", f"segments have mode {FILE_MODE:04o}")
    if status.st_size < SLOTS_OFFSET:
        raise refused(path, f"has {status.st_size} bytes", f"the header is {SLOTS_OFFSET} bytes")
    return status.st_size


def check_header(path: Path, raw: bytes, size: int, kind: Kind, slot: np.dtype[np.void]) -> None:
    """Raise SegmentRefused where the file holds something else than these records."""
    header = np.frombuffer(raw, HEADER)[0]
    if header["magic"] != MAGIC:
        raise refused(path, f"starts with {raw[:8]!r}", f"segments start with {MAGIC!r}")
    expected = {
        "version": VERSION,
        "kind": int(kind),
        "header_len": SLOTS_OFFSET,
        "slot_size": slot.itemsize,
        "layout_hash": layout_hash(slot),
    }
    for name, value in expected.items():
        if int(header[name]) != value:
            raise refused(path, f"has {name} {int(header[name])}", f"{name} is {value}")
    capacity = int(header["capacity"])
    if capacity < 1 or capacity & (capacity - 1):
        raise refused(path, f"has capacity {capacity}", "capacity is a power of two")
    whole = SLOTS_OFFSET + capacity * slot.itemsize
    if size != whole:
        raise refused(path, f"has {size} bytes", f"{capacity} slots make {whole} bytes")


def check_words(path: Path, kind: Kind, words: memoryview, base: int) -> None:
    """Raise SegmentRefused where the hot words say what no writer says."""
    state = words[STATE]
    if state not in tuple(State):
        known = ", ".join(f"{state.value} {state.name}" for state in State)
        raise refused(path, f"has state {state}", f"a state is one of {known}")
    if kind is not Kind.RING:
        return
    published = words[PUBLISHED]  # before claimed, which its writer raises first
    claimed = words[CLAIMED]
    if not base <= published <= claimed:
        raise refused(
            path,
            f"has base {base}, published {published}, claimed {claimed}",
            "none of these is below the one before it",
        )


def refused(path: Path, what: str, rule: str) -> SegmentRefused:
    return SegmentRefused(
        explain(
            f"{path} {what}",
            rule=rule,
            cure="stop what uses this run directory, delete it, and start again "
            "with one version of tickpipe",
        )
    )
