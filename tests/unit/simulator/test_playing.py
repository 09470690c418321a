"""What the simulator plays and when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.simulator.playing import Packets, Playhead
from pipeline.testing import make_ticks


def test_every_tick_has_its_packet_in_every_mode_in_any_order() -> None:
    ticks = make_ticks([1 + n / 100 for n in range(3_000)])
    calls = 0

    def encode(mode: str, rows: NDArray[np.void], position: int) -> Sequence[bytes]:
        nonlocal calls
        calls += 1
        return [f"{mode} {seq} {position}".encode() for seq in rows["seq"]]

    packets = Packets(ticks, encode)
    for position in [0, 2_999, 1_023, 1_024, *range(1_500, 2_100), 1]:
        for mode in ("ltp", "full"):
            expected = f"{mode} {position + 1} {position // 1_024 * 1_024}"
            assert packets.packet(mode, position) == expected.encode()
    assert calls == 2 * 6  # a block at a time, and only the last block is kept


def played(pauses_ms: list[int], speed: float | None) -> Playhead:
    ticks = make_ticks([1.0] * len(pauses_ms))
    ticks["ts_event_ns"] = 10**18 + np.cumsum(pauses_ms) * 1_000_000
    playhead = Playhead(ticks, speed)
    playhead.start(1_000.0)
    return playhead


@pytest.mark.parametrize("speed", [1.0, 100.0])
def test_ticks_are_due_at_their_own_time_divided_by_the_speed(speed: float) -> None:
    playhead = played([0, 500, 0, 250], speed)
    due = [playhead.due(1_000.0 + after / speed) for after in (0.0, 0.499, 0.501, 0.749, 0.751)]
    assert due == [1, 1, 3, 3, 4]


def test_the_next_tick_is_waited_for() -> None:
    playhead = played([0, 500, 250], 10.0)
    playhead.position = 1
    assert playhead.wait_s(1_000.02) == pytest.approx(0.03)
    assert playhead.wait_s(1_005.0) == 0.0


def test_without_a_speed_everything_is_due_at_once() -> None:
    playhead = played([0, 500, 250], None)
    assert not playhead.paced
    assert playhead.due(1_000.0) == 3


def test_the_recording_ends_after_its_last_tick() -> None:
    playhead = played([0, 1], 1.0)
    playhead.position = 1
    assert not playhead.ended
    playhead.position = 2
    assert playhead.ended
