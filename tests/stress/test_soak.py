"""A soak of seconds, and faults put in on purpose: each must be found."""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from pipeline.channels.waiting import ORDERED_MACHINES
from tests.rig import Processes
from tests.stress.memory import memory_of
from tests.stress.soak import Plan, add_arguments, soak
from tests.stress.tape import TAPE_ROWS, TapeReader, TapeWriter
from tests.stress.verdicts import (
    Delivery,
    Verdict,
    account,
    judge_delivery,
    judge_latency,
    judge_memory,
)

pytestmark = [
    pytest.mark.stress,
    pytest.mark.skipif(
        platform.machine() not in ORDERED_MACHINES, reason="pure Python parks on x86-64 only"
    ),
]

BREAKS = ("cut", "kill")

# The whole pipeline --------------------------------------------------------------------------


def by_measure(verdicts: list[Verdict]) -> dict[str, Verdict]:
    return {verdict.measure: verdict for verdict in verdicts}


def test_a_soak_delivers_every_tick_over_cuts_and_kills(tmp_path: Path) -> None:
    lines: list[str] = []
    plan = Plan(mode="callback", seconds=5.0, rate=400, break_every=0.8, breaks=BREAKS)
    found = by_measure(soak(plan, tmp_path, tmp_path / "run", lines.append))
    log = (tmp_path / "log.txt").read_text()
    for measure in ("delivery", "outages", "end"):
        assert found[measure].ok, f"{found[measure]}\n{log}"
    for role in ("supervisor", "feed", "strategy", "risk"):
        assert found[f"memory of {role}"].ok is not False, found[f"memory of {role}"]
    assert "0 unexplained" in found["delivery"].text
    assert "connected again" in log
    assert "Starting another one" in log
    assert any("ratio" in line and "PSS supervisor" in line for line in lines)


def test_a_strategy_that_skips_ticks_and_leaks_is_found(tmp_path: Path) -> None:
    plan = Plan(
        mode="poll", seconds=4.0, rate=1_000, break_every=1.5,
        breaks=BREAKS, inject=("skip", "leak"),
    )  # fmt: skip
    found = by_measure(soak(plan, tmp_path, tmp_path / "run", lambda line: None))
    assert found["delivery"].ok is False
    assert found["memory of strategy"].ok is False, found["memory of strategy"]
    assert found["outages"].ok
    assert found["end"].ok


def test_a_pipeline_that_ends_by_itself_is_a_fault_and_its_words_are_shown(tmp_path: Path) -> None:
    lines: list[str] = []
    found = by_measure(soak(Plan(mode="no", seconds=1.0), tmp_path, tmp_path / "run", lines.append))
    assert found["delivery"].ok is False
    assert found["end"].ok is False
    assert "waiting.mode" in lines[0]


# Delivery ------------------------------------------------------------------------------------


class Over(NamedTuple):
    """The ticks that went over a connection."""

    first: int
    last: int

    @property
    def count(self) -> int:  # type: ignore[override]  # a tuple's own count is of values
        return self.last - self.first + 1


def delivered(*ranges: tuple[int, int]) -> Delivery:
    """Return a delivery of the numbers in ``ranges``, first and last, each in a batch."""
    delivery = Delivery()
    for first, last in ranges:
        delivery.take(np.arange(first, last + 1, dtype=np.uint64))
    return delivery


BEFORE, AFTER = Over(1, 100), Over(121, 200)


@pytest.mark.parametrize(
    ("ranges", "lost", "never_sent"),
    [
        ([(1, 100), (121, 200)], 0, 20),  # nobody listened
        ([(1, 93), (121, 200)], 7, 20),  # and seven were in the socket that broke
    ],
)
def test_what_is_lost_where_a_connection_broke_is_explained(
    ranges: list[tuple[int, int]], lost: int, never_sent: int
) -> None:
    found = account(delivered(*ranges), [BEFORE, AFTER])
    assert found == (180, 180 - lost, lost, never_sent, 0)
    assert judge_delivery(delivered(*ranges), [BEFORE, AFTER]).ok


@pytest.mark.parametrize(
    ("ranges", "unexplained"),
    [
        ([(1, 50), (52, 100), (121, 200)], 1),  # in the middle of a connection
        ([(1, 100), (122, 200)], 1),  # the first of a connection
        ([(2, 100), (121, 200)], 1),  # the very first
        ([(1, 100), (121, 199)], 1),  # the very last
        ([(1, 100)], 80),  # a connection that nothing came of
        ([(1, 93), (123, 200)], 9),  # more than the break explains
    ],
)
def test_what_is_lost_anywhere_else_is_a_fault(
    ranges: list[tuple[int, int]], unexplained: int
) -> None:
    assert account(delivered(*ranges), [BEFORE, AFTER]).unexplained == unexplained
    assert judge_delivery(delivered(*ranges), [BEFORE, AFTER]).ok is False


def test_a_connection_of_which_nothing_arrived_is_explained_by_the_next() -> None:
    connections = [Over(1, 100), Over(110, 115), Over(121, 200)]
    assert account(delivered((1, 100), (121, 200)), connections) == (186, 180, 6, 14, 0)


@pytest.mark.parametrize("ranges", [[(1, 100), (100, 200)], [(1, 100), (102, 200), (101, 101)]])
def test_a_tick_that_comes_twice_or_late_is_a_fault(ranges: list[tuple[int, int]]) -> None:
    assert judge_delivery(delivered(*ranges), [Over(1, 200)]).ok is False


def test_nothing_sent_is_nothing_proved() -> None:
    assert judge_delivery(Delivery(), []).ok is False


def test_a_tape_gives_every_row_once_and_fails_when_it_is_read_too_late(tmp_path: Path) -> None:
    reader = TapeReader(tmp_path / "tape")
    writer = TapeWriter(tmp_path / "tape")
    for number in range(1, TAPE_ROWS):
        writer.write(number, 2 * number, 3 * number)
    rows = reader.new()
    assert rows["number"].tolist() == list(range(1, TAPE_ROWS))
    assert rows[-1].item() == (TAPE_ROWS - 1, 2 * TAPE_ROWS - 2, 3 * TAPE_ROWS - 3)
    assert not len(reader.new())
    for number in range(TAPE_ROWS + 1):
        writer.write(number, 0, 0)
    with pytest.raises(AssertionError, match="too late"):
        reader.new()


# Memory and latency --------------------------------------------------------------------------

WINDOWS = range(40)
FLAT = [30e6 for _ in WINDOWS]


@pytest.mark.parametrize(
    "windows",
    [
        FLAT,
        [30e6 + 3e5 * (window % 3) for window in WINDOWS],  # up and down
        [30e6 + 2e6 * min(1, window / 8) for window in WINDOWS],  # what starting costs
        [30e6 + 1e6 * (window >= 25) for window in WINDOWS],  # one step
        [32e6 - 2e4 * window for window in WINDOWS],  # back to the system
    ],
)
def test_memory_that_does_not_keep_growing_is_no_leak(windows: list[float]) -> None:
    assert judge_memory("feed", windows).ok


@pytest.mark.parametrize("percent", [0.5, 1.0, 5.0])
def test_a_leak_of_a_percent_a_window_is_found_under_noise(percent: float) -> None:
    chance = np.random.default_rng(1)
    windows = [30e6 * (1 + percent / 100 * w + chance.uniform(0, 0.005)) for w in WINDOWS]
    assert judge_memory("feed", windows).ok is False


def test_few_windows_are_not_judged() -> None:
    assert judge_memory("feed", FLAT[:6]).ok is None
    assert judge_latency([(1e5, 1e6)] * 6).ok is None


@pytest.mark.parametrize(("part", "ok"), [(0.0, True), (0.01, False)])
def test_a_real_process_that_leaks_one_percent_a_window_is_found(
    processes: Processes, part: float, ok: bool
) -> None:
    ours, theirs = os.pipe(), os.pipe()

    def keep_more() -> None:
        kept, memory = bytearray(), memory_of()
        assert memory is not None
        while os.read(ours[0], 1) == b"+":
            kept += b"\1" * int(memory.own * part)
            os.write(theirs[1], b"+")

    child = processes.fork(keep_more)
    windows = []
    for _ in range(24):
        os.write(ours[1], b"+")
        assert os.read(theirs[0], 1) == b"+"
        memory = memory_of(child.pid)
        assert memory is not None
        assert memory.pss > memory.own > 0
        windows.append(memory.own)
    os.write(ours[1], b".")
    child.result()
    assert judge_memory("child", windows).ok is ok


def test_a_process_that_ended_has_no_memory(processes: Processes) -> None:
    child = processes.fork(lambda: None)
    child.result()
    assert memory_of(child.pid) is None


def test_a_latency_that_stays_or_is_of_the_scheduler_is_no_drift() -> None:
    assert judge_latency([(150_000 + 1_000 * (w % 7), 4e6) for w in WINDOWS]).ok
    assert judge_latency([(20_000 + 2_000 * w, 4e6) for w in WINDOWS]).ok  # below 0.2 ms more


def test_a_latency_that_grows_is_a_drift() -> None:
    assert judge_latency([(150_000 + 20_000 * w, 4e6) for w in WINDOWS]).ok is False


# The command ---------------------------------------------------------------------------------


def test_a_smoke_run_has_windows_enough_to_be_judged() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = parser.parse_args(["--hours", "0.01", "--inject", "skip", "leak"])
    plan = Plan(mode="poll", seconds=options.hours * 3_600, inject=tuple(options.inject))
    assert plan.window == pytest.approx(2.25)
    assert plan.parameters["skip_every"] == 1_000
    assert plan.parameters["leak_part"] == pytest.approx(0.01 / 2.25)
    assert plan.parameters["drift_ns"] == 0
