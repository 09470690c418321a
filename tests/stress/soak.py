"""Run the whole pipeline for hours, break it now and then, and judge what it delivered.

A simulator plays generated days one after the other over a real WebSocket; the supervisor, the
feed, a strategy and risk run as a user runs them. Now and then the connection is cut, and every
fourth time the feed is killed instead. The cable between simulator and feed counts what was sent;
the strategy writes down the number of each tick that ``on_tick`` got. Measured:

    delivery   ticks that on_tick got / ticks sent. What is missing must have been the last of a
               connection that ended: the tick before the hole and the one behind it prove it
    outages    each cut and each kill was counted by the product, and ticks came again
    memory     PSS of each process at the end of each window. Judged is what it has of its own,
               without libraries that other programs share: growing by 0.4 % a window is a leak
    latency    from the frame in the feed's hand to on_tick; p50 of the last windows above twice
               that of the first is a drift. p99 is shown and not judged
    end        the run stops in order when asked, and its results say the same

A window is a minute, in a short run a sixteenth of it. --inject breaks the strategy: "skip" (it
forgets one tick in a thousand), "leak" (it keeps 1 % of its memory more each window), "drift".
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.perf.machine import describe_machine
from tests.stress.cable import Cable, Connection
from tests.stress.memory import Memory, memory_of
from tests.stress.soak_rig import Pipeline, Simulator, recording
from tests.stress.tape import TapeReader
from tests.stress.verdicts import (
    Delivery,
    Verdict,
    judge_delivery,
    judge_latency,
    judge_memory,
    sent_between,
    slope_percent,
)

LOOK_SECONDS = 0.2
WINDOW_SECONDS_MAX = 60.0
WINDOWS_MIN = 16
START_SECONDS_MAX = 60.0
BACK_SECONDS_MAX = 60.0
SHARED_MEMORY = Path("/dev/shm")
BREAKS = ("cut", "cut", "cut", "kill")
FAULTS = ("skip", "leak", "drift")

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a soak does."""

    mode: str
    seconds: float
    rate: int = 200  # ticks/s
    break_every: float = 300.0  # s
    breaks: tuple[str, ...] = BREAKS
    inject: tuple[str, ...] = ()

    @property
    def window(self) -> float:
        """Seconds between two lines."""
        return min(WINDOW_SECONDS_MAX, self.seconds / WINDOWS_MIN)

    @property
    def parameters(self) -> dict[str, float]:
        """What the strategy is told to do wrong."""
        ticks = self.rate * self.window
        return {
            "skip_every": 1_000 if "skip" in self.inject else 0,
            "leak_part": 0.01 / self.window if "leak" in self.inject else 0.0,
            "drift_ns": 200_000 / ticks if "drift" in self.inject else 0.0,
        }


class Break(NamedTuple):
    """Something done to the pipeline."""

    what: str
    at_ns: int
    connections: int  # there were before


class Soak:
    """A pipeline that runs, and what is known of it."""

    def __init__(self, plan: Plan, cable: Cable, pipeline: Pipeline, tape: TapeReader) -> None:
        self._plan, self._cable, self._pipeline, self._tape = plan, cable, pipeline, tape
        self.delivery = Delivery()
        self.memory: dict[str, list[tuple[int, list[Memory]]]] = {}  # role: pid and windows by life
        self.latency: list[tuple[float, float]] = []  # p50 and p99 of each window, ns
        self.breaks: list[Break] = []
        self.back_ns: list[int] = []  # how long each break lasted
        self._late: list[np.ndarray] = []

    def run(self, report: Report) -> None:
        """Let it run for the plan's time; stop early when it ended by itself."""
        self._wait(lambda: self.delivery.count > 0, START_SECONDS_MAX)
        begin = time.monotonic()
        window_at, break_at = begin + self._plan.window, begin + self._plan.break_every
        while (now := time.monotonic()) < begin + self._plan.seconds and self._pipeline.alive:
            self._look()
            if now >= window_at:
                window_at += self._plan.window
                report(self._close_window(now - begin))
            if now >= break_at and not self._is_out:
                break_at = now + self._plan.break_every
                self._break()
            time.sleep(LOOK_SECONDS)

    def settle(self) -> None:
        """Wait until a break is over, send no more, and wait for what is on its way."""
        self._wait(lambda: not self._is_out, BACK_SECONDS_MAX)
        self._cable.hold()
        newest = self._connections[-1].last if self._connections else 0
        self._wait(lambda: self.delivery.last == newest, BACK_SECONDS_MAX)

    def _wait(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition() and self._pipeline.alive and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
            self._look()

    @property
    def _connections(self) -> list[Connection]:
        return self._cable.connections

    @property
    def _is_out(self) -> bool:
        return len(self.back_ns) < len(self.breaks)

    def _look(self) -> None:
        self._pipeline.look()
        rows = self._tape.new()
        self.delivery.take(rows["number"])
        self._late.append(rows["handled_ns"] - rows["received_ns"])
        if self._is_out and len(self._connections) > self.breaks[-1].connections:
            back = rows[rows["number"] >= self._connections[-1].first]
            if len(back):
                self.back_ns.append(int(back["handled_ns"][0]) - self.breaks[-1].at_ns)

    def _break(self) -> None:
        what = self._plan.breaks[len(self.breaks) % len(self._plan.breaks)]
        self.breaks.append(Break(what, time.monotonic_ns(), len(self._connections)))
        if what == "cut":
            self._cable.cut()
        else:
            self._pipeline.kill_feed()

    def _close_window(self, seconds: float) -> str:
        late, self._late = np.concatenate([np.zeros(0, np.int64), *self._late]), []
        p50, p99 = np.percentile(late, (50, 99)) if len(late) else (0.0, 0.0)
        self.latency.append((float(p50), float(p99)))
        for role, pid in self._pipeline.pids().items():
            lives = self.memory.setdefault(role, [])
            if not lives or lives[-1][0] != pid:
                lives.append((pid, []))
            if (memory := memory_of(pid)) is not None:
                lives[-1][1].append(memory)
        return self._line(seconds)

    def _line(self, seconds: float) -> str:
        due = sent_between(1, self.delivery.last, self._connections)  # not what is on its way
        memory = "  ".join(_memory_text(role, lives[-1][1]) for role, lives in self.memory.items())
        p50, p99 = self.latency[-1]
        clock = time.strftime("%H:%M:%S", time.gmtime(seconds))
        return (
            f"{clock}  sent {self._cable.sent:,}  delivered {self.delivery.count:,}  "
            f"ratio {self.delivery.count / max(1, due):.6f}  "
            f"outages {self._pipeline.outages}  restarts {self._pipeline.restarts}  "
            f"PSS {memory}  p50 {p50 / 1e3:,.0f} us  p99 {p99 / 1e3:,.0f} us"
        )

    def verdicts(self, code: int, results: dict[str, str]) -> list[Verdict]:
        longest = {
            role: [memory.own for memory in max(lives, key=lambda life: len(life[1]))[1]]
            for role, lives in self.memory.items()
        }
        return [
            judge_delivery(self.delivery, self._connections),
            self._judge_outages(),
            *(judge_memory(role, windows) for role, windows in longest.items()),
            judge_latency(self.latency),
            self._judge_end(code, results),
        ]

    def _judge_outages(self) -> Verdict:
        cuts, kills = (sum(done.what == what for done in self.breaks) for what in ("cut", "kill"))
        outages, restarts = self._pipeline.outages, self._pipeline.restarts
        text = (
            f"{len(self.back_ns)} of {len(self.breaks)} survived: {cuts} cuts, the feed counted "
            f"{outages} outages; {kills} kills, it was started again {restarts} times; longest "
            f"{max(self.back_ns, default=0) / 1e9:.2f} s"
        )
        ok = not self._is_out and (cuts, kills) == (outages, restarts)
        return Verdict("outages", ok, text)

    def _judge_end(self, code: int, results: dict[str, str]) -> Verdict:
        restarts = results["Feed Restarts"] if results else "no results"
        text = f"exit code {code}; results say {restarts} feed restarts"
        return Verdict("end", code == 0 and restarts == str(self._pipeline.restarts), text)


def _memory_text(role: str, windows: list[Memory]) -> str:
    if not windows:
        return f"{role} -"
    slope = slope_percent([memory.own for memory in windows])
    return f"{role} {windows[-1].pss / 1e6:.1f} MB ({slope:+.2f} %)"


def soak(plan: Plan, folder: Path, run_directory: Path, report: Report = print) -> list[Verdict]:
    """Run the plan; results, ledger and log go to ``folder``."""
    with _running(plan, folder, run_directory) as (play, pipeline):
        play.run(report)
        play.settle()
        if not pipeline.alive:
            report(f"THE PIPELINE ENDED BY ITSELF\n{pipeline.log}")
        code = pipeline.stop()
        verdicts = play.verdicts(code, pipeline.results())
    for verdict in verdicts:
        report(str(verdict))
    return verdicts


@contextlib.contextmanager
def _running(plan: Plan, folder: Path, run_directory: Path) -> Iterator[tuple[Soak, Pipeline]]:
    tape = TapeReader(folder / "tape")
    ticks, speed = recording(plan.rate, plan.seconds + START_SECONDS_MAX + 2 * BACK_SECONDS_MAX)
    with contextlib.ExitStack() as stack:
        simulator = stack.enter_context(contextlib.closing(Simulator(ticks, speed)))
        cable = stack.enter_context(contextlib.closing(Cable(simulator.port)))
        pipeline = Pipeline(folder, run_directory, cable.port, plan.mode, plan.parameters)
        stack.enter_context(contextlib.closing(pipeline))
        yield Soak(plan, cable, pipeline, tape), pipeline


# The command ---------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--hours", type=_positive, default=4.0, help="of each mode (4); 0.01 is a smoke run")
    add("--mode", choices=("poll", "callback", "both"), default="both", help="(both, in turn)")
    add("--rate", type=int, default=200, help="ticks/s on average (200)")
    add("--break-every", type=_positive, metavar="S", help="(300 s, a sixth of a short run)")
    add("--inject", nargs="+", choices=FAULTS, default=[], help="break it, to see that it is found")
    add("--folder", type=Path, help="keep results, ledger and log there")
    add("--json", type=Path, metavar="FILE", help="write the verdicts there too")


def _positive(text: str) -> float:
    if not (value := float(text)) > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def main(options: argparse.Namespace) -> None:
    """Soak as the options say; leave with code 1 where a verdict is a fault."""
    machine = describe_machine()
    print("  ".join(f"{name}: {value}" for name, value in machine.items()))
    seconds = options.hours * 3_600
    kept, faults = {}, []
    for mode in ("poll", "callback") if options.mode == "both" else (options.mode,):
        plan = Plan(
            mode=mode,
            seconds=seconds,
            rate=options.rate,
            break_every=options.break_every or min(300.0, seconds / 6),
            inject=tuple(options.inject),
        )
        print(f"{mode} mode, {seconds / 3_600:g} h, {plan.rate} ticks/s", flush=True)
        verdicts = _soak_somewhere(plan, options.folder)
        kept[mode] = [verdict._asdict() for verdict in verdicts]
        faults += [f"{mode}: {verdict}" for verdict in verdicts if verdict.ok is False]
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine, "verdicts": kept}, indent=1))
    if faults:
        sys.exit("\n".join(faults))


def _soak_somewhere(plan: Plan, folder: Path | None) -> list[Verdict]:
    place = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="tickpipe-soak-") as temporary,
        tempfile.TemporaryDirectory(prefix="tickpipe-soak-", dir=place) as shared,
    ):
        where = Path(temporary) if folder is None else folder / plan.mode
        where.mkdir(parents=True, exist_ok=True)
        return soak(plan, where, Path(shared) / "run", lambda line: print(line, flush=True))
