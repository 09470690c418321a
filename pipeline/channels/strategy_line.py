"""The strategy's place in the run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.cell import CellReader
from pipeline.channels.depths import DEPTHS, DepthReader
from pipeline.channels.line import FEED, POSITIONS, RISK, SIGNALS, STRATEGY
from pipeline.channels.reader_line import ReaderLine
from pipeline.channels.rundir import wait_for_owner
from pipeline.channels.waiting import Words, wait_of
from pipeline.records import SIGNAL, positions_dtype
from pipeline.settings import Settings


class StrategyLine(ReaderLine):
    """The strategy's end."""

    def __init__(self, settings: Settings, spin_bare: bool = False) -> None:
        super().__init__(settings, STRATEGY, spin_bare)
        self.depths: DepthReader | None = None
        with self.attaching():
            self._attach_to_all(settings)
        self._wait = wait_of(settings, spin_bare, self._bell)

    def _attach_to_all(self, settings: Settings) -> None:
        self._risk_bells = self._readers.bells(RISK)
        self.signals = self._channels.QueueWriter(
            self.directory / SIGNALS, SIGNAL, settings.channels.queue_capacity, self._risk_bells
        )
        wait_for_owner(self.directory, POSITIONS, RISK)
        self.positions = self._open_positions()
        if settings.strategy.depth:
            path = wait_for_owner(self.directory, DEPTHS, FEED)
            self.depths = DepthReader(path, self._channels)
        self._attach(settings.strategy.when_lapped)

    @property
    def ready(self) -> bool:
        return self.ticks.ready

    @property
    def watched(self) -> Words:
        return self.ticks.watched

    def read(self, limit: int) -> NDArray[np.void]:
        """Wait once as the settings say, and return the next ticks, 1 to ``limit``, or none.

        It is ``idle`` and ``ticks.read`` in one, with nothing between the wait and the tick.
        """
        return self.ticks.wait_for_rows(limit, *self._wait)

    def _open_positions(self) -> CellReader:
        path = self.directory / POSITIONS
        return self._channels.CellReader(path, positions_dtype(len(self._settings.instruments)))

    def follow_positions(self) -> None:
        """Go on with the positions of another risk, where one took over."""
        if self.positions.superseded:
            self.positions.close()
            self.positions = self._open_positions()

    def commit(self) -> None:
        """Say that all ticks read so far are handled and their signals are in the queue."""
        self.ticks.commit()
        if self.lockstep:
            self._risk_bells.ring()

    def close(self) -> None:
        self._place.declare_gone()
        self._risk_bells.ring()
        self.signals.close()
        self.positions.close()
        if self.depths is not None:
            self.depths.close()
        super().close()
