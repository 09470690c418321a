"""What the simulator plays and when."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.brokers.smartapi.wire import MODE_LTP, MODE_QUOTE, decode
from pipeline.simulator.playing import Frames, Playhead
from pipeline.testing import make_ticks

KEY = (2, b"58963")


def test_every_tick_has_its_frame_in_every_mode_in_any_order() -> None:
    ticks = make_ticks([1 + n / 100 for n in range(3_000)])
    frames = Frames(ticks, [KEY])
    for position in [0, 2_999, 1_023, 1_024, *range(1_500, 2_100), 1]:
        for mode in (MODE_LTP, MODE_QUOTE):
            decoded = decode(frames.frame(mode, position), {KEY: 0}, 0)
            assert decoded is not None
            assert decoded.sequence == position + 1
            assert decoded.ticks["price_e4"] == ticks["price_e4"][position]
            assert decoded.ticks["ts_event_ns"] == ticks["ts_event_ns"][position]
            assert (decoded.ticks["quantity"] > 0) == (mode == MODE_QUOTE)


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
