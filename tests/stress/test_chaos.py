"""Kills and stops at random points, and wake-ups under forced parking; scripts/stress for more."""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.channels import Implementation
from pipeline.channels.waiting import ORDERED_MACHINES
from tests.stress import chaos as of_chaos
from tests.stress import wakes as of_wakes
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


@pytest.mark.parametrize(
    ("module", "size", "counted"),
    [(of_chaos, ("--rounds", 3), ("rounds", 3)), (of_wakes, ("--handoffs", 20), ("handoffs", 20))],
)
def test_the_commands_keep_their_figures_beside_what_the_machine_is(
    tmp_path: Path, module: ModuleType, size: tuple[str, int], counted: tuple[str, int]
) -> None:
    file = tmp_path / "figures.json"
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    module.main(parser.parse_args([*map(str, size), "--json", str(file)]))
    kept = json.loads(file.read_text())
    name, count = counted
    assert kept["figures"][name] == count
    assert kept["machine"]["commit"]
