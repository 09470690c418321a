"""A user's program reads the ring beside strategy and risk, or in their place."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.channels.adapter_line import AdapterLine
from pipeline.channels.feed_line import FeedLine
from pipeline.channels.line import ADAPTER, READER_NAMES, declare_gone
from pipeline.channels.risk_line import RiskLine
from pipeline.channels.rundir import own_run
from pipeline.errors import ChannelError
from pipeline.records import positions_dtype
from pipeline.settings import Settings
from tests.rig import Processes, assert_intact, ticks, until
from tests.unit.channels.test_line import feed, risk, strategy

Make = Callable[..., Settings]
LOCKSTEP = "channels.lockstep=true"
NAMES = (*READER_NAMES, ADAPTER)


def adapter(settings: Settings) -> Callable[[], list[int]]:
    """Collect the seqs of all ticks; between two it sleeps until it is rung."""

    def be_adapter() -> list[int]:
        seen: list[int] = []
        with AdapterLine(settings) as line:
            while not line.ticks.ended:
                rows = line.read(1)
                assert_intact(rows)
                seen += rows["seq"].tolist()
                if len(rows):
                    line.ticks.commit()
                else:
                    line.wait(3_600)
        return seen

    return be_adapter


@pytest.mark.parametrize("options", [[], [LOCKSTEP]], ids=["free", "lockstep"])
def test_beside_strategy_and_risk_it_gets_every_tick(
    run_settings: Make, processes: Processes, options: list[str]
) -> None:
    settings = run_settings(*options)
    with own_run(settings.run_directory, NAMES, print):
        seen = processes.fork(adapter(settings))
        others = [processes.fork(run(settings)) for run in (strategy, risk)]
        assert processes.fork(feed(settings, 100)).result() == 100
        assert seen.result() == list(range(1, 101))
        assert others[1].result()["ticks"] == list(range(1, 101))


@pytest.mark.parametrize("options", [[], [LOCKSTEP]], ids=["free", "lockstep"])
def test_in_their_place_it_gets_every_tick(
    run_settings: Make, processes: Processes, options: list[str]
) -> None:
    settings = run_settings(*options)
    with own_run(settings.run_directory, NAMES, print) as readers:
        for name in READER_NAMES:
            declare_gone(readers, name)
        seen = processes.fork(adapter(settings))
        assert processes.fork(feed(settings, 100)).result() == 100
        assert seen.result() == list(range(1, 101))


def test_in_their_place_lockstep_waits_for_it(run_settings: Make, processes: Processes) -> None:
    settings = run_settings(LOCKSTEP)

    def publish_one_and_look() -> list[bool]:
        with FeedLine(settings) as line:
            line.wait_for_readers()
            line.ticks.publish(ticks(1, 1))
            undone = line.done
            looked.touch()
            until(lambda: line.done)
            return [undone, line.done]

    def read_when_the_feed_has_looked() -> None:
        with AdapterLine(settings) as line:
            until(looked.exists)
            line.ticks.read(1)
            line.ticks.commit()
            until(lambda: line.ticks.ended)

    with own_run(settings.run_directory, NAMES, print) as readers:
        looked = settings.run_directory.parent / "looked"
        for name in READER_NAMES:
            declare_gone(readers, name)
        reader = processes.fork(read_when_the_feed_has_looked)
        assert processes.fork(publish_one_and_look).result() == [False, True]
        reader.result()


def test_beside_risk_lockstep_does_not_wait_for_it(
    run_settings: Make, processes: Processes
) -> None:
    settings = run_settings(LOCKSTEP)

    def read_nothing() -> int:
        with AdapterLine(settings) as line:
            until(lambda: line.ticks.ready and line.ticks.published == 20)
            return line.ticks.cursor

    with own_run(settings.run_directory, NAMES, print):
        idle = processes.fork(read_nothing)
        others = [processes.fork(run(settings)) for run in (strategy, risk)]
        assert processes.fork(feed(settings, 20)).result() == 20
        assert idle.result() == 0
        assert others[1].result()["ticks"] == list(range(1, 21))


def test_it_goes_on_in_the_ring_of_the_next_feed(run_settings: Make, processes: Processes) -> None:
    settings = run_settings()

    def publish(first: int, count: int, *, die: bool) -> None:
        with FeedLine(settings) as line:
            line.wait_for_readers()
            line.ticks.publish(ticks(first, count))
            if die:
                os.kill(os.getpid(), signal.SIGKILL)

    with own_run(settings.run_directory, NAMES, print) as readers:
        for name in READER_NAMES:
            declare_gone(readers, name)
        seen = processes.fork(adapter(settings))
        processes.fork(lambda: publish(1, 10, die=True)).wait_for_death()
        processes.fork(lambda: publish(11, 5, die=False)).result()
        assert seen.result() == list(range(1, 16))


def test_risk_hears_each_request_to_close_once(run_settings: Make, processes: Processes) -> None:
    settings = run_settings()

    def ask() -> list[int]:
        with AdapterLine(settings) as line:
            line.request_close("first")
            until(lambda: position_of(line) == 1)
            line.request_close("σ second")
            until(lambda: position_of(line) == 2)
        return []

    def position_of(line: AdapterLine) -> int:
        row = line.positions()
        return 0 if row is None else int(row["positions"][0]["position_id"][0])

    def hear() -> list[str]:
        heard: list[str] = []
        shown = np.zeros(1, positions_dtype(1))
        with RiskLine(settings) as line:
            while not line.ended:
                for asked in line.asked():
                    heard.append(str(asked.message["reason"]))
                    asked.reply({})  # to somebody who does not wait for it
                    shown["positions"][0]["position_id"] = len(heard)
                    line.positions.publish(shown)
                line.read(64)
                line.commit()
                line.signals.take()
        return heard

    def feed_until_asked() -> None:
        with FeedLine(settings) as line:
            line.wait_for_readers()
            until(lambda: asking.gone)

    with own_run(settings.run_directory, NAMES, print) as readers:
        asking = readers.slot(ADAPTER)
        children = [processes.fork(be) for be in (hear, ask, strategy(settings), feed_until_asked)]
        assert children[0].result() == ["first", "σ second"]


def test_it_does_not_wait_for_a_strategy_that_died_before_it_attached(
    run_settings: Make, processes: Processes
) -> None:
    settings = run_settings()
    with own_run(settings.run_directory, NAMES, print) as readers:
        seen = processes.fork(adapter(settings))
        declare_gone(readers, "strategy")
        declare_gone(readers, "risk")
        assert processes.fork(feed(settings, 3)).result() == 3
        assert seen.result() == [1, 2, 3]


def test_an_attempt_that_failed_can_be_made_again(
    run_settings: Make, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = run_settings()

    def fail_and_try_again() -> list[int]:
        with monkeypatch.context() as patch:
            patch.setattr("pipeline.channels.rundir.ATTACH_SECONDS_MAX", 0.2)
            with pytest.raises(ChannelError, match="strategy to create"):
                AdapterLine(settings)
        for name in READER_NAMES:
            declare_gone(readers, name)
        return adapter(settings)()

    with own_run(settings.run_directory, NAMES, print) as readers:
        published = processes.fork(feed(settings, 2))
        assert processes.fork(fail_and_try_again).result() == [1, 2]
        assert published.result() == 2
