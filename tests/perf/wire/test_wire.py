"""The wire's benchmark measures what it says, and its page has an answer to everything asked.

Nothing here looks at how long anything took.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.perf.wire import decoding, intake, on_tick, page
from tests.perf.wire.figures import AIMS, OVER_BARE, POLL_TO_KITE, p50_of, with_ratios
from tests.perf.wire.frames import kite_frames, numbered, web_socket
from tests.perf.wire.intake import slope

BARE = next(way for way in on_tick.WAYS if way.client == "bare")


@pytest.mark.parametrize(("size", "head"), [(125, 2), (126, 4), (65_535, 4), (65_536, 10)])
def test_a_payload_of_any_size_is_a_frame(size: int, head: int) -> None:
    frame = web_socket(bytes(size))
    assert len(frame) == head + size
    assert frame[0] == 0x82


@pytest.mark.parametrize("broker", ["kite", "smartapi"])
def test_numbered_frames_are_all_of_one_size_and_all_different(broker: str) -> None:
    frames = numbered(broker, 300)
    assert len(set(frames)) == 300
    assert len(set(map(len, frames))) == 1


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "ROUNDS", 1)
    monkeypatch.setattr(decoding, "ROUND_SECONDS", 0.0)
    monkeypatch.setattr(on_tick, "FRAMES", 200)
    monkeypatch.setattr(on_tick, "WARM_UP", 50)


def figures_of_ways() -> dict[str, float]:
    ways = [f"{way.broker}: {way.name}" for way in on_tick.WAYS]
    return with_ratios({p50_of(way): 10.0 + n for n, way in enumerate(ways)})


def test_every_figure_that_is_asked_for_is_measured(quick: None) -> None:
    pytest.importorskip("kiteconnect", reason="needs `pip install tickpipe[peers]`")
    found = {**decoding.measure(), **figures_of_ways()}
    in_intake = [aim.figure for aim in AIMS if aim.figure.startswith(("intake:", "memory of"))]
    source = Path(intake.__file__).read_text()
    assert all(figure.split("frames of 1,000")[0] in source for figure in in_intake)
    assert {aim.figure for aim in AIMS} - set(in_intake) <= found.keys()


def test_a_ratio_without_its_peer_is_left_out() -> None:
    figures = figures_of_ways()
    del figures[p50_of("kite: KiteTicker")], figures[POLL_TO_KITE]
    found = with_ratios(figures)
    assert POLL_TO_KITE not in found
    assert OVER_BARE in found


def test_the_feed_takes_every_tick_and_its_memory_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    instruments, frames = kite_frames()
    monkeypatch.setattr(intake, "SAMPLE_SECONDS", 0.001)
    frame = web_socket(frames["frame of 1,000 full packets"])
    samples = intake.taken(instruments, [frame], 4_000, 1_000)
    assert 0 < samples[-1][1] <= 4_000_000
    assert all(resident > 0 for _, _, resident in samples)


def test_a_feed_that_grows_has_a_slope() -> None:
    samples = [(float(n), n * 1_000_000, 50_000_000 + 7_000 * n) for n in range(100)]
    assert slope(samples) == pytest.approx(7_000)


def test_every_frame_reaches_a_client_that_blocks(quick: None) -> None:
    found = on_tick.latencies(BARE)
    assert all(len(values) == 200 for values in found.values())
    assert (found["to the callback"] > found["to the frame in hand"]).all()


def test_the_page_says_what_is_reached_what_is_missed_and_what_was_not_measured() -> None:
    figures = {aim.figure: [1e9 if aim.at_least else 0.0] for aim in AIMS}
    figures[AIMS[1].figure] = [1.0, 2.0, 3.0]
    del figures[POLL_TO_KITE]
    kept: dict[str, Any] = {"machine": {"cpu": "x"}, "runs": 3, "figures": figures}
    text = page.markdown(kept)
    assert text.count("| reached |") == len(AIMS) - 2
    assert f"| {AIMS[1].figure} | ≥ 8 | 2 | 1 to 3 | missed |" in text
    assert f"| {POLL_TO_KITE} | ≤ 0.25 | not measured here | | |" in text
