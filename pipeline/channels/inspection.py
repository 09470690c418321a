"""A running ring seen from outside: nothing here writes, and nobody notices being looked at."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.channels.cell import CellReader
from pipeline.channels.layout import CLAIMED, PARKED_OFFSET, PUBLISHED, READER, STATE, Kind, State
from pipeline.channels.line import FEED, RECORDER, TICKS
from pipeline.channels.locks import lock_is_held
from pipeline.channels.readers import FILE_NAME
from pipeline.channels.rundir import lock_path
from pipeline.channels.segment import attach_segment
from pipeline.errors import UsageError, explain
from pipeline.records import HEARTBEAT, TICK


class ReaderReport(NamedTuple):
    """One reader of the ring."""

    name: str
    pid: int
    cursor: int  # seq of the last tick it is done with
    behind: int  # ticks published that it is not done with
    lapped: int  # times it was overtaken
    lost: int  # ticks it lost by that
    waits: str  # "parked", "awake", "gone", or "DEAD": killed, and nobody has noticed yet


class RingReport(NamedTuple):
    """The ring of a run. ``claimed`` above ``published``: the writer is in the middle of a batch,
    or died there."""

    path: Path
    capacity: int
    epoch: int
    state: State
    owner: int
    owner_alive: bool
    claimed: int
    published: int
    readers: tuple[ReaderReport, ...]


def inspect(directory: Path) -> RingReport:
    """Return the state of the ring in ``directory``. Raises UsageError where no run is."""
    if not (directory / TICKS).exists():
        raise UsageError(
            explain(
                f"no ring in {directory}",
                rule="a ring can be looked at while its run lives",
                cure="start a run, and name the same run with --config and --set run.name=…",
            )
        )
    ring = attach_segment(directory / TICKS, Kind.RING, TICK)
    try:
        published: int = ring.words[PUBLISHED]
        recorder = _recorder(directory, published)
        return RingReport(
            path=ring.path,
            capacity=ring.capacity,
            epoch=ring.epoch,
            state=State(ring.words[STATE]),
            owner=ring.pid,
            owner_alive=lock_is_held(lock_path(directory, FEED)),
            claimed=ring.words[CLAIMED],
            published=published,
            readers=_readers(directory, published) + recorder,
        )
    finally:
        ring.close()


def _readers(directory: Path, published: int) -> tuple[ReaderReport, ...]:
    table = attach_segment(directory / FILE_NAME, Kind.READERS, READER)
    try:
        parked = bytes(table.mapped[PARKED_OFFSET : PARKED_OFFSET + table.capacity])
        rows = zip(table.slots.copy(), parked, strict=True)
    finally:
        table.close()
    return tuple(
        _reader(directory, row, bool(is_parked), published) for row, is_parked in rows if row["pid"]
    )


def _recorder(directory: Path, published: int) -> tuple[ReaderReport, ...]:
    """Return the recorder, where there is one: it has no slot, but says in its heartbeat."""
    path = directory / f"{RECORDER}.beat"
    if not path.exists():
        return ()
    cell = CellReader(path, HEARTBEAT)
    beat = cell.latest()
    cell.close()
    if beat is None:
        return ()
    seen = int(beat["last_seq"][0])
    return (
        ReaderReport(
            name=RECORDER,
            pid=int(beat["pid"][0]),
            cursor=seen,
            behind=max(0, published - seen),
            lapped=int(beat["lapped"][0]),
            lost=int(beat["lost"][0]),
            waits="awake" if lock_is_held(lock_path(directory, RECORDER)) else "DEAD",
        ),
    )


def _reader(directory: Path, row: np.void, is_parked: bool, published: int) -> ReaderReport:
    name, cursor = bytes(row["name"]).decode(), int(row["cursor"])
    if row["gone"]:
        waits = "gone"
    elif not lock_is_held(lock_path(directory, name)):
        waits = "DEAD"
    else:
        waits = "parked" if is_parked else "awake"
    return ReaderReport(
        name=name,
        pid=int(row["pid"]),
        cursor=cursor,
        behind=max(0, published - cursor),
        lapped=int(row["lapped"]),
        lost=int(row["lost"]),
        waits=waits,
    )
