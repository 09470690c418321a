"""What happened between two looks at the positions cell, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.records import PRICE_SCALE, ExitKind
from pipeline.settings import Instrument
from pipeline.strategy.session import CLOSED_REASONS


def events(
    before: NDArray[np.void] | None, after: NDArray[np.void], instruments: Sequence[Instrument]
) -> list[str]:
    """Return a line for each instrument's change from ``before`` to ``after``.

    Both have shape ``(1,)`` of ``positions_dtype``; None is before the first. What opened and
    closed between two looks is one line: its close.
    """
    old = np.zeros(1, after.dtype) if before is None else before
    pairs = zip(old["positions"][0], after["positions"][0], instruments, strict=True)
    return [line for b, a, instrument in pairs for line in _changes(b, a, instrument.symbol)]


def _changes(before: np.void, after: np.void, symbol: str) -> list[str]:
    lines = []
    if after["closed_id"] != before["closed_id"]:
        why = CLOSED_REASONS[ExitKind(int(after["closed_kind"]))]
        lines.append(f"CLOSED {symbol}: {why} (position {after['closed_id']})")
    held = int(after["quantity"])
    if after["position_id"] and after["position_id"] != before["position_id"]:
        price = int(after["entry_price_e4"]) / PRICE_SCALE
        lines.append(f"BOUGHT {held:,} {symbol} @ ₹{price:,.2f} (position {after['position_id']})")
    elif after["position_id"] and held < before["quantity"]:
        lines.append(f"SOLD {int(before['quantity']) - held:,} {symbol}, {held:,} left")
    return lines


def open_position_id(positions: NDArray[np.void] | None) -> int | None:
    """Return the id of the open position, the oldest of several; None when all is flat."""
    if positions is None:
        return None
    ids = positions["positions"][0]["position_id"]
    return int(ids[ids > 0].min()) if ids.any() else None
