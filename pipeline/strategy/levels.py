"""A DEPTH row as the strategy is given it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.settings import Instrument
from pipeline.strategy.contract import Depth, DepthLevel


def depth_of(row: np.void, instruments: Sequence[Instrument]) -> Depth:
    """Return ``row`` with the levels that are there."""
    index = int(row["instrument"])
    return Depth(
        tick_seq=int(row["tick_seq"]),
        ts_event_ns=int(row["ts_event_ns"]),
        ts_recv_ns=int(row["ts_recv_ns"]),
        instrument_index=index,
        bids=_side(row, "bid"),
        asks=_side(row, "ask"),
        instrument=instruments[index],
    )


def _side(row: np.void, side: str) -> tuple[DepthLevel, ...]:
    columns = (row[f"{side}_{name}"].tolist() for name in ("e4", "quantity", "orders"))
    return tuple(DepthLevel(*fields) for fields in zip(*columns, strict=True) if fields[0])
