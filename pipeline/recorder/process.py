"""The recorder process: ticks, gaps and depth into Parquet, beside a run and out of its way.

It looks at the rings every 20 ms, keeps what it read until a part is due, and writes the part
whole. What it cannot write ends it, and the run goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic_ns, time_ns

import numpy as np

from pipeline.brokers.recorded.counts import (
    Counted,
    Counts,
    cut_short,
    unfinished,
    write_counts,
)
from pipeline.brokers.recorded.journal import (
    last_part,
    own_directory,
    settle,
    unsettled_days,
    write_journal,
)
from pipeline.brokers.recorded.parquet import KINDS, Rows, arrow, recorded
from pipeline.channels.recorder_line import RecorderLine, Tape
from pipeline.errors import RecordingFailed, TickFileError, explain
from pipeline.records import ProcessState
from pipeline.runtime import boundary, duty_cycle
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.stopping import Stop, stop_on_signals
from pipeline.settings import Settings

log = logging.getLogger("recorder")

LOOK_SECONDS = 0.02
READ_MAX = 65_536


def run(settings: Settings, spin_bare: bool = False) -> ExitCode:
    """Record until the ring ends or a signal asks to stop; then settle the journal."""
    directory = settings.recorder.directory
    assert directory is not None, "who has none has no recorder"
    arrow()  # a package that is missing is told before anything is read
    with stop_on_signals(boundary.supervisor_pid()) as stop:
        with _writing(directory):
            lock = own_directory(directory)
        try:
            with RecorderLine(settings) as line:
                recorder = _Recorder(settings, directory, line, stop)
                recorder.say_what_was_cut_short()
                duty_cycle.run(
                    recorder.work,
                    idle=lambda: time.sleep(LOOK_SECONDS),
                    stop=stop,
                    beat=recorder.beat,
                    ended=lambda: line.ticks.ended,
                )
                recorder.finish()
        finally:
            lock.close()
    return ExitCode.OK


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    """Make what the operating system refuses a RecordingFailed."""
    try:
        yield
    except OSError as error:
        raise RecordingFailed(
            explain(
                f"{directory}: {error.strerror or error}",
                rule="a recording is written to a directory with room and permission",
                cure="make room, or correct recorder.directory; what was written before is whole",
            )
        ) from None


class _Kept:
    """What was read of one ring and is not written yet."""

    def __init__(self, tape: Tape, written: int) -> None:
        self.tape = tape
        self.rows: list[Rows] = []
        self.count = 0
        self.written = written

    def read(self) -> int:
        rows = self.tape.read(READ_MAX)
        if len(rows):
            self.rows.append(rows)
            self.count += len(rows)
        return len(rows)

    def take(self) -> Rows:
        rows = np.concatenate(self.rows)
        self.rows.clear()
        self.count = 0
        return rows

    @property
    def counted(self) -> Counted:
        seen = self.tape.seen - self.count  # what is written or lost
        return {"published": seen, "recorded": self.written, "lost": self.tape.lost}


class _Recorder:
    """Keeps what was read until a part is due."""

    def __init__(self, settings: Settings, directory: Path, line: RecorderLine, stop: Stop) -> None:
        self._settings = settings
        self._directory = directory
        self._line = line
        self._stop = stop
        self._cycles = 0
        self._attach()
        self._flushed_ns = self._beat_ns = monotonic_ns()
        self._flush_ns = int(settings.recorder.flush_seconds_max * 1e9)
        self._left_ns: int | None = None  # until when to settle, once a stop was asked for

    def _attach(self) -> None:
        """Begin a recording, or go on with that of another recorder of this run."""
        with _writing(self._directory):
            name, began_ns = self._settings.run.name, self._line.run_began_ns
            before = unfinished(self._directory, name, began_ns)
            counted = {} if before is None else before["counted"]
            self._recording_ns = time_ns() if before is None else before["recording_ns"]
            self._parts = last_part(self._directory, self._recording_ns)
        self._line.attach({kind: (c["published"], c["lost"]) for kind, c in counted.items()})
        self._kept = {
            kind: _Kept(tape, counted[kind]["recorded"] if kind in counted else 0)
            for kind, tape in self._line.tapes.items()
        }
        if before is not None:
            at = counted["ticks"]["published"]
            log.warning("%s: going on behind seq %d of this run", self._directory, at)

    def say_what_was_cut_short(self) -> None:
        """Say what a recorder that was killed may have missed.

        What it left is settled at the end, with this one's own: the ring waits for nobody.
        """
        with _writing(self._directory):
            for counts in cut_short(self._directory, self._recording_ns):
                log.warning("%s: %s", self._directory, counts)

    def work(self) -> int:
        done = sum([kept.read() for kept in self._kept.values()])
        kept_count = sum(kept.count for kept in self._kept.values())
        due = monotonic_ns() - self._flushed_ns > self._flush_ns
        if due or kept_count >= self._settings.recorder.flush_ticks_max:
            self._flush()
        return done

    def _flush(self) -> None:
        self._flushed_ns = monotonic_ns()
        if not any(kept.count for kept in self._kept.values()):
            return
        self._parts += 1
        with _writing(self._directory):
            for kind in KINDS:
                if kind in self._kept and self._kept[kind].count:
                    self._write(kind, self._kept[kind])
            self._write_counts("recording")

    def _write(self, kind: str, kept: _Kept) -> None:
        rows = recorded(kind, kept.take(), self._recording_ns, time_ns() - monotonic_ns())
        name = f"{self._recording_ns}-{self._parts:06}"
        write_journal(self._directory, name, kind, rows, self._settings.instruments)
        kept.written += len(rows)

    def _write_counts(self, state: str) -> None:
        counts: Counts = {
            "recording_ns": self._recording_ns,
            "written_ns": time_ns(),
            "run": self._settings.run.name,
            "state": state,
            "flush_seconds_max": float(self._settings.recorder.flush_seconds_max),
            "counted": {kind: kept.counted for kind, kept in self._kept.items()},
        }
        write_counts(self._directory, counts)

    def finish(self) -> None:
        """Write what is left, settle the journal, and say what was recorded and what was not."""
        end = self._line.ticks.published
        while self.work() and self._line.ticks.seen < end:
            pass
        self._flush()
        with _writing(self._directory):
            self._write_counts("ended")
            self._settle_all()
        for kind, kept in self._kept.items():
            log.info(
                "%s: recorded %d of %d in %s; lost %d in %d laps",
                kind,
                kept.written,
                kept.tape.seen,
                self._directory,
                kept.tape.lost,
                kept.tape.lapped,
            )

    def _settle_all(self) -> None:
        for day in unsettled_days(self._directory):
            try:
                if not settle(day, self._go_on):
                    log.warning(
                        "%s: no time to settle its journal; the end of the next recording does it",
                        day,
                    )
            except TickFileError as error:
                log.error(
                    "%s\nIts journal is left as it is; this recording is settled all the same",
                    error,
                )

    def _go_on(self) -> bool:
        """Beat, and tell whether there is time left: without end unless a stop was asked for."""
        now_ns = monotonic_ns()
        if now_ns - self._beat_ns > duty_cycle.BEAT_INTERVAL_NS:
            self.beat(self._cycles)
            self._stop.check_parent()
        if self._stop.requested and self._left_ns is None:
            self._left_ns = now_ns + int(self._settings.run.stop_seconds_max * 5e8)
        return self._left_ns is None or now_ns < self._left_ns

    def beat(self, cycles: int) -> None:
        self._cycles, self._beat_ns = cycles, monotonic_ns()
        ticks = self._kept["ticks"]
        ticks.tape.check_whole()
        self._line.beat(
            ProcessState.RUNNING,
            cycles=cycles,
            ticks=ticks.written + ticks.count,
            last_seq=ticks.tape.seen,
            lapped=ticks.tape.lapped,
            lost=ticks.tape.lost,
            depths_lost=self._depths_lost,
        )

    @property
    def _depths_lost(self) -> int:
        return self._kept["depth"].tape.lost if "depth" in self._kept else 0
