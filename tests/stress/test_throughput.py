"""The throughput stress in small, and faults put in on purpose: each must be found."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.channels.waiting import ORDERED_MACHINES
from pipeline.records import WhenLapped
from tests.stress.knee import climb, faults_of, limit_of, run_slow
from tests.stress.load import Load, Outcome, Read, Seat, Written, run_load, seats
from tests.stress.throughput import add_arguments, main

pytestmark = [
    pytest.mark.stress,
    pytest.mark.skipif(
        platform.machine() not in ORDERED_MACHINES, reason="pure Python parks on x86-64 only"
    ),
]

QUICK = Load(rate=20_000, seconds=0.2)
SLOW = Load(rate=20_000, seconds=0.3, tick_us=500.0, capacity=256)

Fresh = Callable[[Load], Outcome]


@pytest.fixture
def run(tmp_path: Path) -> Fresh:
    """Return a way to put a load on a ring in a directory of its own."""
    numbers = iter(range(1_000))

    def run_one(load: Load) -> Outcome:
        directory = tmp_path / str(next(numbers))
        directory.mkdir(mode=0o700)
        return run_load(load, directory)

    return run_one


# Real processes ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["poll", "callback"])
@pytest.mark.parametrize("strategy", ["tick", "batch"])
def test_three_readers_of_three_thousand_instruments_account_for_every_tick(
    run: Fresh, mode: str, strategy: str
) -> None:
    outcome = run(
        Load(
            rate=20_000, seconds=0.2, readers=3, instruments=3_000, mode=mode, strategy=strategy
        )
    )  # fmt: skip
    assert faults_of(outcome) == []
    assert outcome.written.published == 4_000
    assert [read.name for read in outcome.reads] == ["strategy", "second", "third"]


@pytest.mark.parametrize("policy", [WhenLapped.LATEST, WhenLapped.OLDEST])
@pytest.mark.parametrize("strategy", ["tick", "batch"])
def test_a_slow_strategy_knows_its_laps_exactly_and_the_feed_never_waits(
    run: Fresh, strategy: str, policy: WhenLapped
) -> None:
    load = Load(
        rate=20_000, seconds=0.3, tick_us=500.0, capacity=256,
        strategy=strategy, when_lapped=policy,
    )  # fmt: skip
    found = run_slow(load, run)
    assert found.faults == []
    read = found.slow.reads[0]
    assert read.laps == read.told_laps == read.slot_laps > 0
    assert read.received + read.lost == found.slow.written.published == 6_000


@pytest.mark.parametrize("strategy", ["tick", "batch"])
def test_a_reader_that_skips_a_tick_now_and_then_is_found(run: Fresh, strategy: str) -> None:
    outcome = run(Load(rate=20_000, seconds=0.2, strategy=strategy, skip_every=1_000))
    missing, holes = faults_of(outcome)
    assert "are missing" in missing
    assert "holes in the seqs that no gap explains" in holes


def test_a_reader_that_skips_a_tick_is_found_among_laps_too(run: Fresh) -> None:
    outcome = run(
        Load(rate=20_000, seconds=0.3, tick_us=500.0, capacity=256, skip_every=100)
    )  # fmt: skip
    assert outcome.lost > 0
    assert any("are missing" in fault for fault in faults_of(outcome))


def test_a_feed_that_waits_for_its_reader_is_found(run: Fresh) -> None:
    (fault,) = faults_of(
        run(Load(rate=20_000, seconds=0.3, tick_us=500.0, feed_waits=True))
    )  # fmt: skip
    assert fault.startswith("the writer gave up its CPU")


# Judging, without processes ------------------------------------------------------------------


def outcome_of(load: Load, *, lost: int = 0, lag: int = 0, kept: float = 1.0) -> Outcome:
    """Return what a sound step may come to."""
    laps, received = int(lost > 0), load.total - lost
    read = Read("strategy", received, lost, laps, lost, laps, lost, laps, 0, 0, 1, 1, 1)
    written = Written(load.total, load.seconds / kept, load.total, 1_000, 50_000, 0, 0)
    return Outcome(load, written, (read,), lag, lag)


def test_a_sound_step_has_no_fault_and_no_limit() -> None:
    outcome = outcome_of(QUICK)
    assert faults_of(outcome) == []
    assert limit_of(outcome, lag_max=0) == ""


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"received": 3_999}, "received 3,999 and lost 0 of 4,000: 1 are missing"),
        ({"received": 4_001}, "received 4,001 and lost 0 of 4,000: -1 are missing"),
        ({"holes": 1}, "1 holes in the seqs"),
        ({"told_laps": 1}, "was told of 0 lost in 1 laps, its reader counted 0 in 0"),
        ({"slot_lost": 1}, "its slot says 1 lost in 0 laps, its reader counted 0 in 0"),
        ({"failures": 1}, "the strategy failed 1 times"),
    ],
)
def test_each_count_that_is_wrong_is_a_fault(changes: dict[str, Any], what: str) -> None:
    outcome = outcome_of(QUICK)
    wrong = outcome._replace(reads=(outcome.reads[0]._replace(**changes),))
    (fault,) = faults_of(wrong)
    assert fault.startswith(f"strategy: {what}")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"blocked": 41}, "the writer gave up its CPU 41 times in 4,000 calls"),
        ({"publish_p90_ns": 2_500_000}, "one publish in ten took longer than 2.5 ms"),
    ],
)
def test_a_writer_that_waited_is_a_fault(changes: dict[str, Any], what: str) -> None:
    outcome = outcome_of(QUICK)
    assert faults_of(outcome._replace(written=outcome.written._replace(**changes))) == [what]


def test_a_slow_strategy_that_was_never_overtaken_shows_nothing() -> None:
    found = run_slow(SLOW, outcome_of)
    assert found.faults == ["the slow strategy was never overtaken"]


@pytest.mark.parametrize(
    ("breaks", "ended_by"),
    [({"lost": 1}, "loss"), ({"lag": 5_000}, "lag"), ({"kept": 0.9}, "writer")],
)
def test_a_climb_finds_the_knee_and_says_what_it_is_of(
    breaks: dict[str, float], ended_by: str
) -> None:
    def run(load: Load) -> Outcome:
        return outcome_of(load, **(breaks if load.rate > 700_000 else {}))  # type: ignore[arg-type]

    found = climb(Load(rate=25_000, seconds=1.0), run, lag_max=4_096, rate_max=10**8)
    assert (found.knee, found.failed_at, found.ended_by) == (700_000, 750_000, ended_by)


def test_a_climb_that_fails_at_once_has_its_knee_below() -> None:
    found = climb(
        Load(rate=25_000, seconds=1.0),
        lambda load: outcome_of(load, lost=int(load.rate > 10_000)),
        lag_max=4_096,
        rate_max=10**8,
    )
    assert (found.knee, found.failed_at) == (9_375, 12_500)


def test_a_climb_without_a_limit_ends_at_the_highest_rate() -> None:
    found = climb(Load(rate=25_000, seconds=1.0), outcome_of, lag_max=1, rate_max=100_000)
    assert (found.knee, found.failed_at, found.ended_by) == (100_000, 0, "none")


def test_one_pause_of_the_machine_is_no_knee() -> None:
    pauses = iter([{"lag": 10_000}])

    def run(load: Load) -> Outcome:
        return outcome_of(load, **next(pauses, {}))

    found = climb(Load(rate=25_000, seconds=1.0), run, lag_max=4_096, rate_max=50_000)
    assert (found.knee, found.ended_by, len(found.steps)) == (50_000, "none", 3)


@pytest.mark.parametrize(
    ("cpus", "readers", "expected"),
    [
        ([4], 1, [Seat(4, False), Seat(4, False)]),
        ([0, 1], 1, [Seat(0, True), Seat(1, True)]),
        ([0, 1], 3, [Seat(0, False), Seat(1, True), Seat(0, False), Seat(0, False)]),
        ([0, 1, 2], 3, [Seat(0, True), Seat(2, True), Seat(1, False), Seat(1, False)]),
        ([0, 1, 2, 3], 3, [Seat(0, True), Seat(3, True), Seat(1, True), Seat(2, True)]),
    ],
)
def test_the_strategy_has_a_cpu_of_its_own_where_there_are_two(
    cpus: list[int], readers: int, expected: list[Seat]
) -> None:
    assert seats(cpus, readers) == expected


# The command ---------------------------------------------------------------------------------

SMALL = (
    "--readers 1 --instruments 2 --mode callback --strategy tick --seconds 0.1 "
    "--rate-min 5000 --rate-max 5000 --slow-us 1000 --slow-rate 20000"
)


def options_of(text: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(text.split())


def sound(load: Load) -> Outcome:
    return outcome_of(load, lost=int(load.tick_us > 0))


def test_the_command_prints_a_table_and_keeps_the_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out.json"
    main(options_of(f"{SMALL} --json {file}"), sound)
    printed = capsys.readouterr().out
    assert "no fault" in printed
    assert "reader, slot and strategy agree" in printed
    kept = json.loads(file.read_text())
    assert kept["machine"]["commit"]
    assert [found["knee"] for found in kept["climbs"]] == [5_000]
    assert [step["load"]["rate"] for step in kept["climbs"][0]["steps"]] == [5_000]
    assert len(kept["slow"]) == 2
    assert kept["faults"] == []


def test_the_command_reports_an_injected_fault_and_fails() -> None:
    with pytest.raises(SystemExit, match="are missing"):
        main(options_of(f"{SMALL} --slow-rate 5000 --slow-us 0 --seconds 0.25 --inject skip"))
