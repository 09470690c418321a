from __future__ import annotations

import io

import numpy as np
from rich.console import Console

from pipeline.display import Display
from pipeline.records import HEARTBEAT, LATENCY, Stage
from tests.money import guide


def shown(beats: dict[str, np.ndarray], *overrides: str) -> list[str]:
    """Return the lines of the last page, spaces between words single."""
    text = io.StringIO()
    with Display(guide(*overrides), Console(file=text, width=100), ticks_total=None) as display:
        display(beats)
    return [" ".join(line.split()) for line in text.getvalue().splitlines()]


def beat(stage: Stage, *us: int, **counters: int) -> np.ndarray:
    row = np.zeros(1, HEARTBEAT)
    row["latency"][0][stage] = np.array((7_000, *(value * 1_000 for value in us)), LATENCY)
    for name, value in counters.items():
        row[name] = value
    return row


def test_every_stage_that_was_measured_has_its_row() -> None:
    lines = shown(
        {
            "feed": beat(Stage.FEED_TO_RING, 1, 2, 3, 4, 5, ticks=7_100),
            "strategy": beat(Stage.FEED_TO_STRATEGY, 10, 20, 30, 40, 5_000, ticks=7_000),
        }
    )
    assert "latency, µs samples p50 p90 p99 p99.9 max" in lines
    assert "feed to ring 7,000 1 2 3 4 5" in lines
    assert "feed to strategy 7,000 10 20 30 40 5,000" in lines
    assert not any(line.startswith("tick to order") for line in lines)


def test_what_lockstep_adds_to_the_latencies_is_said_and_only_there() -> None:
    beats = {"feed": beat(Stage.FEED_TO_RING, 1, 2, 3, 4, 5)}
    said = "lockstep: a tick in hand waits for those before it, and that counts here"
    assert said in shown(beats, "channels.lockstep=true")
    assert said not in shown(beats)


def test_a_process_is_behind_by_what_was_published_and_not_handled() -> None:
    lines = shown(
        {
            "feed": beat(Stage.FEED_TO_RING, 1, 1, 1, 1, 1, ticks=7_100, pid=11, unread=100),
            "strategy": beat(
                Stage.FEED_TO_STRATEGY, 1, 1, 1, 1, 1, ticks=7_000, last_seq=7_000, pid=12, lost=3
            ),
        }
    )
    assert "strategy starting 12 7,000 100 0 3" in lines
    assert "feed starting 11 7,100 100" in lines


def test_what_is_wrong_with_the_feed_has_a_line_and_only_then() -> None:
    well = beat(Stage.FEED_TO_RING, 1, 1, 1, 1, 1, connected=1)
    ill = beat(Stage.FEED_TO_RING, 1, 1, 1, 1, 1, outages=2, gaps=1, silent=12)
    assert "connections 0 · outages 2 · gaps 1 · silent 12" in shown({"feed": ill})
    assert not any(line.startswith("connections") for line in shown({"feed": well}))
