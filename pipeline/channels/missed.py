"""The records that were published before a reader came, as far as the ring still has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.readers import ReaderSlot
from pipeline.channels.ring import RingReader
from pipeline.records import TICK, WhenLapped

READ_MAX = 4_096  # records copied at once


def read_again(
    path: Path,
    place: ReaderSlot,
    after_seq: int,
    up_to: int,
    slot: np.dtype[np.void] = TICK,
) -> NDArray[np.void]:
    """Return a copy of the records behind ``after_seq`` up to ``up_to``, as far as the ring at
    ``path`` still has them; ``place`` is the slot of the reader that goes on at ``up_to``.

    What was published before the ring's writer took over was in rings that are gone."""
    reader = RingReader(path, slot, place, WhenLapped.OLDEST)
    try:
        reader.cursor = min(max(after_seq, reader.base), up_to)
        rows = [np.zeros(0, slot)]
        while reader.cursor < up_to:
            rows.append(reader.read(READ_MAX, up_to))
    finally:
        reader.close()
        place.cursor = up_to
    place.count_loss(0, 0)  # what the other one lost is not ours
    return np.concatenate(rows)
