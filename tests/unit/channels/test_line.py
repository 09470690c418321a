"""The three roles as real processes on one run directory.

In callback mode they park for an hour: a wake-up that is missing hangs the test and is not hidden
by the end of a slice.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.channels import Implementation, choose
from pipeline.channels.feed_line import FeedLine
from pipeline.channels.layout import PARKED_OFFSET
from pipeline.channels.line import READER_NAMES, Line, declare_gone
from pipeline.channels.locks import lock_is_held
from pipeline.channels.readers import FILE_NAME, Readers
from pipeline.channels.recorder_line import RecorderLine
from pipeline.channels.ring import RingReader
from pipeline.channels.risk_line import RiskLine
from pipeline.channels.rundir import lock_path, own_run
from pipeline.channels.strategy_line import StrategyLine
from pipeline.channels.watch import Watch
from pipeline.errors import AlreadyRunning, ChannelError, ReaderLapped
from pipeline.records import SIGNAL, TICK, ProcessState, positions_dtype
from pipeline.settings import Mode, Settings
from tests.rig import Processes, assert_intact, bell_word, ticks, until

LOCKSTEP = "channels.lockstep=true"
LIMIT = 64
HOUR_NS = 3_600 * 10**9
POLL = "waiting.mode='poll'"
Make = Callable[..., Settings]

pytestmark = pytest.mark.usefixtures("endless_parks")


@pytest.fixture
def run(run_settings: Make) -> Iterator[Readers]:
    """Own the run directory as the supervisor does."""
    with own_run(run_settings().run_directory, READER_NAMES, print) as readers:
        yield readers


def feed(settings: Settings, count: int, beating: bool = False) -> Callable[[], int]:
    """Publish ``count`` ticks, in lockstep where the settings say so."""

    def be_feed() -> int:
        with FeedLine(settings) as line:
            line.wait_for_readers()
            for seq in range(1, count + 1):
                line.ticks.publish(ticks(seq, 1))
                if settings.channels.lockstep:
                    until(lambda: (beating and line.beat(ProcessState.RUNNING)) or line.done)
            return line.ticks.published

    return be_feed


def idle_of(settings: Settings, line: RiskLine) -> Callable[[], object]:
    if settings.waiting.mode is not Mode.CALLBACK:
        return line.idle
    table = choose(settings.channels.implementation).Readers.attach(settings.run_directory)
    bell = table.bell("risk")
    return lambda: bell.park(lambda: line.ready, HOUR_NS)


def signals_for(seq: int, count: int) -> NDArray[np.void]:
    rows = np.zeros(count, SIGNAL)
    rows["tick_seq"] = seq
    return rows


def strategy(settings: Settings, *, last: int = 1 << 60, kill: bool = False) -> Callable[[], int]:
    """Answer tick n with n % 3 signals; leave or be killed when tick ``last`` + 1 is there."""

    def be_strategy() -> int:
        with StrategyLine(settings) as line:
            while not line.ticks.ended:
                rows = line.read(LIMIT)
                assert_intact(rows)
                for row in rows["seq"].tolist():
                    if row > last:
                        if kill:
                            os.kill(os.getpid(), signal.SIGKILL)
                        return line.ticks.cursor
                    line.signals.put(signals_for(row, row % 3))
                if len(rows):
                    line.commit()
            return line.ticks.cursor

    return be_strategy


def risk(
    settings: Settings, each: Callable[[RiskLine, list[int], list[int]], None] | None = None
) -> Callable[[], dict[str, list[int]]]:
    """Collect the seqs of the ticks, and the ticks that caused the signals, until all ended."""

    def be_risk() -> dict[str, list[int]]:
        seen: dict[str, list[int]] = {"ticks": [], "signals": []}
        with RiskLine(settings) as line:
            idle = idle_of(settings, line)
            while not line.ended:
                rows = line.read(LIMIT)
                assert_intact(rows)
                signals = line.signals.take()["tick_seq"].tolist()
                seen["ticks"] += rows["seq"].tolist()
                seen["signals"] += signals
                if each is not None:
                    each(line, rows["seq"].tolist(), seen["signals"])
                if len(rows):
                    line.commit()
                elif not signals:
                    idle()
        return seen

    return be_risk


def failing(run: Callable[[], None]) -> Callable[[], None]:
    def fail() -> None:
        with pytest.raises(RuntimeError, match="on purpose"):
            run()

    return fail


def answers(count: int) -> list[int]:
    return [seq for seq in range(1, count + 1) for _ in range(seq % 3)]


@pytest.mark.parametrize("mode", ["poll", "callback", "adaptive"])
def test_in_lockstep_risk_reads_a_tick_only_when_the_strategy_is_done_with_it(
    run_settings: Make, run: Readers, processes: Processes, mode: str
) -> None:
    settings = run_settings(LOCKSTEP, f"waiting.mode='{mode}'")
    committed = Readers.attach(settings.run_directory).slot("strategy")

    def check(line: RiskLine, seqs: list[int], signals: list[int]) -> None:
        if seqs:
            assert seqs == [committed.cursor], "one tick at a time, and the strategy is done"
            assert signals == answers(seqs[-1]), "with its signals"

    others = [processes.fork(feed(settings, 150)), processes.fork(strategy(settings))]
    seen = processes.fork(risk(settings, check)).result()
    assert seen == {"ticks": list(range(1, 151)), "signals": answers(150)}
    assert [child.result() for child in others] == [150, 150]


@pytest.mark.parametrize("mode", ["poll", "callback", "adaptive"])
def test_without_lockstep_everybody_gets_everything(
    run_settings: Make, run: Readers, processes: Processes, mode: str
) -> None:
    settings = run_settings(f"waiting.mode='{mode}'")
    others = [processes.fork(strategy(settings)), processes.fork(feed(settings, 300))]
    seen = processes.fork(risk(settings)).result()
    assert seen == {"ticks": list(range(1, 301)), "signals": answers(300)}
    assert [child.result() for child in others] == [300, 300]


@pytest.mark.parametrize("options", [[], [LOCKSTEP]], ids=["free", "lockstep"])
def test_risk_goes_on_when_the_strategy_has_left(
    run_settings: Make, run: Readers, processes: Processes, options: list[str]
) -> None:
    settings = run_settings(*options)
    others = [
        processes.fork(strategy(settings, last=10)),
        processes.fork(feed(settings, 40)),
    ]
    seen = processes.fork(risk(settings)).result()
    assert seen == {"ticks": list(range(1, 41)), "signals": answers(10)}
    assert others[1].result() == 40
    assert others[0].result() >= 11


@pytest.mark.parametrize("options", [[], [LOCKSTEP]], ids=["free", "lockstep"])
def test_risk_goes_on_when_the_strategy_was_killed_and_declared_gone(
    run_settings: Make, run: Readers, processes: Processes, options: list[str]
) -> None:
    settings = run_settings(POLL, *options)
    published = processes.fork(feed(settings, 40))
    seen = processes.fork(risk(settings))
    processes.fork(strategy(settings, last=10, kill=True)).wait_for_death()
    declare_gone(run, "strategy")
    assert seen.result() == {"ticks": list(range(1, 41)), "signals": answers(10)}
    assert published.result() == 40


def test_in_lockstep_risk_waits_while_nobody_has_declared_a_dead_strategy_gone(
    run_settings: Make, run: Readers, processes: Processes
) -> None:
    settings = run_settings(POLL, LOCKSTEP)
    processes.fork(feed(settings, 40))
    handled = processes.fork(risk(settings))
    processes.fork(strategy(settings, last=10, kill=True)).wait_for_death()
    slot = run.slot("risk")
    until(lambda: slot.cursor == 10)
    assert lock_is_held(lock_path(settings.run_directory, "risk"))
    declare_gone(run, "strategy")
    assert handled.result()["ticks"] == list(range(1, 41))


def test_the_feed_goes_on_when_risk_was_killed_and_declared_gone(
    run_settings: Make, run: Readers, processes: Processes
) -> None:
    def die(line: RiskLine, seqs: list[int], signals: list[int]) -> None:
        if 5 in seqs:
            os.kill(os.getpid(), signal.SIGKILL)

    settings = run_settings(POLL, LOCKSTEP)
    published = processes.fork(feed(settings, 40))
    handled = processes.fork(strategy(settings))
    processes.fork(risk(settings, die)).wait_for_death()
    declare_gone(run, "risk")
    assert published.result() == 40
    assert handled.result() == 40


def test_risk_has_not_ended_before_the_last_signal_of_the_strategy(
    run_settings: Make, run: Readers, processes: Processes
) -> None:
    settings = run_settings()

    def put_one_more_when_risk_has_seen_the_end() -> None:
        with StrategyLine(settings) as line:
            until(lambda: line.ticks.published == 5 and line.ticks.ready)
            line.ticks.read(LIMIT)
            until(lambda: line.ticks.ended)
            until(lambda: line.positions.latest() is not None)
            line.signals.put(signals_for(5, 1))

    def show_the_end(line: RiskLine, seqs: list[int], signals: list[int]) -> None:
        if line.ticks.ended and not signals:
            if not line.ready:  # with nothing to come from the ring, risk may sleep
                line.positions.publish(np.zeros(1, positions_dtype(1)))
            assert not line.ended

    children = [
        processes.fork(put_one_more_when_risk_has_seen_the_end),
        processes.fork(feed(settings, 5)),
    ]
    seen = processes.fork(risk(settings, show_the_end)).result()
    assert seen == {"ticks": [1, 2, 3, 4, 5], "signals": [5]}
    for child in children:
        child.result()


def leave_in_turn(settings: Settings, processes: Processes, last: str) -> list[Any]:
    """Let feed and strategy leave one after the other, ``last`` when risk is parked again."""
    table, index = settings.run_directory / FILE_NAME, READER_NAMES.index("risk")

    def has_left(role: str) -> bool:
        """True when ``role`` has rung for the last time and risk has parked again after that."""
        gone = not lock_is_held(lock_path(settings.run_directory, role))
        return gone and is_parked(table, index) and bell_word(table, index) == 0

    def be_feed() -> int:
        with FeedLine(settings) as line:
            line.wait_for_readers()
            line.ticks.publish(ticks(1, 1))
            until(lambda: line.done)
            until(lambda: last == "strategy" or has_left("strategy"))
        return 1

    def be_strategy() -> int:
        with StrategyLine(settings) as line:
            until(lambda: line.ticks.ready)
            line.ticks.read(LIMIT)
            line.commit()
            until(lambda: last == "feed" or has_left("feed"))
        return 1

    children = [processes.fork(be) for be in (be_feed, be_strategy, risk(settings))]
    return [child.result() for child in children]


def is_parked(table: Path, index: int) -> bool:
    return table.read_bytes()[PARKED_OFFSET + index] == 1


@pytest.mark.parametrize("options", [[], [LOCKSTEP]], ids=["free", "lockstep"])
@pytest.mark.parametrize("last", ["feed", "strategy"])
def test_whoever_leaves_last_wakes_risk(
    run_settings: Make, run: Readers, processes: Processes, options: list[str], last: str
) -> None:
    settings = run_settings("waiting.mode='callback'", *options)
    seen = leave_in_turn(settings, processes, last)
    assert seen == [1, 1, {"ticks": [1], "signals": []}]


def test_the_feed_waits_for_both_readers(
    run_settings: Make, run: Readers, processes: Processes
) -> None:
    settings = run_settings()
    published = processes.fork(feed(settings, 3))
    handled = processes.fork(strategy(settings))
    ring = settings.run_directory / "ticks.ring"
    until(ring.exists)
    reader = RingReader(ring, TICK, run.slot("risk"))
    assert (reader.published, run.slot("risk").pid) == (0, 0)
    assert processes.fork(risk(settings)).result()["ticks"] == [1, 2, 3]
    assert (published.result(), handled.result()) == (3, 3)
    reader.close()


def test_the_feed_does_not_take_the_readers_of_a_run_before_for_its_own(
    run_settings: Make, processes: Processes
) -> None:
    settings = run_settings()

    def attach_and_die() -> None:
        for name in READER_NAMES:
            readers.slot(name).take()
        os.kill(os.getpid(), signal.SIGKILL)

    with own_run(settings.run_directory, READER_NAMES, print) as readers:
        processes.fork(attach_and_die).wait_for_death()
        published = processes.fork(feed(settings, 3))
        handled = processes.fork(strategy(settings))
        seen = processes.fork(risk(settings)).result()
        assert seen["ticks"] == [1, 2, 3]
        assert (published.result(), handled.result()) == (3, 3)


def test_the_watch_sees_every_role_start_run_and_stop(
    run_settings: Make, run: Readers, processes: Processes
) -> None:
    settings = run_settings()
    watch = Watch(settings.run_directory)
    assert watch.latest() == {}

    def fail() -> None:
        with StrategyLine(settings) as line:
            line.beat(ProcessState.RUNNING, ticks=7, lost=2)
            line.beat(ProcessState.RUNNING, ticks=8)
            until(lambda: run.slot("risk").pid != 0)
            raise RuntimeError("on purpose")

    def state_of(role: str) -> int:
        rows = watch.latest()
        return int(rows[role]["state"][0]) if role in rows else -1

    children = {"feed": processes.fork(feed(settings, 1))}
    until(lambda: state_of("feed") == ProcessState.STARTING)
    children["strategy"] = processes.fork(failing(fail))
    until(lambda: state_of("strategy") == ProcessState.STARTING)
    children["risk"] = processes.fork(risk(settings))
    for child in children.values():
        child.result()
    rows = watch.latest()
    assert {role: int(row["state"][0]) for role, row in rows.items()} == {
        "feed": ProcessState.STOPPED,
        "strategy": ProcessState.FAILED,
        "risk": ProcessState.STOPPED,
    }
    assert {role: int(row["pid"][0]) for role, row in rows.items()} == {
        role: child.pid for role, child in children.items()
    }
    assert (int(rows["strategy"]["ticks"][0]), int(rows["strategy"]["lost"][0])) == (8, 2)
    watch.close()


def test_readers_see_that_the_feed_ended_by_an_error(
    run_settings: Make, run: Readers, processes: Processes
) -> None:
    settings = run_settings()

    def fail() -> None:
        with FeedLine(settings) as line:
            line.wait_for_readers()
            raise RuntimeError("on purpose")

    def see() -> bool:
        with RiskLine(settings) as line:
            until(lambda: line.ended)
            return line.ticks.abandoned

    children = [processes.fork(child) for child in (failing(fail), strategy(settings), see)]
    assert [child.result() for child in children] == [None, 0, True]


def test_a_second_process_of_a_role_is_refused(run_settings: Make, run: Readers) -> None:
    settings = run_settings()
    first = FeedLine(settings)
    with pytest.raises(AlreadyRunning, match=rf"feed.lock is held by process {os.getpid()}\n"):
        FeedLine(settings)
    first.close()


def test_processes_without_a_supervisor_remove_the_directory_when_the_last_one_leaves(
    run_settings: Make, processes: Processes
) -> None:
    settings = run_settings()
    children = [
        processes.fork(feed(settings, 20)),
        processes.fork(strategy(settings)),
        processes.fork(risk(settings)),
    ]
    assert children[0].result() == 20
    assert children[1].result() == 20
    assert children[2].result()["ticks"] == list(range(1, 21))
    assert not settings.run_directory.parent.exists()


def attached_recorder(settings: Settings) -> Line:
    with RecorderLine(settings) as line:
        line.attach({})
    return line


@pytest.mark.parametrize("line", [StrategyLine, RiskLine, attached_recorder])
def test_a_process_that_waited_in_vain_leaves_nothing_behind(
    run_settings: Make,
    processes: Processes,
    monkeypatch: pytest.MonkeyPatch,
    line: Callable[[Settings], Line],
) -> None:
    settings = run_settings()

    def wait_in_vain() -> str:
        monkeypatch.setattr("pipeline.channels.rundir.ATTACH_SECONDS_MAX", 0.1)
        with pytest.raises(ChannelError) as caught:
            line(settings)
        return str(caught.value)

    assert "to create" in str(processes.fork(wait_in_vain).result())
    assert not settings.run_directory.exists()


@pytest.mark.parametrize(("policy", "lost"), [("oldest", 36), ("latest", 99)])
def test_risk_sees_what_the_strategy_lost_by_its_policy(
    run_settings: Make, run: Readers, processes: Processes, policy: str, lost: int
) -> None:
    settings = run_settings(
        "channels.ring_capacity=64",
        f"strategy.when_lapped='{policy}'",
        "risk.when_lapped='oldest'",
    )

    def sleep_through_the_morning() -> int:
        with StrategyLine(settings) as line:
            until(lambda: line.ticks.published == 100)
            line.ticks.read(LIMIT)
            line.commit()
            return line.ticks.lost

    def see() -> list[int]:
        with RiskLine(settings) as line:
            until(lambda: line.ended or line.strategy_lost > 0)
            return [line.strategy_lapped, line.strategy_lost]

    children = [
        processes.fork(feed(settings, 100)),
        processes.fork(sleep_through_the_morning),
        processes.fork(see),
    ]
    assert [child.result() for child in children] == [100, lost, [1, lost]]


@pytest.mark.parametrize(
    ("options", "bare", "expected"),
    [
        (["waiting.mode='poll'"], True, ("Poll", "NativePoll")),
        (["waiting.mode='poll'"], False, ("PollYielding", "NativePoll")),
        (["waiting.mode='callback'"], True, ("Callback", "Callback")),
        (["waiting.mode='adaptive'"], True, ("Adaptive", "NativeAdaptive")),
    ],
)
def test_each_mode_has_its_way_to_wait(
    channels: Implementation,
    run_settings: Make,
    run: Readers,
    processes: Processes,
    options: list[str],
    bare: bool,
    expected: tuple[str, str],
) -> None:
    settings = run_settings(*options)

    def kind_of(line_type: type[StrategyLine | RiskLine]) -> Callable[[], str]:
        def name() -> str:
            with line_type(settings, bare) as line:
                until(lambda: line.ticks.ready)
                return type(line.waiting).__name__

        return name

    children = [processes.fork(kind_of(line)) for line in (StrategyLine, RiskLine)]
    processes.fork(feed(settings, 1)).result()
    assert [child.result() for child in children] == [expected[channels.name == "native"]] * 2


def test_risk_raises_where_it_was_overtaken_unless_told_otherwise(
    run_settings: Make, run: Readers, processes: Processes
) -> None:
    settings = run_settings("channels.ring_capacity=64")

    def sleep() -> int:
        with RiskLine(settings) as line:
            until(lambda: line.ticks.published == 100)
            with pytest.raises(ReaderLapped, match=r"risk was overtaken .* lost 36 ticks"):
                line.read(LIMIT)
            return line.ticks.lost

    processes.fork(strategy(settings))
    sleeper = processes.fork(sleep)
    processes.fork(feed(settings, 100))
    assert sleeper.result() == 36


# Another feed takes over ----------------------------------------------------------------------


def feed_that_dies(settings: Settings, count: int) -> Callable[[], int]:
    def be_feed() -> int:
        with FeedLine(settings) as line:
            line.wait_for_readers()
            line.ticks.publish(ticks(1, count))
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    return be_feed


def feed_that_goes_on(settings: Settings, count: int) -> Callable[[], int]:
    def be_feed() -> int:
        with FeedLine(settings) as line:
            line.wait_for_readers()
            line.ticks.publish(ticks(line.ticks.published + 1, count))
            return line.ticks.published

    return be_feed


@pytest.mark.parametrize("mode", ["poll", "callback", "adaptive"])
def test_readers_follow_to_the_ring_of_the_next_feed_and_lose_nothing(
    channels: Implementation, run_settings: Make, run: Readers, processes: Processes, mode: str
) -> None:
    settings = run_settings(f"waiting.mode='{mode}'", f"channels.implementation='{channels.name}'")

    def follows(line_type: type[StrategyLine | RiskLine]) -> Callable[[], list[int]]:
        def be_reader() -> list[int]:
            seqs: list[int] = []
            with line_type(settings) as line:
                while not line.ticks.ended:
                    rows = line.ticks.read(LIMIT)
                    assert_intact(rows)
                    seqs += rows["seq"].tolist()
                    if not len(rows) and line.follow() is None:
                        line.idle()
                return [line.ticks.lost, line.ticks.epoch, *seqs]

        return be_reader

    readers = [processes.fork(follows(line)) for line in (StrategyLine, RiskLine)]
    processes.fork(feed_that_dies(settings, 30)).wait_for_death()
    assert processes.fork(feed_that_goes_on(settings, 10)).result() == 40
    assert [reader.result() for reader in readers] == [[0, 2, *range(1, 41)]] * 2


def test_a_dead_reader_is_declared_gone_by_whoever_beats_next(
    run_settings: Make, run: Readers, processes: Processes
) -> None:
    settings = run_settings(POLL, LOCKSTEP)
    published = processes.fork(feed(settings, 40, beating=True))
    handled = processes.fork(risk(settings))
    processes.fork(strategy(settings, last=10, kill=True)).wait_for_death()
    assert handled.result()["ticks"] == list(range(1, 41))
    assert published.result() == 40
    assert run.slot("strategy").gone
