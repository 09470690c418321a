"""Kills and stops at random points, and wake-ups under forced parking; scripts/stress for more."""

from __future__ import annotations

import platform

import pytest

from pipeline.channels import Implementation
from pipeline.channels.waiting import ORDERED_MACHINES
from tests.stress.chaos import chaos
from tests.stress.wakes import wakes

pytestmark = [
    pytest.mark.stress,
    pytest.mark.skipif(
        platform.machine() not in ORDERED_MACHINES, reason="pure Python parks on x86-64 only"
    ),
]

ROUNDS = 50
HANDOFFS = 100_000


@pytest.mark.parametrize("seed", [1, 2])
def test_kills_and_stops_at_random_points_lose_nothing_uncounted(
    channels: Implementation, seed: int
) -> None:
    figures = chaos(ROUNDS, seed, channels.name)
    assert sum(figures.actions.values()) == ROUNDS
    assert figures.epochs > 1
    assert figures.published > 0
    assert figures.followed_after_ms
    assert max(figures.followed_after_ms) < 10_000


def test_no_wake_up_is_lost_in_a_hundred_thousand_handoffs(channels: Implementation) -> None:
    figures = wakes(HANDOFFS, channels.name)
    assert (figures.rescues, figures.lost) == (0, 0)
    assert figures.parks > HANDOFFS // 10, "parking was forced"
