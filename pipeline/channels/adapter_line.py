"""The end of a user's program that reads the ring beside strategy and risk (pipeline/trader)."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.cell import CellReader
from pipeline.channels.line import ADAPTER, FEED, POSITIONS, RISK, SIGNALS, STRATEGY, TICKS, Line
from pipeline.channels.rundir import owner_created, wait_for, wait_for_owner
from pipeline.channels.telling import tell_risk
from pipeline.records import TICK, positions_dtype
from pipeline.settings import Settings

SUPERSEDED_SECONDS = 0.001


class AdapterLine(Line):
    """The end of a user's program: it is waited for at the start, and nobody waits for it later.

    Where there is no risk, lockstep waits for it in risk's place. All that a run of its roles
    shows is there once it has attached, before the first tick.
    """

    def __init__(self, settings: Settings) -> None:
        ring = wait_for_owner(settings.run_directory, TICKS, FEED)  # then the table is this run's
        super().__init__(settings, ADAPTER)
        with self.attaching():  # the user's program lives on and may try again
            self._attach(settings, ring)

    def _attach(self, settings: Settings, ring: Path) -> None:
        self._place = self._places[ADAPTER]
        self._instrument_count = len(settings.instruments)
        self._wait_for(SIGNALS, STRATEGY)  # and so for its heartbeat
        self._positions: CellReader | None = None
        if self._wait_for(POSITIONS, RISK):
            self._positions = self._open_positions()
        self.ticks = self._channels.RingReader(ring, TICK, self._place)
        self._bell = self._readers.bell(ADAPTER)
        self._place.take()

    def _wait_for(self, file_name: str, role: str) -> bool:
        """Wait for a file of ``role``; False where there is no such role in this run."""
        path, slot = self.directory / file_name, self._places[role]
        wait_for(lambda: slot.gone or owner_created(path, role), f"{role} to create {path}")
        return not slot.gone

    def positions(self) -> NDArray[np.void] | None:
        """Return the newest positions, shape ``(1,)``; None where nothing trades."""
        if self._positions is None:
            return None
        if self._positions.superseded:  # another risk goes on
            self._positions.close()
            self._positions = self._open_positions()
        return self._positions.latest()

    def _open_positions(self) -> CellReader:
        dtype = positions_dtype(self._instrument_count)
        return self._channels.CellReader(self.directory / POSITIONS, dtype)

    def request_close(self, reason: str) -> None:
        """Ask risk to close every position. Raises ControlRefused where it does not listen."""
        tell_risk(self.directory, {"verb": "close", "reason": reason})

    def read(self, limit: int) -> NDArray[np.void]:
        """Return the next TICK rows, possibly none; go on in the ring of the next feed."""
        rows = self.ticks.read(limit)
        if not len(rows) and self.ticks.superseded and self.ticks.follow() is not None:
            rows = self.ticks.read(limit)
        return rows

    @property
    def ended(self) -> bool:
        """True when everything was read and the feed said that nothing more will come."""
        return self.ticks.ended

    def wait(self, seconds: float) -> None:
        """Sleep until there is a tick or the ring was closed, ``seconds`` at most."""
        if self.ticks.superseded:  # its follower is not there yet, and will not ring
            time.sleep(min(seconds, SUPERSEDED_SECONDS))
        else:
            self._bell.park(lambda: self.ticks.ready, int(seconds * 1e9))

    def close(self) -> None:
        self._place.declare_gone()
        if self._positions is not None:
            self._positions.close()
        self.ticks.close()
        super().close()
