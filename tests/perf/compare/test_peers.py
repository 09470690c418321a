"""Every peer that is here gets everything that it was given. How fast is not judged."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.records import TICK
from tests.perf.compare import peers
from tests.perf.compare.handovers import Skipped
from tests.perf.day import guide_settings

RATE, SECONDS = 500, 0.2
COUNT = int(RATE * SECONDS)


@pytest.mark.parametrize("name", peers.HAND_OVERS)
def test_a_peer_hands_on_every_number(name: str) -> None:
    try:
        found = peers.hand_over(name, RATE, SECONDS)
    except (ImportError, Skipped) as error:
        pytest.skip(str(error))
    assert found["lost"] == 0
    assert found["latency"]["intended to arrival"]["samples"] == COUNT


@pytest.mark.parametrize("name", peers.CLIENTS)
def test_a_broker_s_client_gets_every_tick_of_the_sender(name: str) -> None:
    load, _, _ = peers.CLIENTS[name]
    try:
        load()
    except ImportError as error:
        pytest.skip(f"{error}; pip install tickpipe[peers]")
    day = np.zeros(COUNT, TICK)
    day["price_e4"] = 2_500_000
    day["ts_event_ns"] = 1_760_000_000_000_000_000 + np.arange(COUNT) * 1_000_000_000
    found = peers.client(name, RATE, SECONDS, day, guide_settings().instruments)
    assert found["lost"] == 0


def test_who_is_not_here_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'that'")

    monkeypatch.setattr(peers, "HAND_OVERS", {"that": ("threads", refuse)})
    monkeypatch.setattr(peers, "CLIENTS", {})
    (found,) = peers.measure(np.zeros(0, TICK), guide_settings().instruments)
    assert found["skipped"] == "No module named 'that'"
    assert found["rates"] == []
