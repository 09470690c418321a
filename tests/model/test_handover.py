"""A feed that dies at every point of its life, twice; and the wrong ways to take over."""

from __future__ import annotations

import pytest

from tests.model.checker import explore
from tests.model.handover import Handover, handover, length_of_life

SLEEPS = "sleeps with news and nobody will wake it"
ENDED = "ended too early, or counted wrongly"
CUTS = range(length_of_life(records=1) + 1)


@pytest.mark.parametrize("cut", range(length_of_life(records=2) + 1))
def test_wherever_a_feed_dies_the_reader_gets_what_was_published(cut: int) -> None:
    assert explore(handover((cut,), records=2)).wrong is None


@pytest.mark.parametrize("first", CUTS)
def test_wherever_two_feeds_die_the_reader_gets_what_was_published(first: int) -> None:
    for second in CUTS:
        report = explore(handover((first, second)))
        assert report.wrong is None, f"{first}, {second}\n{report}"


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        pytest.param(Handover(marked="behind rename"), SLEEPS, id="renamed before it is marked"),
        pytest.param(Handover(called=False), SLEEPS, id="a new feed that does not ring"),
        pytest.param(
            Handover(drained="published, then state"), ENDED, id="looked at published too early"
        ),
        pytest.param(Handover(waits_awake=False), SLEEPS, id="parked between mark and rename"),
    ],
)
def test_the_wrong_ways_are_found(how: Handover, fault: str) -> None:
    reports = (explore(handover((CUTS[-1], cut), how)) for cut in CUTS)
    assert any(fault in str(report.wrong) for report in reports)
