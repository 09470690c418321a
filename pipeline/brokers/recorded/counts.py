"""What one recorder counted, as JSON beside its recordings: recording-….json.

It is written after each part. "recording" in a directory that nobody records to means that the
recorder was killed, and that ticks may be missing behind what it says.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TypedDict

from pipeline.records import IST


class Counted(TypedDict):
    """Of one kind. recorded + lost = published, which is the last seq that was written or lost."""

    published: int
    recorded: int
    lost: int


class Counts(TypedDict):
    recording_ns: int
    written_ns: int
    run: str
    state: str  # recording, ended, cut short
    flush_seconds_max: float
    counted: dict[str, Counted]


def write_counts(directory: Path, counts: Counts) -> None:
    """Write them whole. Raises OSError."""
    path = directory / f"recording-{counts['recording_ns']}.json"
    temporary = directory / f".{path.name}"
    try:
        temporary.write_text(json.dumps(counts, indent=2) + "\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def unfinished(directory: Path, run: str, began_ns: int) -> Counts | None:
    """Return what a recorder that died had counted of the run ``run`` that began at ``began_ns``.

    Whoever calls this holds the directory's lock. Raises OSError.
    """
    found = [counts for counts in counts_of(directory).values() if counts is not None]
    of_run = [c for c in found if c["run"] == run and c["recording_ns"] >= began_ns]
    return max(of_run, key=lambda counts: counts["recording_ns"], default=None)


def cut_short(directory: Path, going_on_ns: int) -> list[str]:
    """Say what recorders that were killed may have missed, each once; the recording of
    ``going_on_ns`` goes on.

    Whoever calls this holds the directory's lock. Raises OSError.
    """
    found = []
    for path in sorted(directory.glob("recording-*.json")):
        counts = _read(path)
        if counts is None:
            found.append(f"{path.name} is damaged: what that recorder missed is not known")
        elif counts["state"] == "recording" and counts["recording_ns"] != going_on_ns:
            write_counts(directory, {**counts, "state": "cut short"})
            found.append(_meaning(counts))
    return found


def counts_of(directory: Path) -> dict[int, Counts | None]:
    """Return the counts by when the recorder started; None where they are damaged."""
    found = {}
    for path in directory.glob("recording-*.json"):
        started = path.stem.removeprefix("recording-")
        if started.isdecimal():
            found[int(started)] = _read(path)
    return found


def _read(path: Path) -> Counts | None:
    """Return the counts; None where they are damaged, as when the power went."""
    try:
        counts: Counts = json.loads(path.read_text())
    except ValueError:
        return None
    return counts if _is_whole(counts) else None


def _is_whole(counts: object) -> bool:
    if not isinstance(counts, dict) or not Counts.__required_keys__ <= counts.keys():
        return False
    counted = counts["counted"]
    return (
        isinstance(counted, dict)
        and "ticks" in counted
        and all(
            isinstance(one, dict) and Counted.__required_keys__ <= one.keys()
            for one in counted.values()
        )
    )


def _meaning(counts: Counts) -> str:
    ticks = counts["counted"]["ticks"]
    at = datetime.fromtimestamp(counts["written_ns"] // 1_000_000_000, IST)
    return (
        f"a recorder was cut short: of run {counts['run']}, up to seq {ticks['published']} "
        f"{ticks['recorded']} ticks are recorded and {ticks['lost']} lost "
        f"({at:%Y-%m-%d %H:%M:%S}); what came after, {counts['flush_seconds_max']:g} s or more, "
        f"is missing"
    )
