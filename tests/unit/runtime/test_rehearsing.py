from __future__ import annotations

import logging

import pytest

from pipeline.runtime.rehearsing import INTERVAL_NS, Rehearsing


class Rig:
    """A rehearsing idle on a clock that the rehearsal moves."""

    def __init__(self, takes_ns: int = 0, fails: bool = False) -> None:
        self.now_ns = 1_000
        self.did: list[str] = []
        self._takes_ns = takes_ns
        self._fails = fails
        self.rehearsing = Rehearsing(self._wait, self._rehearse, lambda: self.now_ns)

    def _wait(self) -> None:
        self.did.append("wait")

    def _rehearse(self) -> None:
        self.did.append("rehearse")
        self.now_ns += self._takes_ns
        if self._fails:
            raise ValueError("no such scene")

    def idle(self) -> list[str]:
        """Return what one turn without work did."""
        self.did.clear()
        self.rehearsing.idle()
        return list(self.did)


def test_the_first_turn_without_work_rehearses_and_every_turn_waits() -> None:
    rig = Rig()
    assert rig.idle() == ["rehearse", "wait"]
    assert rig.idle() == ["wait"]


def test_the_interval_begins_where_the_rehearsal_ended() -> None:
    rig = Rig(takes_ns=50_000)
    rig.idle()
    ended_ns = rig.now_ns
    rig.now_ns = ended_ns + INTERVAL_NS - 1
    assert rig.idle() == ["wait"]
    rig.now_ns = ended_ns + INTERVAL_NS
    assert rig.idle() == ["rehearse", "wait"]


def test_a_rehearsal_that_fails_is_told_once_and_given_up_and_the_waiting_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(fails=True)
    with caplog.at_level(logging.WARNING, "rehearsal"):
        assert rig.idle() == ["rehearse", "wait"]
        rig.now_ns += 1_000 * INTERVAL_NS
        assert rig.idle() == ["wait"]
    assert len(caplog.records) == 1
    assert "rehearsing failed and is given up" in caplog.text
    assert "no such scene" in caplog.text
