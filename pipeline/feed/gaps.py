"""The gaps of one connection: begun by a loss or a stall, ended by the next tick. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.records import AFTER_GAP, GAP, GapReason

Gaps = NDArray[np.void]  # GAP rows


class _Open(NamedTuple):
    reason: GapReason
    began_ns: int
    after_seq: int


class OpenGaps:
    """What is missing now, of a connection with the instruments ``first`` to first + count - 1."""

    def __init__(self, connection: int, first: int, count: int) -> None:
        self._connection = connection
        self._all = range(first, first + count)
        self._of_all: _Open | None = None
        self._of_one: dict[int, _Open] = {}  # by instrument

    def __bool__(self) -> bool:
        return self._of_all is not None or bool(self._of_one)

    @property
    def since_ns(self) -> int:
        """When the oldest gap that lasts began, 0 = there is none."""
        lasting = [*self._of_one.values(), *([self._of_all] if self._of_all else [])]
        return min((gap.began_ns for gap in lasting), default=0)

    def begin(self, reason: GapReason, began_ns: int, after_seq: int) -> None:
        """Note a gap of every instrument; one that lasts already goes on."""
        self._of_all = self._of_all or _Open(reason, began_ns, after_seq)

    def begin_one(self, instrument: int, began_ns: int, after_seq: int) -> None:
        """Note that one instrument stalls."""
        self._of_one[instrument] = _Open(GapReason.STALLED, began_ns, after_seq)

    def end(self, ticks: NDArray[np.void], last_seq: int, ahead_ns: int) -> Gaps:
        """Return the gaps that end with ``ticks``, whose rows behind a gap are marked.

        ``last_seq`` is the last tick before them, ``ahead_ns`` how far CLOCK_REALTIME is ahead.
        """
        ended = []
        for place, instrument in enumerate(ticks["instrument"].tolist()):
            found = self._ended_by(instrument)
            if found:
                ticks["flags"][place] |= AFTER_GAP
                now_ns, seq = int(ticks["ts_recv_ns"][place]), last_seq + 1 + place
                ended += [self._row(gap, whose, now_ns, seq, ahead_ns) for gap, whose in found]
            if not self:
                break
        return np.concatenate(ended) if ended else np.zeros(0, GAP)

    def _ended_by(self, instrument: int) -> list[tuple[_Open, range]]:
        found = []
        if self._of_all is not None:
            found.append((self._of_all, self._all))
            self._of_all = None
        if instrument in self._of_one:
            found.append((self._of_one.pop(instrument), range(instrument, instrument + 1)))
        return found

    def end_all(self, now_ns: int, last_seq: int, ahead_ns: int) -> Gaps:
        """Return what is still missing when nothing more will come."""
        found = [] if self._of_all is None else [(self._of_all, self._all)]
        found += [(gap, range(i, i + 1)) for i, gap in self._of_one.items()]
        self._of_all = None
        self._of_one.clear()
        rows = [self._row(gap, whose, now_ns, last_seq + 1, ahead_ns) for gap, whose in found]
        return np.concatenate(rows) if rows else np.zeros(0, GAP)

    def _row(self, gap: _Open, whose: range, now_ns: int, seq: int, ahead_ns: int) -> Gaps:
        row = np.zeros(1, GAP)
        row["reason"] = gap.reason.encode()
        row["began_ns"], row["ended_ns"] = gap.began_ns, now_ns
        row["began_epoch_ns"], row["ended_epoch_ns"] = gap.began_ns + ahead_ns, now_ns + ahead_ns
        row["after_seq"], row["next_seq"] = gap.after_seq, seq
        row["connection"] = self._connection
        row["first_instrument"], row["instrument_count"] = whose.start, len(whose)
        return row
