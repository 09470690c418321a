"""What Kite's session sends on open and makes of frames."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
from pydantic import SecretStr

from pipeline.brokers.contract import MarketSession, Received
from pipeline.brokers.kite.session import KiteSession
from pipeline.brokers.kite.tokens import Tokens
from pipeline.brokers.kite.wire import encode, frame
from pipeline.errors import SettingsError
from pipeline.records import TICK
from pipeline.settings import FeedSettings, Instrument, Secrets
from pipeline.testing import make_instrument

NOW_NS = 5_000
SECOND_NS = 1_000_000_000
EPOCH_S = 1_759_290_318
SECRETS = Secrets(api_key=SecretStr("key-of-mine"), access_token=SecretStr("tok+en/of&mine"))


def make_feed(**changes: object) -> FeedSettings:
    fields = {"broker": "kite", "url": "wss://broker.example", "mode": "full"}
    return FeedSettings.model_validate(fields | changes)


def make_instruments(count: int) -> list[Instrument]:
    return [
        make_instrument(symbol=f"S{number}", token=str(number << 8 | 2)) for number in range(count)
    ]


def make_session(count: int = 2, **feed: object) -> KiteSession:
    return KiteSession(make_feed(**feed), make_instruments(count), SECRETS)


def ticks_frame(
    *prices: int,
    mode: str = "full",
    first: int = 0,
    time_s: int = EPOCH_S,
    volume: int = 100,
    bid: int = 0,
) -> bytes:
    """Return a frame of one packet for each of ``prices`` (₹), of instruments from ``first``."""
    ticks = np.zeros(len(prices), TICK)
    ticks["instrument"] = np.arange(first, first + len(prices))
    ticks["price_e4"] = np.array(prices) * 10_000
    ticks["ts_event_ns"] = time_s * SECOND_NS
    ticks["day_volume"], ticks["bid_e4"] = volume, bid * 10_000
    return frame(encode(mode, ticks, Tokens(make_instruments(first + len(prices)))))


def counts(received: Received) -> tuple[int, int, int]:
    return len(received.ticks), received.duplicates, received.refused


def prices(received: Received) -> list[int]:
    return [int(price) // 10_000 for price in received.ticks["price_e4"]]


# Login ---------------------------------------------------------------------------------------


def test_the_address_carries_the_login_encoded() -> None:
    session: MarketSession = make_session()
    assert session.url == (
        "wss://broker.example?api_key=key-of-mine&access_token=tok%2Ben%2Fof%26mine"
    )
    assert list(session.headers) == ["X-Kite-Version: 3"]


def test_an_address_with_a_query_keeps_it() -> None:
    query = urlsplit(make_session(url="wss://broker.example/ws?a=b").url).query
    assert parse_qsl(query) == [
        ("a", "b"),
        ("api_key", "key-of-mine"),
        ("access_token", "tok+en/of&mine"),
    ]


def test_what_is_shown_contains_no_secret() -> None:
    session = make_session()
    assert session.address == "wss://broker.example"
    assert repr(session) == "KiteSession(wss://broker.example, mode full, 2 tokens)"


def test_nobody_is_pinged() -> None:
    assert make_session().ping == ""


# Subscriptions -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["ltp", "full"])
def test_opening_subscribes_every_token_then_sets_its_mode(mode: str) -> None:
    assert [json.loads(text) for text in make_session(3, mode=mode).on_open()] == [
        {"a": "subscribe", "v": [2, 258, 514]},
        {"a": "mode", "v": [mode, [2, 258, 514]]},
    ]


def test_quote_is_what_subscribing_gives() -> None:
    (message,) = make_session(1, mode="quote").on_open()
    assert json.loads(message) == {"a": "subscribe", "v": [2]}


def test_three_thousand_instruments_go_in_messages_of_200() -> None:
    messages = [json.loads(text) for text in make_session(3_000).on_open()]
    subscribed = [m["v"] for m in messages if m["a"] == "subscribe"]
    in_full = [m["v"] for m in messages if m["a"] == "mode"]
    assert [len(batch) for batch in subscribed] == [200] * 15
    assert [token for batch in subscribed for token in batch] == [n << 8 | 2 for n in range(3_000)]
    assert in_full == [["full", batch] for batch in subscribed]


def test_another_brokers_token_is_refused() -> None:
    with pytest.raises(SettingsError, match="token 58963 is no instrument_token of NFO"):
        KiteSession(make_feed(), [make_instrument(token="58963")], SECRETS)


def test_opening_again_subscribes_the_same_again() -> None:
    session = make_session()
    assert session.on_open() == session.on_open()


# Text frames ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        ('{"type":"error","data":"bad token"}', "Kite error: 'bad token'"),
        ('{"type":"message","data":"hello\\nthere"}', "Kite message: 'hello\\nthere'"),
        (
            '{"type":"order","data":{"order_id":"1","status":"COMPLETE","price":5}}',
            "Kite order: order_id '1', status 'COMPLETE'",
        ),
    ],
)
def test_an_order_an_error_and_a_message_become_notices(text: str, notice: str) -> None:
    received = make_session().on_text(text, NOW_NS)
    assert received.notice == notice
    assert counts(received) == (0, 0, 0)


@pytest.mark.parametrize(
    "text",
    [
        *("", "hello", "{", "[]", "5", "[" * 100_000),
        *('{"type":"error"}', '{"type":"new","data":1}'),
        *('{"type":"order","data":1}', '{"type":["error"],"data":1}'),
    ],
)
def test_any_other_text_is_ignored_and_counted(text: str) -> None:
    received = make_session().on_text(text, NOW_NS)
    assert (received.notice, counts(received)) == ("", (0, 0, 1))


@pytest.mark.parametrize("secret", ["key-of-mine", "tok+en/of&mine", "tok%2Ben%2Fof%26mine"])
def test_a_notice_shows_no_secret(secret: str) -> None:
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in secret)
    for shown in (secret, escaped):
        notice = make_session().on_text(f'{{"type":"error","data":"no {shown}"}}', NOW_NS).notice
        assert notice == "Kite error: 'no ***'"


def test_a_notice_is_short() -> None:
    text = json.dumps({"type": "message", "data": "x" * 5_000})
    assert len(make_session().on_text(text, NOW_NS).notice) == 200


# Binary frames -------------------------------------------------------------------------------


def test_a_frame_becomes_ticks_stamped_with_the_time_of_receipt() -> None:
    received = make_session().on_binary(ticks_frame(236, 237), 77)
    assert counts(received) == (2, 0, 0)
    assert prices(received) == [236, 237]
    assert received.ticks["instrument"].tolist() == [0, 1]
    assert received.ticks["ts_recv_ns"].tolist() == [77, 77]


@pytest.mark.parametrize("data", [b"\0", b"\1"])
def test_a_heartbeat_of_one_byte_is_nothing(data: bytes) -> None:
    assert counts(make_session().on_binary(data, NOW_NS)) == (0, 0, 0)


@pytest.mark.parametrize("data", [b"", b"\0\1", ticks_frame(1)[:-1], ticks_frame(0)])
def test_a_bad_frame_is_refused_and_counted(data: bytes) -> None:
    assert counts(make_session().on_binary(data, NOW_NS)) == (0, 0, 1)


def test_in_full_a_packet_without_a_time_is_refused() -> None:
    session = make_session()
    assert counts(session.on_binary(ticks_frame(100, mode="quote"), NOW_NS)) == (0, 0, 1)
    assert counts(session.on_binary(ticks_frame(100, time_s=0), NOW_NS)) == (0, 0, 1)
    mixed = frame([ticks_frame(1)[2:], ticks_frame(2, mode="ltp")[2:]] * 50)
    assert counts(session.on_binary(mixed, NOW_NS)) == (50, 0, 50)
    uniform = frame([ticks_frame(1, mode="quote")[2:]] * 50)
    assert counts(session.on_binary(uniform, NOW_NS)) == (0, 0, 50)


@pytest.mark.parametrize("mode", ["ltp", "quote"])
def test_in_another_mode_ticks_have_no_time(mode: str) -> None:
    received = make_session(mode=mode).on_binary(ticks_frame(100, mode=mode), NOW_NS)
    assert received.ticks["ts_event_ns"].tolist() == [0]


# Snapshots -----------------------------------------------------------------------------------


def reconnected(mode: str = "full") -> KiteSession:
    """Return a session that lost its connection when both instruments stood at 100 ₹."""
    session = make_session(mode=mode)
    session.on_open()
    assert counts(session.on_binary(ticks_frame(100, 100, mode=mode), NOW_NS))[0] == 2
    session.on_open()
    return session


@pytest.mark.parametrize("mode", ["ltp", "quote", "full"])
def test_equal_ticks_in_a_row_are_two_ticks(mode: str) -> None:
    session = make_session(mode=mode)
    session.on_open()
    for _ in range(3):
        received = session.on_binary(ticks_frame(100, mode=mode), NOW_NS)
        assert counts(received) == (1, 0, 0)


@pytest.mark.parametrize("mode", ["ltp", "quote", "full"])
def test_a_snapshot_that_says_nothing_new_is_a_duplicate(mode: str) -> None:
    session = reconnected(mode)
    for _ in range(2):  # a client that subscribes twice gets it twice
        received = session.on_binary(ticks_frame(100, 100, mode=mode), NOW_NS)
        assert counts(received) == (0, 2, 0)


def test_what_changed_while_the_connection_was_lost_is_taken() -> None:
    received = reconnected().on_binary(ticks_frame(100, 101, time_s=EPOCH_S + 1), NOW_NS)
    assert prices(received) == [100, 101]  # the same price at a newer time is news too
    received = reconnected("quote").on_binary(ticks_frame(100, 101, mode="quote"), NOW_NS)
    assert (prices(received), received.duplicates) == ([101], 1)


@pytest.mark.parametrize("changed", [ticks_frame(100, volume=175), ticks_frame(100, bid=99)])
def test_any_change_of_what_the_mode_says_is_news(changed: bytes) -> None:
    assert counts(reconnected().on_binary(changed, NOW_NS)) == (1, 0, 0)


def test_in_ltp_a_snapshot_still_in_quote_is_known_by_its_price() -> None:
    session = reconnected("ltp")
    received = session.on_binary(ticks_frame(100, 101, mode="quote"), NOW_NS)
    assert (prices(received), received.duplicates) == ([101], 1)


def test_a_snapshot_from_before_the_newest_tick_is_a_duplicate() -> None:
    session = reconnected()
    received = session.on_binary(ticks_frame(99, time_s=EPOCH_S - 1), NOW_NS)
    assert counts(received) == (0, 1, 0)


def test_after_something_new_a_price_that_comes_back_is_taken() -> None:
    session = reconnected("ltp")
    for price in (101, 100, 100):
        assert counts(session.on_binary(ticks_frame(price, mode="ltp"), NOW_NS)) == (1, 0, 0)
    received = session.on_binary(ticks_frame(100, first=1, mode="ltp"), NOW_NS)
    assert counts(received) == (0, 1, 0)  # of the other instrument nothing new has come


def test_snapshots_come_within_seconds_of_the_first_frame_or_not_at_all() -> None:
    session = reconnected("ltp")
    same = ticks_frame(100, mode="ltp")
    assert counts(session.on_binary(same, NOW_NS)) == (0, 1, 0)
    assert counts(session.on_binary(same, NOW_NS + 5 * SECOND_NS)) == (0, 1, 0)
    assert counts(session.on_binary(same, NOW_NS + 5 * SECOND_NS + 1)) == (1, 0, 0)
    assert counts(session.on_binary(same, NOW_NS + 5 * SECOND_NS + 2)) == (1, 0, 0)


def test_a_refused_packet_is_not_what_was_known() -> None:
    session = reconnected()
    session.on_binary(ticks_frame(0), NOW_NS)
    session.on_open()
    assert counts(session.on_binary(ticks_frame(100), NOW_NS)) == (0, 1, 0)


def test_a_session_goes_on_from_what_another_one_noted() -> None:
    newest = np.zeros(2, TICK)
    first, second = (
        KiteSession(make_feed(), make_instruments(2), SECRETS, newest=newest) for _ in range(2)
    )
    first.on_open()
    first.on_binary(ticks_frame(100, 200), NOW_NS)
    second.on_open()
    assert counts(second.on_binary(ticks_frame(100, 200), NOW_NS)) == (0, 2, 0)
    assert prices(second.on_binary(ticks_frame(100, 201), NOW_NS)) == [201]
