"""One batch of ticks in, signals out: what live, replay and backtest all call. Pure.

    on_positions   the positions cell  ->  strategy.position, on_position_closed
    on_gap         ticks that are lost ->  on_gap
    on_ticks       TICK rows           ->  on_tick for each, or on_batch  ->  SIGNAL rows, checked

The queue numbers the signals 1, 2, 3, … in the order in which they are returned here. The session
counts along, so it knows from ``as_of_signal`` which of them risk has answered.

A failure is an exception out of the strategy, sys.exit() too, or a signal that is none. It costs
the tick or the batch it happened at; ``failures_max`` of them in a row end the session with a CLOSE
for every instrument.
"""

from __future__ import annotations

import struct
import traceback
from collections.abc import Callable
from functools import partial
from operator import length_hint
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import StrategyFailed, explain
from pipeline.records import (
    POSITION,
    PRICE_SCALE,
    SIGNAL,
    TICK,
    Action,
    ExitKind,
    Gap,
    GapReason,
    SignalRow,
    positions_dtype,
    struct_of,
)
from pipeline.settings import Instrument
from pipeline.strategy.contract import Position, Strategy, Tick
from pipeline.strategy.levels import depth_of
from pipeline.strategy.signals import signal_row, signals_of_batch

FAILED_REASON = "NaN Threshold Exceeded"  # the guide's words
CLOSED_REASONS = {
    ExitKind.NONE: "Other",
    ExitKind.STOP_LOSS: "Stop Loss",
    ExitKind.TRAILING_STOP: "Trailing Stop",
    ExitKind.TAKE_PROFIT: "Take Profit",
    ExitKind.SESSION_END: "Session End",
    ExitKind.OTHER: "Other",
    ExitKind.BREAKEVEN_STOP: "Breakeven Stop",
    ExitKind.TIME_LIMIT: "Time Limit",
}
NO_SIGNALS = np.zeros(0, SIGNAL)

_TICK = struct_of(TICK)
_POSITION = struct_of(POSITION)
_POSITIONS_HEAD = struct.Struct("<QQQ")  # seq, as_of_seq, as_of_signal
assert positions_dtype(1).names == ("seq", "as_of_seq", "as_of_signal", "positions")
assert positions_dtype(1).itemsize == _POSITIONS_HEAD.size + _POSITION.size


def nothing_overwritten() -> int:
    """Be the ``release`` of rows that are a copy."""
    return 0


class StrategySession:
    """A strategy at work on the instruments of a run, in settings order.

    ``failed`` is None until ``failures_max`` consecutive failures, and then the error to raise.
    """

    def __init__(
        self, strategy: Strategy, instruments: tuple[Instrument, ...], failures_max: int
    ) -> None:
        self._strategy = strategy
        self._instruments = instruments
        self._failures_max = failures_max
        self._positions = [Position(instrument_index=index) for index in range(len(instruments))]
        strategy.positions = self._positions
        self.takes_batches = type(strategy).on_batch is not Strategy.on_batch
        self._published = bytes(_POSITION.size * len(instruments))
        self._closed_ids = [0] * len(instruments)
        self._unanswered: dict[int, int] = {}  # instrument -> number of its last BUY or SELL
        self._latest: list[Tick | None] = [None] * len(instruments)
        self.last_error: BaseException | None = None
        self.ticks = 0
        self.signals = 0
        self.failures = 0
        self.failures_in_a_row = 0
        self.last_failure = ""
        self.failed: StrategyFailed | None = None

    def on_positions(self, row: np.void | NDArray[np.void]) -> None:
        """Take the positions cell: one record of ``positions_dtype(n)``, or shape ``(1,)`` of it.

        Tells the strategy of every position that closed since the record before; a new session
        is told of the last one that closed before it.
        """
        record = row.tobytes()
        assert len(record) == _POSITIONS_HEAD.size + len(self._published), "another run's record"
        if self.failed is not None:
            return
        as_of_signal: int = _POSITIONS_HEAD.unpack_from(record)[2]
        published = record[_POSITIONS_HEAD.size :]
        if published == self._published and not self._unanswered:
            return
        self._published = published
        for index, fields in enumerate(_POSITION.iter_unpack(published)):
            self._update(index, as_of_signal, *fields)

    def _update(
        self,
        index: int,
        as_of_signal: int,
        position_id: int,
        quantity: int,
        entry_price_e4: int,
        stop_e4: int,
        closed_id: int,
        closed_kind: int,
    ) -> None:
        unanswered = self._unanswered
        if index in unanswered and unanswered[index] <= as_of_signal:
            del unanswered[index]
        position = Position(
            position_id,
            quantity,
            entry_price_e4 / PRICE_SCALE,
            stop_e4 / PRICE_SCALE,
            index in unanswered,
            index,
        )
        if position != self._positions[index]:  # else the strategy keeps the object it knows
            self._positions[index] = position
        if closed_id != self._closed_ids[index]:
            self._closed_ids[index] = closed_id
            if closed_id:
                self._tell_closed(index, closed_id, CLOSED_REASONS[ExitKind(closed_kind)])

    def _tell_closed(self, index: int, closed_id: int, reason: str) -> None:
        self._strategy.position = self._positions[index]
        failure = _failure_of(lambda: self._strategy.on_position_closed(closed_id, reason))
        if failure is not None:
            symbol = self._instruments[index].symbol
            self._count_failure(failure, f"on_position_closed({closed_id}) of {symbol}")

    def on_gap(self, gap: Gap) -> None:
        """Tell the strategy of ticks that are lost."""
        failure = _failure_of(lambda: self._strategy.on_gap(gap))
        if failure is not None:
            self._count_failure(failure, f"on_gap({gap})")

    def on_depth(self, row: np.void) -> None:
        """Tell the strategy of a DEPTH row, before the tick that it came with."""
        if self.failed is not None:
            return
        depth = depth_of(row, self._instruments)
        self._strategy.position = self._positions[depth.instrument_index]
        failure = _failure_of(lambda: self._strategy.on_depth(depth))
        if failure is not None:
            self._count_failure(failure, f"on_depth at tick {depth.tick_seq} of {depth.symbol}")

    def on_ticks(
        self, ticks: NDArray[np.void], release: Callable[[], int] = nothing_overwritten
    ) -> NDArray[np.void]:
        """Hand TICK rows to the strategy in order and return its signals as SIGNAL rows.

        ``seq`` and ``ts_signal_ns`` are 0. After the last failure allowed, the rows end with a
        CLOSE for every instrument, ``failed`` is set, and every later call returns no rows.

        A strategy that ``takes_batches`` may be given rows that somebody else can overwrite:
        ``release``, called once behind the last look at them, says how many were.
        """
        if self.failed is not None:
            release()
            return NO_SIGNALS
        rows: list[SignalRow] = []
        if self._exhausted:
            release()
        elif self.takes_batches:
            rows = self._decide_at_once(ticks, release)
        else:
            rows = self._decide(ticks)
        if self._exhausted:
            rows += self._fail()
        return np.array(rows, SIGNAL) if rows else NO_SIGNALS

    def _decide(self, ticks: NDArray[np.void]) -> list[SignalRow]:
        rows: list[SignalRow] = []
        new = tuple.__new__  # Tick._make without its check of the length, which _struct_of made
        strategy, instruments = self._strategy, self._instruments
        positions, latest = self._positions, self._latest
        waiting = _TICK.iter_unpack(ticks.tobytes())
        for fields in waiting:
            index = fields[4]
            latest[index] = tick = new(Tick, (*fields, instruments[index]))
            strategy.position = positions[index]
            try:
                wanted = strategy.on_tick(tick)
                if wanted is not None:
                    self._accept(wanted, tick, rows)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - user's code: counted
                self._count_failure(error, f"on_tick at tick {tick.seq} of {tick.symbol}")
                if self._exhausted:
                    break
            else:
                self.failures_in_a_row = 0
        self.ticks += len(ticks) - length_hint(waiting)
        return rows

    def _accept(self, wanted: Any, tick: Tick, rows: list[SignalRow]) -> None:
        row = signal_row(wanted, tick)
        if row is not None:
            self._count(row, rows)

    def _count(self, row: SignalRow, rows: list[SignalRow]) -> None:
        rows.append(row)
        self.signals += 1
        if row.action != Action.CLOSE:
            index = row.instrument
            self._unanswered[index] = self.signals
            self._positions[index] = self._positions[index]._replace(entry_pending=True)

    def _decide_at_once(
        self, ticks: NDArray[np.void], release: Callable[[], int]
    ) -> list[SignalRow]:
        """Give the strategy the whole batch; its answer counts whole or not at all."""
        wanted: list[SignalRow] = []
        first_seq, last = int(ticks["seq"][0]), self._tick_at(ticks, len(ticks) - 1)

        def decide() -> None:
            answer = self._strategy.on_batch(ticks)
            wanted.extend(signals_of_batch(answer, len(ticks), partial(self._tick_at, ticks)))

        failure = _failure_of(decide)
        if overwritten := release():
            self.on_gap(Gap(GapReason.LAPPED, overwritten))
            return []
        self.ticks += len(ticks)
        self._latest[last.instrument_index] = last
        if failure is not None:
            self._count_failure(failure, f"on_batch at ticks {first_seq} to {last.seq}")
            return []
        self.failures_in_a_row = 0
        rows: list[SignalRow] = []
        for row in wanted:
            self._count(row, rows)
        return rows

    def _tick_at(self, ticks: NDArray[np.void], at: int) -> Tick:
        fields = ticks[at].item()
        return Tick._make((*fields, self._instruments[fields[4]]))

    def _count_failure(self, error: BaseException, where: str) -> None:
        self.failures += 1
        self.failures_in_a_row += 1
        lines = traceback.format_exception_only(error)  # safe with a __str__ that raises
        what = next(line for line in lines if not line.startswith(" ")).splitlines()[0]
        self.last_failure = f"{where}: {what}"
        self.last_error = error

    @property
    def _exhausted(self) -> bool:
        return self.failures_in_a_row >= self._failures_max

    def _fail(self) -> list[SignalRow]:
        """Set ``failed`` and return a CLOSE for every instrument, each at its own last price."""
        self.failed = StrategyFailed(
            explain(
                f"{self._strategy_name} failed {self.failures_in_a_row} times in a row, "
                f"last {self.last_failure}",
                rule=f"strategy.failures_max = {self._failures_max} consecutive failures stop it",
                cure="correct the strategy; the traceback of the last failure is above",
            )
        )
        self.failed.__cause__ = self.last_error
        self.signals += len(self._instruments)
        known = [tick for tick in self._latest if tick is not None]
        newest = max(known, key=lambda tick: tick.seq, default=None)
        return [_closing_row(index, tick, newest) for index, tick in enumerate(self._latest)]

    @property
    def _strategy_name(self) -> str:
        return type(self._strategy).__name__

    def statistics(self) -> dict[str, int | str]:
        """Return the counters since the start."""
        return {
            "ticks": self.ticks,
            "signals": self.signals,
            "unanswered": len(self._unanswered),
            "failures": self.failures,
            "failures_in_a_row": self.failures_in_a_row,
            "last_failure": self.last_failure,
        }

    def __repr__(self) -> str:
        held = sum(position.quantity != 0 for position in self._positions)
        state = "failed" if self.failed is not None else "running"
        return (
            f"<StrategySession {self._strategy_name} {state} ticks={self.ticks} "
            f"signals={self.signals} held={held} unanswered={len(self._unanswered)} "
            f"failures={self.failures}>"
        )


def _failure_of(call: Callable[[], None]) -> BaseException | None:
    """Call the user's code and return what it raised, to be counted."""
    try:
        call()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - user's code
        return error
    return None


def _closing_row(index: int, tick: Tick | None, newest: Tick | None) -> SignalRow:
    return SignalRow(
        seq=0,
        tick_seq=0 if newest is None else newest.seq,
        ts_event_ns=0 if newest is None else newest.ts_event_ns,
        ts_recv_ns=0 if newest is None else newest.ts_recv_ns,
        ts_signal_ns=0,
        price_e4=0 if tick is None else tick.price_e4,  # 0 = this instrument had no tick yet
        stop_loss_e4=0,
        take_profit_e4=0,
        confidence=1.0,
        instrument=index,
        action=int(Action.CLOSE),
        reserved=0,
        reason=FAILED_REASON.encode(),
    )
