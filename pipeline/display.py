"""The live display: what the heartbeats say, four times a second. Reads cells only."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.channels.line import FEED, RECORDER, RISK, ROLES
from pipeline.records import PRICE_SCALE, ProcessState
from pipeline.runtime.latency import measured
from pipeline.settings import Settings
from pipeline.strategy.contract import ist

REFRESH_SECONDS = 0.25

Beats = Mapping[str, NDArray[np.void]]


class Display:
    """Use it as a context manager and call it with the newest heartbeats."""

    def __init__(self, settings: Settings, console: Console, ticks_total: int | None) -> None:
        self._settings = settings
        self._total = ticks_total
        self._live = Live(console=console, auto_refresh=False)
        self._beats: Beats = {}
        self._shown_at = 0.0
        self._rate = _Rate()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._beats:
            self._live.update(self._page(self._beats, monotonic()), refresh=True)
        self._live.stop()

    def __call__(self, beats: Beats) -> None:
        """Show ``beats``, at most four times a second."""
        self._beats = beats
        now = monotonic()
        if now - self._shown_at < REFRESH_SECONDS or not beats:
            return
        self._shown_at = now
        self._live.update(self._page(beats, now), refresh=True)

    def _page(self, beats: Beats, now: float) -> Group:
        return Group(
            self._headline(beats, now),
            *self._progress(beats),
            self._processes(beats),
            self._latencies(beats),
            *self._waiting_note(),
        )

    def _headline(self, beats: Beats, now: float) -> Text:
        published = _value(beats, FEED, "ticks")
        parts = [
            f"mode {self._settings.waiting.mode}",
            f"{published:,} ticks",
            f"{self._rate.per_second(published, now):,.0f} ticks/s",
        ]
        if event_ns := _value(beats, FEED, "last_event_ns"):
            parts.append(f"{ist(event_ns):%Y-%m-%d %H:%M:%S} IST")
        lines = ["  ·  ".join(parts), *self._troubles(beats)]
        if RISK in beats:
            initial = float(self._settings.capital.initial_capital)
            equity = _value(beats, RISK, "equity_e4") / PRICE_SCALE
            lines.append(
                f"position {_value(beats, RISK, 'position'):+,}  ·  "
                f"trades {_value(beats, RISK, 'trades')}  ·  P&L ₹{equity - initial:+,.2f}"
            )
        return Text("\n".join(lines), style="bold")

    def _troubles(self, beats: Beats) -> list[str]:
        """Return a line about the feed's connections where there is something to say."""
        names = ("outages", "gaps", "silent")
        counts = {name: _value(beats, FEED, name) for name in names}
        if not any(counts.values()):
            return []
        told = "  ·  ".join(f"{name} {count:,}" for name, count in counts.items())
        return [f"connections {_value(beats, FEED, 'connected')}  ·  {told}"]

    def _progress(self, beats: Beats) -> list[Table]:
        if not self._total:
            return []
        line = Table.grid()  # a bar alone does not end its line
        line.add_row(ProgressBar(self._total, _value(beats, FEED, "ticks"), width=80))
        return [line]

    def _processes(self, beats: Beats) -> Table:
        table = Table(box=None, pad_edge=False)
        for heading in ("process", "state", "pid", "ticks", "behind", "laps", "lost"):
            table.add_column(
                heading, justify="left" if heading in ("process", "state") else "right"
            )
        published = _value(beats, FEED, "ticks")
        for role in (*ROLES, RECORDER):
            if role in beats:
                table.add_row(*self._process_row(beats, role, published))
        return table

    def _process_row(self, beats: Beats, role: str, published: int) -> list[str]:
        def value(name: str) -> int:
            return _value(beats, role, name)

        row = [role, ProcessState(value("state")).name.lower(), str(value("pid"))]
        row.append(f"{value('ticks'):,}")
        if role == FEED:
            return [*row, f"{value('unread'):,}"]
        row += [f"{max(0, published - value('last_seq')):,}", str(value("lapped"))]
        row.append(str(value("lost")))
        return row

    def _latencies(self, beats: Beats) -> Table:
        """Return a row for each stage that was measured, since the start of the run."""
        table = Table(box=None, pad_edge=False)
        for heading in ("latency, µs", "samples", "p50", "p90", "p99", "p99.9", "max"):
            table.add_column(heading, justify="left" if "µs" in heading else "right")
        for stage, (samples, *values_ns) in measured(beats.values()).items():
            if samples:
                shown = [f"{ns / 1_000:,.0f}" for ns in values_ns]
                table.add_row(stage.title.lower(), f"{samples:,}", *shown)
        return table

    def _waiting_note(self) -> list[Text]:
        if not self._settings.channels.lockstep:
            return []
        return [Text("lockstep: a tick in hand waits for those before it, and that counts here")]


class _Rate:
    """Ticks per second over the last two seconds or so."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, int]] = []

    def per_second(self, count: int, now: float) -> float:
        self._samples = [s for s in self._samples if now - s[0] <= 2.0][-16:]
        self._samples.append((now, count))
        (start, first), (end, last) = self._samples[0], self._samples[-1]
        return (last - first) / (end - start) if end > start else 0.0


def _value(beats: Beats, role: str, name: str) -> int:
    return int(beats[role][name][0]) if role in beats else 0
