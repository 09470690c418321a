from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from pipeline.runtime.duty_cycle import run
from pipeline.runtime.stopping import Stop

SECOND_NS = 1_000_000_000


@dataclass
class Rig:
    """A duty cycle on a clock that the work and the idling move."""

    amounts: list[int]  # what work() returns, then 0 for ever
    work_ns: int = 0
    idle_ns: int = 0
    ended_after_turns: int = 0  # ended() is true once this many turns have been worked
    now_ns: int = 5_000
    did: list[str] = field(default_factory=list)
    beats: list[int] = field(default_factory=list)
    beat_times_ns: list[int] = field(default_factory=list)
    stop: Stop = field(default_factory=Stop)
    on_work: Callable[[], None] = lambda: None

    def work(self) -> int:
        self.did.append("work")
        self.now_ns += self.work_ns
        self.on_work()
        return self.amounts.pop(0) if self.amounts else 0

    def idle(self) -> None:
        self.did.append("idle")
        self.now_ns += self.idle_ns

    def ended(self) -> bool:
        self.did.append("ended?")
        return self.did.count("work") >= self.ended_after_turns

    def beat(self, cycles: int) -> None:
        self.beats.append(cycles)
        self.beat_times_ns.append(self.now_ns)

    def run(self) -> None:
        run(
            self.work,
            idle=self.idle,
            stop=self.stop,
            beat=self.beat,
            ended=self.ended,
            beat_interval_ns=SECOND_NS,
            clock=lambda: self.now_ns,
        )


def test_it_idles_only_after_a_turn_without_work() -> None:
    rig = Rig(amounts=[3, 0, 2, 0], ended_after_turns=4)
    rig.run()
    assert rig.did == ["work", "work", "ended?", "idle", "work", "work", "ended?", "work"]


def test_it_asks_for_the_end_only_when_there_is_no_work() -> None:
    rig = Rig(amounts=[1] * 10, ended_after_turns=0)
    rig.run()
    assert rig.did[:10] == ["work"] * 10


def test_what_was_published_between_an_empty_turn_and_the_end_is_still_worked() -> None:
    rig = Rig(amounts=[0, 7, 7], ended_after_turns=0)
    rig.run()
    assert rig.amounts == []
    assert "idle" not in rig.did


def test_it_beats_at_once_so_that_a_slow_start_is_seen() -> None:
    rig = Rig(amounts=[1], ended_after_turns=0)
    rig.run()
    assert rig.beats[0] == 1


def test_it_beats_in_a_flood() -> None:
    rig = Rig(amounts=[1] * 1_000, work_ns=SECOND_NS // 10, ended_after_turns=0)
    rig.run()
    assert "idle" not in rig.did[:1_000]
    assert rig.beats[:4] == [1, 11, 21, 31]


def test_it_beats_in_silence() -> None:
    rig = Rig(amounts=[], idle_ns=SECOND_NS // 4, ended_after_turns=40)
    rig.run()
    pauses_ns = {b - a for a, b in zip(rig.beat_times_ns, rig.beat_times_ns[1:], strict=False)}
    assert max(pauses_ns) == SECOND_NS


def test_a_stop_is_heard_in_a_flood_and_the_last_beat_has_the_last_turn() -> None:
    rig = Rig(amounts=[1] * 1_000)
    rig.on_work = lambda: rig.stop.request("Stop Requested") if len(rig.amounts) == 900 else None
    rig.run()
    assert rig.beats == [1, 101]


def test_a_stop_requested_before_leaves_without_work() -> None:
    rig = Rig(amounts=[1])
    rig.stop.request("Keyboard Interrupt")
    rig.run()
    assert rig.did == []
    assert rig.beats == [0]


def test_the_parent_is_looked_for_at_every_beat() -> None:
    rig = Rig(amounts=[1] * 1_000, work_ns=SECOND_NS // 10, stop=Stop(parent_pid=-1))
    rig.run()
    assert rig.stop.reason == "Stop Requested"
    assert rig.did.count("work") == 1, "the first beat finds it gone"


def test_an_error_in_work_goes_to_the_caller_without_another_beat() -> None:
    rig = Rig(amounts=[1] * 5)

    def fail_on_the_third() -> None:
        if rig.did.count("work") == 3:
            raise ZeroDivisionError

    rig.on_work = fail_on_the_third
    with pytest.raises(ZeroDivisionError):
        rig.run()
    assert rig.beats == [1]
