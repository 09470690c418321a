"""What the places of strategy and risk share."""

from __future__ import annotations

from pipeline.channels.gaps import GAPS, GapReader
from pipeline.channels.line import FEED, TICKS, Line
from pipeline.channels.ring import RingReader
from pipeline.channels.rundir import wait_for_owner
from pipeline.channels.waiting import Callback, Waiting, Words
from pipeline.records import TICK, Gap, WhenLapped
from pipeline.settings import Mode, Settings


class ReaderLine(Line):
    """What strategy and risk share: the ticks, and a way to wait for them."""

    ticks: RingReader

    def __init__(self, settings: Settings, role: str, spin_bare: bool) -> None:
        super().__init__(settings, role)
        self._settings = settings
        self._spin_bare = spin_bare
        self._place = self._places[role]
        self._bell = self._readers.bell(role)

    def _attach(self, when_lapped: WhenLapped) -> None:
        path = wait_for_owner(self.directory, TICKS, FEED)
        self.ticks = self._channels.RingReader(path, TICK, self._place, when_lapped)
        self.gaps = GapReader(wait_for_owner(self.directory, GAPS, FEED), self._channels)
        self.waiting = self._new_waiting()
        self._place.take()

    @property
    def ready(self) -> bool:
        """True when a look is worth while."""
        raise NotImplementedError

    @property
    def watched(self) -> Words:
        """The words that change when it becomes so."""
        raise NotImplementedError

    def idle(self) -> None:
        """Wait as the settings say, after a turn without work."""
        self.waiting.idle()

    def follow(self) -> Gap | None:
        """Go on with the ring of the next feed; None unless this one was read to its end."""
        gap = self.ticks.follow() if self.ticks.superseded else None
        if gap is not None:
            self.waiting = self._new_waiting()  # the words to watch lie in another mapping
        return gap

    def _new_waiting(self) -> Waiting:
        mode, ready = self._settings.waiting.mode, lambda: self.ready
        if mode is Mode.CALLBACK:
            return Callback(self._bell, ready)
        if mode is Mode.ADAPTIVE:
            spin_us = self._settings.waiting.adaptive_spin_us
            return self._channels.adaptive(self._bell, ready, self.watched, spin_us)
        return self._channels.poll(ready, self.watched, self._spin_bare)

    def close(self) -> None:
        self.ticks.close()
        self.gaps.close()
        super().close()
