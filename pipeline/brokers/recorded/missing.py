"""What is missing in a day's folder, by the seqs in it and by what its recorders counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from pipeline.brokers.recorded.counts import Counts, counts_of
from pipeline.brokers.recorded.parquet import Rows
from pipeline.brokers.recorded.recording import day_of


def said_of(path: Path, by_symbol: Mapping[str, Rows]) -> tuple[list[str], bool | None]:
    """Return a line for each recording in a day's folder, and whether each is complete.

    Complete: its seqs have no hole, none is there twice, its counts are there, nothing was
    lost, and its recorder ended in order. None: all that, but the counts of one are not there,
    as where it was made from a CSV.
    """
    counts = counts_of(day_of(path).parent)
    rows = np.concatenate(list(by_symbol.values()))
    said, complete, known = [], True, True
    for recording_ns in np.unique(rows["recording_ns"]).tolist():
        seqs = rows["seq"][rows["recording_ns"] == recording_ns]
        missing, places, twice = holes(seqs)
        said.append(
            f"recording {recording_ns}: seq {int(seqs.min())} to {int(seqs.max())}, "
            f"{missing:,} missing in {places} hole(s), {twice:,} twice"
        )
        counted = counts[recording_ns] if recording_ns in counts else None
        said += _counted(counted, recording_ns in counts)
        known &= counted is not None
        complete &= missing == twice == 0 and (counted is None or _is_complete(counted))
    return said, complete if known or not complete else None


def holes(seqs: Rows) -> tuple[int, int, int]:
    """Return how many seqs are missing between the first and the last, in how many places, and
    how many are there more than once."""
    distinct = np.unique(seqs)
    steps = np.diff(distinct.astype(np.int64))
    return int((steps - 1).sum()), int((steps > 1).sum()), len(seqs) - len(distinct)


def _is_complete(counts: Counts) -> bool:
    return counts["state"] == "ended" and not any(c["lost"] for c in counts["counted"].values())


def _counted(counts: Counts | None, there: bool) -> Iterator[str]:
    if counts is None:
        yield f"  its counts are {'damaged' if there else 'not there'}: what was lost is not known"
        return
    for kind, one in counts["counted"].items():
        yield (
            f"  {kind}: {one['recorded']:,} recorded and {one['lost']:,} lost of "
            f"{one['published']:,} (run {counts['run']}, {counts['state']})"
        )
