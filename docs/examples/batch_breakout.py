from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline import Signal, Strategy


class BatchBreakout(Strategy):
    """Buy a new high of the day, computed on whole batches; for one instrument."""

    high_e4 = 0

    def on_batch(self, ticks: NDArray[np.void]) -> Iterable[tuple[int, Signal]]:
        prices = ticks["price_e4"]
        highs = np.maximum.accumulate(np.concatenate(([self.high_e4], prices)))
        new_highs = np.flatnonzero((prices > highs[:-1]) & (highs[:-1] > 0))
        self.high_e4 = int(highs[-1])
        if len(new_highs) and self.positions[0].is_flat:
            yield int(new_highs[0]), Signal.buy("new high")
