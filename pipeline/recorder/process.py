"""The recorder process: ticks and gaps into Parquet, beside a run and out of its way.

It looks at the ring every 20 ms, keeps what it read until a part is due, and writes the part
whole. What it cannot write ends it, and the run goes on.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from time import monotonic_ns, time_ns

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.recorded.parquet import (
    GAP_ROW,
    arrow,
    journal_parts,
    recorded,
    settle,
    write_journal,
)
from pipeline.channels.recording import RecorderLine
from pipeline.errors import RecordingFailed, explain
from pipeline.records import GAP, TICK, ProcessState
from pipeline.runtime import boundary, duty_cycle
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.stopping import stop_on_signals
from pipeline.settings import Settings

log = logging.getLogger("recorder")

LOOK_SECONDS = 0.02
READ_MAX = 65_536


def run(settings: Settings, spin_bare: bool = False) -> ExitCode:
    """Record until the ring ends or a signal asks to stop; then settle the journal."""
    directory = settings.recorder.directory
    assert directory is not None, "who has none has no recorder"
    arrow()  # a package that is missing is told before anything is read
    try:
        _recover(directory)
        with (
            stop_on_signals(boundary.supervisor_pid()) as stop,
            RecorderLine(settings) as line,
        ):
            recorder = _Recorder(settings, directory, line)
            duty_cycle.run(
                recorder.work,
                idle=lambda: time.sleep(LOOK_SECONDS),
                stop=stop,
                beat=recorder.beat,
                ended=lambda: line.ticks.ended,
            )
            recorder.finish()
    except OSError as error:
        raise RecordingFailed(
            explain(
                f"{directory}: {error.strerror or error}",
                rule="a recording is written to a directory with room and permission",
                cure="make room, or correct recorder.directory; what was written before is whole",
            )
        ) from None
    return ExitCode.OK


def _recover(directory: Path) -> None:
    """Settle what a recorder that was killed left, and say what may be missing."""
    for journal in sorted(directory.glob("*/journal")):
        parts = journal_parts(journal.parent)
        settle(journal.parent)
        log.warning(
            "%s: a recorder was killed; its %d parts are settled, and what it had read after "
            "the last of them (%s) is missing",
            journal.parent,
            len(parts),
            parts[-1].stem if parts else "none",
        )


class _Recorder:
    """Keeps what was read until a part is due."""

    def __init__(self, settings: Settings, directory: Path, line: RecorderLine) -> None:
        self._settings = settings
        self._directory = directory
        self._line = line
        self._recording_ns = time_ns()
        self._ticks: list[NDArray[np.void]] = []
        self._gaps: list[NDArray[np.void]] = []
        self._kept = self._parts = self._written = self._last_seq = 0
        self._flushed_ns = monotonic_ns()
        self._flush_ns = int(settings.recorder.flush_seconds_max * 1e9)

    def work(self) -> int:
        rows = self._line.read(READ_MAX)
        if len(rows):
            self._ticks.append(rows)
            self._kept += len(rows)
        if self._line.gaps.ready:
            self._gaps.append(self._line.gaps.take())
        due = monotonic_ns() - self._flushed_ns > self._flush_ns
        if due or self._kept >= self._settings.recorder.flush_ticks_max:
            self._flush()
        return len(rows)

    def _flush(self) -> None:
        self._flushed_ns = monotonic_ns()
        if not self._ticks and not self._gaps:
            return
        self._parts += 1
        ticks = np.concatenate([np.zeros(0, TICK), *self._ticks])
        write_journal(
            self._directory,
            f"{self._recording_ns}-{self._parts:06}",
            recorded(ticks, self._recording_ns, time_ns() - monotonic_ns()),
            self._gap_rows(),
            self._settings.instruments,
        )
        self._ticks.clear()
        self._gaps.clear()
        self._kept = 0
        self._written += len(ticks)
        self._last_seq = int(ticks["seq"][-1]) if len(ticks) else self._last_seq

    def _gap_rows(self) -> NDArray[np.void]:
        gaps = np.concatenate([np.zeros(0, GAP), *self._gaps])
        rows = np.zeros(len(gaps), GAP_ROW)
        for name in GAP.names or ():
            rows[name] = gaps[name]
        rows["recording_ns"] = self._recording_ns
        return rows

    def finish(self) -> None:
        """Write what is left, settle the journal, and say what was recorded and what was not."""
        while self.work():
            pass
        self._flush()
        self.beat(0)
        for journal in sorted(self._directory.glob("*/journal")):
            settle(journal.parent)
        ring = self._line.ticks
        log.info(
            "recorded %d of %d ticks in %s; %d lost in %d laps",
            self._written,
            ring.published,
            self._directory,
            ring.lost,
            ring.lapped,
        )

    def beat(self, cycles: int) -> None:
        self._line.ticks.check_whole()
        self._line.beat(
            ProcessState.RUNNING,
            cycles=cycles,
            ticks=self._written + self._kept,
            last_seq=self._line.ticks.cursor,
            lapped=self._line.ticks.lapped,
            lost=self._line.ticks.lost,
        )
