"""A flood of words from a broker does not become a flood of lines."""

from __future__ import annotations

import json

import pytest

from pipeline.brokers.contract import MarketSession
from pipeline.brokers.kite.session import KiteSession
from pipeline.brokers.notices import AT_ONCE_MAX, INTERVAL_NS, Notices, Said
from pipeline.brokers.smartapi.session import SmartApiSession
from pipeline.settings import SIMULATOR_SECRETS, FeedSettings
from pipeline.testing import make_instrument

NOW_NS = 5 * INTERVAL_NS
ORDER = json.dumps({"type": "order", "data": {"order_id": "1", "status": "OPEN"}})
KITE_ERROR = json.dumps({"type": "error", "data": "no"})
SMART_ERROR = json.dumps({"errorCode": "E1", "errorMessage": "no"})


def test_the_first_of_a_kind_are_told_and_the_rest_is_counted() -> None:
    notices = Notices()
    told = [notices.tell(Said.TEXT, "x", NOW_NS) for _ in range(1_000)]
    assert told == ["x"] * AT_ONCE_MAX + [""] * (1_000 - AT_ONCE_MAX)
    later = notices.tell(Said.TEXT, "x", NOW_NS + INTERVAL_NS)
    assert later == "x (and 995 more of this kind, not shown)"
    assert notices.tell(Said.TEXT, "x", NOW_NS + INTERVAL_NS) == ""


def test_after_a_while_as_many_are_told_again() -> None:
    notices = Notices()
    for _ in range(100):
        notices.tell(Said.ERROR, "x", NOW_NS)
    much_later = NOW_NS + 1_000 * INTERVAL_NS
    told = [bool(notices.tell(Said.ERROR, "x", much_later)) for _ in range(10)]
    assert told == [True] * AT_ONCE_MAX + [False] * (10 - AT_ONCE_MAX)


def test_one_kind_does_not_silence_another() -> None:
    notices = Notices()
    for _ in range(100):
        notices.tell(Said.TEXT, "garbage", NOW_NS)
    assert notices.tell(Said.ORDER, "filled", NOW_NS) == "filled"


def sessions() -> dict[str, MarketSession]:
    kite, smart = (
        FeedSettings.model_validate({"broker": broker, "mode": "full"})
        for broker in ("kite", "smartapi")
    )
    token = str(58963 << 8 | 2)
    return {
        "kite": KiteSession(kite, [make_instrument(token=token)], SIMULATOR_SECRETS),
        "smartapi": SmartApiSession(smart, [make_instrument(token="58963")], SIMULATOR_SECRETS),
    }


@pytest.mark.parametrize(
    ("broker", "flood", "other"),
    [("kite", KITE_ERROR, ORDER), ("smartapi", "garbage", SMART_ERROR)],
)
def test_a_flood_of_one_kind_is_a_few_notices_and_hides_no_other(
    broker: str, flood: str, other: str
) -> None:
    session = sessions()[broker]
    received = [session.on_text(flood, NOW_NS + n) for n in range(10_000)]
    assert sum(bool(each.notice) for each in received) == AT_ONCE_MAX
    assert session.on_text(other, NOW_NS + 10_000).notice
    again = session.on_text(flood, NOW_NS + INTERVAL_NS).notice
    assert again.endswith("(and 9,995 more of this kind, not shown)")


@pytest.mark.parametrize("broker", ["kite", "smartapi"])
def test_every_text_that_means_nothing_is_counted_in_a_flood_too(broker: str) -> None:
    session = sessions()[broker]
    assert sum(session.on_text("garbage", NOW_NS).refused for _ in range(1_000)) == 1_000
