"""Risk's place in the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.control import CONTROL, Asked, ControlSocket
from pipeline.channels.line import FEED, POSITIONS, RISK, SIGNALS, STRATEGY
from pipeline.channels.locks import lock_is_held
from pipeline.channels.reader_line import ReaderLine
from pipeline.channels.rundir import lock_path, owner_created, wait_for
from pipeline.channels.waiting import Words
from pipeline.records import SIGNAL, TICK, positions_dtype
from pipeline.settings import Settings


class RiskLine(ReaderLine):
    """Risk's end."""

    def __init__(self, settings: Settings, spin_bare: bool = False) -> None:
        super().__init__(settings, RISK, spin_bare)
        self._strategy = self._places[STRATEGY]
        self._feed_lock = lock_path(self.directory, FEED)
        self.handled_before = self._place.cursor  # > 0: another risk of this run died
        self._woken = False
        self._own_bell = self._readers.bells(RISK)
        with self.attaching():
            self._attach_to_all(settings)

    def _attach_to_all(self, settings: Settings) -> None:
        self.positions = self._channels.CellWriter(
            self.directory / POSITIONS, positions_dtype(len(settings.instruments))
        )
        self.signals = self._channels.QueueReader(self._wait_for_signals(), SIGNAL)
        self._control = ControlSocket(self.directory / CONTROL)
        self._attach(settings.risk.when_lapped)

    def wake(self) -> None:
        """Have the next turn begin now; for threads of this process."""
        self._woken = True
        self._own_bell.ring()

    def _wait_for_signals(self) -> Path:
        """Wait for the queue; that of a strategy that died will do: what it wanted still counts."""
        path, slot = self.directory / SIGNALS, self._strategy
        wait_for(
            lambda: owner_created(path, STRATEGY) or (slot.gone and path.exists()),
            f"{STRATEGY} to create {path}",
            lost=lambda: slot.gone,
        )
        return path

    def missed(self, after_seq: int) -> NDArray[np.void]:
        """Return the ticks behind ``after_seq`` that another risk of this run may not have
        handled, as far as the ring still has them; nothing where there was no other one."""
        if not self.handled_before:
            return np.zeros(0, TICK)
        return self.ticks.read_again(min(after_seq, self.handled_before))

    def asked(self) -> list[Asked]:
        """Return what people and programs ask of risk, see risk/control.py; never waits."""
        return self._control.take()

    @property
    def _bound(self) -> int | None:
        """The last tick that risk may read: in lockstep, what the strategy has committed."""
        if self.lockstep and not self._strategy.gone:
            return self._strategy.cursor
        return None

    def read(self, limit: int) -> NDArray[np.void]:
        self._woken = False  # before the look that it asks for
        return self.ticks.read(limit, self._bound)

    def commit(self) -> None:
        """Say that all ticks read so far are handled and the positions cell shows it."""
        self.ticks.commit()

    @property
    def watched(self) -> Words:
        return self.ticks.watched + self.signals.watched + self._strategy.watched

    @property
    def ready(self) -> bool:
        if self.signals.waiting or self._woken:
            return True
        if self._strategy.gone:  # then a closed ring is the end, and worth a look
            return self.ticks.ready
        newest = self._strategy.cursor if self.lockstep else self.ticks.published
        return newest > self.ticks.cursor or self.ticks.superseded

    @property
    def ended(self) -> bool:
        """True when no tick and no signal can come any more."""
        return self.ticks.ended and self.strategy_is_gone and not self.signals.waiting

    @property
    def strategy_is_gone(self) -> bool:
        """True when no signal can come any more."""
        return self._strategy.gone or not lock_is_held(lock_path(self.directory, STRATEGY))

    @property
    def feed_alive(self) -> bool:
        return lock_is_held(self._feed_lock)

    @property
    def strategy_lapped(self) -> int:
        """Times that the strategy was overtaken."""
        return self._strategy.lapped

    @property
    def strategy_lost(self) -> int:
        """Ticks that the strategy lost by being lapped."""
        return self._strategy.lost

    def close(self) -> None:
        self._place.declare_gone()
        self._control.close()
        self.positions.close()
        self.signals.close()
        super().close()
