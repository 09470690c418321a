"""What SmartAPI's session sends on open and makes of frames."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr

from pipeline.brokers.contract import Received
from pipeline.brokers.smartapi.session import SmartApiSession
from pipeline.brokers.smartapi.wire import encode, instrument_key
from pipeline.records import TICK
from pipeline.settings import SIMULATOR_SECRETS, FeedSettings, Instrument, Secrets
from pipeline.testing import make_instrument

NOW_NS = 5
SECOND_MS = 1_000
SECRETS = Secrets(
    api_key=SecretStr("key-of-mine"),
    client_code=SecretStr("A12345"),
    jwt=SecretStr("eyJ.jwt.mine"),
    feed_token=SecretStr("feed-of-mine"),
)


def make_feed(**changes: object) -> FeedSettings:
    fields = {"broker": "smartapi", "url": "wss://broker.example/smart-stream"}
    return FeedSettings.model_validate(fields | changes)


def make_instruments(count: int, exchange: str = "NFO") -> list[Instrument]:
    return [
        make_instrument(symbol=f"S{number}", token=str(number), exchange=exchange)
        for number in range(count)
    ]


def make_session(count: int = 2, **feed: object) -> SmartApiSession:
    return SmartApiSession(make_feed(**feed), make_instruments(count), SECRETS)


def frame(
    sequence: int, *, instrument: int = 0, time_ms: int = 1_000_000, price: int = 100
) -> bytes:
    tick = np.zeros(1, TICK)
    tick["instrument"], tick["price_e4"] = instrument, price * 10_000
    tick["ts_event_ns"] = time_ms * 1_000_000
    keys = [instrument_key(row) for row in make_instruments(2)]
    return encode("quote", tick, keys, sequence).tobytes()


def counts(received: Received) -> tuple[int, int, int]:
    return len(received.ticks), received.duplicates, received.refused


# Login ---------------------------------------------------------------------------------------


def test_the_four_headers_carry_the_login() -> None:
    assert list(make_session().headers) == [
        "Authorization: Bearer eyJ.jwt.mine",
        "x-api-key: key-of-mine",
        "x-client-code: A12345",
        "x-feed-token: feed-of-mine",
    ]


def test_a_jwt_that_brings_its_bearer_along_gets_no_second_one() -> None:
    secrets = SECRETS.model_copy(update={"jwt": SecretStr("Bearer eyJ.jwt.mine")})
    session = SmartApiSession(make_feed(), make_instruments(1), secrets)
    assert session.headers[0] == "Authorization: Bearer eyJ.jwt.mine"


def test_the_repr_shows_no_secret() -> None:
    assert repr(make_session()) == (
        "SmartApiSession(wss://broker.example/smart-stream, mode 2, 2 tokens)"
    )


# Subscriptions -------------------------------------------------------------------------------


def test_opening_subscribes_every_instrument_by_exchange() -> None:
    instruments = [
        make_instrument(symbol="A", token="58963", exchange="NFO"),
        make_instrument(symbol="B", token="2885", exchange="NSE"),
        make_instrument(symbol="C", token="58964", exchange="NFO"),
        make_instrument(symbol="D", token="7", exchange="CDS"),
    ]
    (message,) = SmartApiSession(make_feed(), instruments, SECRETS).on_open()
    assert json.loads(message) == {
        "correlationID": "tp0001",
        "action": 1,
        "params": {
            "mode": 2,
            "tokenList": [
                {"exchangeType": 2, "tokens": ["58963", "58964"]},
                {"exchangeType": 1, "tokens": ["2885"]},
                {"exchangeType": 13, "tokens": ["7"]},
            ],
        },
    }


@pytest.mark.parametrize(("mode", "number"), [("ltp", 1), ("quote", 2), ("full", 3)])
def test_the_mode_of_the_settings_is_subscribed(mode: str, number: int) -> None:
    (message,) = make_session(mode=mode).on_open()
    assert json.loads(message)["params"]["mode"] == number


def test_a_thousand_instruments_go_in_messages_of_200() -> None:
    messages = [json.loads(text) for text in make_session(1_000).on_open()]
    batches = [group["tokens"] for m in messages for group in m["params"]["tokenList"]]
    assert [len(batch) for batch in batches] == [200] * 5
    assert [token for batch in batches for token in batch] == [str(n) for n in range(1_000)]
    ids = [message["correlationID"] for message in messages]
    assert len(set(ids)) == 5
    assert max(map(len, ids)) <= 10


def test_opening_again_subscribes_the_same_again() -> None:
    session = make_session()
    assert session.on_open() == session.on_open()


@pytest.mark.parametrize(("silence", "ping"), [(35.0, 10.0), (3.0, 1.0)])
def test_several_pings_fit_into_the_longest_silence(silence: float, ping: float) -> None:
    session = make_session(silence_seconds_max=silence)
    assert (session.ping, session.ping_interval_ns) == ("ping", int(ping * 1e9))


# Text frames ---------------------------------------------------------------------------------


def test_a_pong_is_ignored() -> None:
    assert make_session().on_text("pong", NOW_NS).notice == ""


def test_an_error_becomes_a_notice() -> None:
    text = '{"correlationID":"tp0001","errorCode":"E1002","errorMessage":"too many"}'
    received = make_session().on_text(text, NOW_NS)
    assert received.notice == "SmartAPI error 'E1002': 'too many'"
    assert counts(received) == (0, 0, 0)


def test_an_error_is_told_on_one_line_whatever_its_code_is() -> None:
    notice = make_session().on_text('{"errorCode":"E1\\nE2"}', NOW_NS).notice
    assert notice == "SmartAPI error 'E1\\nE2': None"


@pytest.mark.parametrize("text", ["hello", "[1,2]", "{", "", "[" * 100_000, '{"a":"\\ud800"}'])
def test_any_other_text_becomes_a_notice_of_one_short_line(text: str) -> None:
    received = make_session().on_text(text, NOW_NS)
    notice = received.notice
    assert counts(received) == (0, 0, 1)
    assert notice.startswith(f"SmartAPI sent text: '{text[:10]}"[:25])
    assert len(notice) <= 200
    assert "\n" not in notice


@pytest.mark.parametrize("secret", ["key-of-mine", "A12345", "eyJ.jwt.mine", "feed-of-mine"])
def test_a_notice_shows_no_secret(secret: str) -> None:
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in secret)
    for text in (secret, f'{{"errorCode":"E1","errorMessage":"bad {escaped}"}}'):
        notice = make_session().on_text(text, NOW_NS).notice
        assert "***" in notice
        assert secret not in notice


def test_a_secret_that_quoting_changes_is_not_shown_either() -> None:
    secrets = SECRETS.model_copy(update={"api_key": SecretStr("it's\\mine")})
    session = SmartApiSession(make_feed(), make_instruments(1), secrets)
    assert session.on_text('"bad it\'s\\mine"', NOW_NS).notice == (
        "SmartAPI sent text: '\"bad ***\"'"
    )


# Binary frames -------------------------------------------------------------------------------


def test_a_frame_becomes_a_tick_stamped_with_the_time_of_receipt() -> None:
    (tick,) = make_session().on_binary(frame(1, instrument=1, price=236), 77).ticks
    assert (tick["price_e4"], tick["instrument"]) == (2_360_000, 1)
    assert (tick["ts_recv_ns"], tick["seq"]) == (77, 0)


def test_recorded_frames_are_all_taken_once_and_all_dropped_the_second_time(
    shared_data: Path,
) -> None:
    data = gzip.decompress((shared_data / "angel/ltp_frames_first5000.bin.gz").read_bytes())
    frames = [data[start : start + 51] for start in range(0, len(data), 51)]
    rows = [make_instrument(symbol=t, token=t, exchange="NSE") for t in ("26009", "2885")]
    session = SmartApiSession(make_feed(), rows, SECRETS)
    for expected in ((1, 0, 0), (0, 1, 0)):
        assert {counts(session.on_binary(each, NOW_NS)) for each in frames} == {expected}


def test_a_repeated_sequence_is_a_duplicate_across_a_reconnect() -> None:
    session = make_session()
    session.on_open()
    session.on_binary(frame(10), NOW_NS)
    session.on_open()
    assert counts(session.on_binary(frame(10), NOW_NS)) == (0, 1, 0)
    assert counts(session.on_binary(frame(9), NOW_NS)) == (0, 1, 0)
    assert counts(session.on_binary(frame(11), NOW_NS)) == (1, 0, 0)


def test_each_instrument_has_its_own_sequence() -> None:
    session = make_session()
    session.on_binary(frame(10, instrument=0), NOW_NS)
    assert counts(session.on_binary(frame(9, instrument=1), NOW_NS)) == (1, 0, 0)


def test_frames_without_a_sequence_are_never_duplicates() -> None:
    session = make_session()
    session.on_binary(frame(10), NOW_NS)
    assert counts(session.on_binary(frame(0), NOW_NS)) == (1, 0, 0)
    assert counts(session.on_binary(frame(0), NOW_NS)) == (1, 0, 0)
    assert counts(session.on_binary(frame(10), NOW_NS)) == (0, 1, 0)


def test_time_that_goes_back_while_the_sequence_advances_is_taken() -> None:
    session = make_session()
    session.on_binary(frame(10, time_ms=1_000_470), NOW_NS)
    assert counts(session.on_binary(frame(11, time_ms=1_000_000), NOW_NS)) == (1, 0, 0)


def test_a_server_that_counts_afresh_is_followed_and_told() -> None:
    session = make_session()
    session.on_binary(frame(500, time_ms=0), NOW_NS)
    before = session.on_binary(frame(1, time_ms=60 * SECOND_MS - 1), NOW_NS)
    assert counts(before) == (0, 1, 0)
    afresh = session.on_binary(frame(1, time_ms=60 * SECOND_MS), NOW_NS)
    assert counts(afresh) == (1, 0, 0)
    assert afresh.notice == "S0: sequence went from 500 back to 1, the server counts afresh"
    assert counts(session.on_binary(frame(2, time_ms=61 * SECOND_MS), NOW_NS)) == (1, 0, 0)


@pytest.mark.parametrize("data", [b"", b"\0", b"pong", frame(1)[:-1], frame(1, price=0)])
def test_a_bad_frame_is_refused_and_counted(data: bytes) -> None:
    assert counts(make_session().on_binary(data, NOW_NS)) == (0, 0, 1)


def test_a_refused_frame_does_not_use_up_its_sequence() -> None:
    session = make_session()
    session.on_binary(frame(3, price=0), NOW_NS)
    assert counts(session.on_binary(frame(3), NOW_NS)) == (1, 0, 0)


def test_the_simulators_login_needs_nothing_secret() -> None:
    session = SmartApiSession(make_feed(), make_instruments(1), SIMULATOR_SECRETS)
    assert session.headers[0] == "Authorization: Bearer simulator-jwt"


# Another feed --------------------------------------------------------------------------------


def test_a_session_goes_on_from_what_another_one_noted() -> None:
    newest = np.zeros(2, TICK)
    first, second = (
        SmartApiSession(make_feed(), make_instruments(2), SECRETS, newest=newest) for _ in range(2)
    )
    first.on_binary(frame(8, instrument=1), NOW_NS)
    assert newest["seq"].tolist() == [0, 8]
    assert newest["price_e4"].tolist() == [0, 1_000_000]
    again = [second.on_binary(frame(n, instrument=i), NOW_NS) for n, i in ((8, 1), (7, 0), (9, 1))]
    assert [counts(received) for received in again] == [(0, 1, 0), (1, 0, 0), (1, 0, 0)]
