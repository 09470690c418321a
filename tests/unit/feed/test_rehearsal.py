from __future__ import annotations

import pytest

from pipeline.brokers.contract import MarketSession
from pipeline.brokers.kite.session import KiteSession
from pipeline.brokers.smartapi.session import SmartApiSession
from pipeline.feed.rehearsal import Rehearsal
from pipeline.settings import SIMULATOR_SECRETS, FeedSettings
from pipeline.testing import make_instrument


def session_of(broker: str, mode: str, depth: bool) -> MarketSession:
    feed = FeedSettings.model_validate({"broker": broker, "mode": mode})
    if broker == "kite":
        return KiteSession(
            feed, [make_instrument(token=str(77 << 8 | 2))], SIMULATOR_SECRETS, depth=depth
        )
    return SmartApiSession(feed, [make_instrument(token="77")], SIMULATOR_SECRETS, depth=depth)


@pytest.mark.parametrize("broker", ["kite", "smartapi"])
@pytest.mark.parametrize(
    ("mode", "depth"), [("ltp", False), ("quote", False), ("full", False), ("full", True)]
)
def test_every_rehearsal_takes_a_tick_out_of_a_frame(broker: str, mode: str, depth: bool) -> None:
    rehearsal = Rehearsal(session_of(broker, mode, depth))
    for _ in range(1_000):  # a frame more than the buffer holds would show
        rehearsal()
    assert rehearsal.ticks == 1_000
