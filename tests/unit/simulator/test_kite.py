"""Kite's side as the simulator plays it: logins, requests, snapshots, frames."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.brokers.kite.session import login_query
from pipeline.brokers.kite.tokens import Tokens
from pipeline.brokers.kite.wire import decode
from pipeline.errors import SettingsError, TickFileError
from pipeline.settings import SIMULATOR_SECRETS
from pipeline.simulator.dialect import Answer, Modes
from pipeline.simulator.kite import KiteDialect
from pipeline.testing import make_instrument, make_ticks

NFO, NSE, NIFTY_50 = 58963 << 8 | 2, 738561, 256265
INSTRUMENTS = [
    make_instrument(symbol="A", exchange="NFO", token=str(NFO)),
    make_instrument(symbol="B", exchange="NSE", token=str(NSE)),
    make_instrument(symbol="C", exchange="NSE", token=str(NIFTY_50)),
]
SIZES = {"ltp": (8, 8, 8), "quote": (44, 44, 28), "full": (184, 184, 32)}


def make_day() -> NDArray[np.void]:
    """Return 12 ticks at 100, 101, … ₹; C comes once, A and B in turn but for one A more."""
    ticks = make_ticks([100.0 + n for n in range(12)])
    ticks["instrument"] = [0, 1, 0, 0, 1, 2, 0, 1, 0, 1, 0, 1]
    return ticks


def make_dialect() -> KiteDialect:
    return KiteDialect(make_day(), INSTRUMENTS)


def asking(action: str, *tokens: int) -> str:
    return json.dumps({"a": action, "v": tokens})


def setting(mode: str, *tokens: int) -> str:
    return json.dumps({"a": "mode", "v": [mode, tokens]})


def answer(text: str, modes: Modes, position: int = 0) -> Answer:
    return make_dialect().answer(text, modes, position)


def rupees(frame: bytes) -> list[int]:
    ticks, refused, skipped = decode(frame, Tokens(INSTRUMENTS), 0)
    assert (refused, skipped) == (0, 0)
    return [int(price) // 10_000 for price in ticks["price_e4"]]


# Login ---------------------------------------------------------------------------------------


def test_the_simulators_login_is_taken() -> None:
    assert make_dialect().refusal({}, login_query(SIMULATOR_SECRETS)) is None


@pytest.mark.parametrize("name", ["api_key", "access_token"])
@pytest.mark.parametrize("value", [None, "", "yesterdays", "größe", "\udce9"])
def test_a_wrong_or_missing_login_is_403(name: str, value: str | None) -> None:
    query = {key: text for key, text in login_query(SIMULATOR_SECRETS).items() if key != name}
    if value is not None:
        query[name] = value
    refusal = make_dialect().refusal({}, query)
    assert refusal is not None
    assert refusal.status == 403
    assert refusal.body["error_type"] == "TokenException"
    assert refusal.body["message"] == f"{name} is missing or wrong"


def test_a_renewed_token_is_taken_and_the_one_before_no_longer() -> None:
    dialect = make_dialect()
    dialect.renew("todays")
    login = login_query(SIMULATOR_SECRETS)
    assert dialect.refusal({}, login | {"access_token": "todays"}) is None
    refusal = dialect.refusal({}, login)
    assert refusal is not None
    assert refusal.why == "access_token is missing or wrong"


# Requests ------------------------------------------------------------------------------------


def test_subscribing_gives_quote_and_a_mode_changes_it() -> None:
    modes: Modes = {}
    assert answer(asking("subscribe", NFO, NIFTY_50), modes) == ((), ())
    assert modes == {0: "quote", 2: "quote"}
    assert answer(setting("full", NFO), modes) == ((), ())
    assert modes == {0: "full", 2: "quote"}
    assert answer(asking("subscribe", NFO), modes) == ((), ())
    assert modes == {0: "full", 2: "quote"}  # subscribing again changes nothing
    assert answer(asking("unsubscribe", NFO, NSE), modes) == ((), ())
    assert modes == {2: "quote"}


def test_a_mode_of_what_is_not_subscribed_is_no_subscription() -> None:
    modes: Modes = {}
    assert answer(setting("ltp", NFO), modes, position=9) == ((), ())
    assert modes == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "Invalid JSON"),
        ("[]", "Input should be"),
        ("{}", "Unable to extract tag"),
        ('{"a":"order","v":[1]}', "found using 'a' does not match"),
        ('{"a":"subscribe","v":["x"]}', "subscribe.v.0: "),
        ('{"a":"subscribe"}', "subscribe.v: Field required"),
        ('{"a":"mode","v":["half",[1]]}', "mode.v.0: "),
        ('{"a":"mode","v":["full"]}', "mode.v.1: "),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_wrong(text: str, message: str) -> None:
    modes: Modes = {}
    ((told,), snapshots) = answer(text, modes)
    assert json.loads(told)["type"] == "error"
    assert message in json.loads(told)["data"]
    assert (modes, snapshots) == ({}, ())


def test_unknown_tokens_are_named_up_to_three_and_the_known_ones_are_served() -> None:
    modes: Modes = {}
    ((told,), _) = answer(asking("subscribe", 1, NFO, 2, 3, 4, 5), modes)
    assert json.loads(told) == {
        "type": "error",
        "data": "not in the recording's instruments: 1, 2, 3 and 2 more",
    }
    assert modes == {0: "quote"}


def test_too_many_tokens_are_counted_and_none_is_subscribed() -> None:
    tokens = [n << 8 | 2 for n in range(3_001)]
    instruments = [make_instrument(symbol=str(token), token=str(token)) for token in tokens]
    modes: Modes = {}
    dialect = KiteDialect(make_ticks([1.0]), instruments)
    ((told,), _) = dialect.answer(asking("subscribe", *tokens), modes, 0)
    assert json.loads(told)["data"] == "3001 tokens, a connection carries 3000"
    assert modes == {}
    assert dialect.answer(asking("subscribe", *tokens[1:]), modes, 0).texts == ()


# Snapshots -----------------------------------------------------------------------------------


def test_subscribing_is_answered_with_the_newest_tick_of_each() -> None:
    modes: Modes = {}
    (_, ((frame, places),)) = answer(asking("subscribe", NFO, NSE, NIFTY_50), modes, position=4)
    assert rupees(frame) == [103, 101]  # of C there has been none
    assert places == (3, 1)
    assert len(frame) == 2 + 2 * (2 + 44)
    (_, ((frame, _),)) = answer(setting("full", NIFTY_50, NFO, NFO), modes, position=12)
    assert rupees(frame) == [105, 110]
    assert len(frame) == 2 + (2 + 32) + (2 + 184)


def test_before_the_first_tick_there_is_no_snapshot() -> None:
    assert answer(asking("subscribe", NFO, NSE), {}, position=0).snapshots == ()


# Frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["ltp", "quote", "full"])
def test_a_frame_goes_on_until_an_instrument_comes_again(mode: str) -> None:
    modes = dict.fromkeys(range(3), mode)
    frames = list(make_dialect().frames(modes, 0, 12))
    assert [rupees(frame) for frame, _ in frames] == [
        [100, 101],
        [102],
        [103, 104, 105],
        [106, 107],
        [108, 109],
        [110, 111],
    ]
    assert [position for _, position in frames] == [2, 3, 6, 8, 10, 12]
    a, b, c = SIZES[mode]
    assert len(frames[2][0]) == 2 + 2 + a + 2 + b + 2 + c


def test_only_what_is_wanted_is_sent_in_its_own_mode() -> None:
    frames = list(make_dialect().frames({1: "ltp", 2: "full"}, 0, 12))
    assert [rupees(frame) for frame, _ in frames] == [[101], [104, 105], [107], [109], [111]]
    assert len(frames[1][0]) == 2 + (2 + 8) + (2 + 32)
    assert list(make_dialect().frames({}, 0, 12)) == []


# What cannot be played -----------------------------------------------------------------------


def test_what_a_packet_cannot_hold_is_refused() -> None:
    with pytest.raises(TickFileError, match=r"tick 2 has the price 88\.4125 ₹"):
        KiteDialect(make_ticks([88.41, 88.4125]), INSTRUMENTS)
    ticks = make_ticks([88.41])
    ticks["day_volume"] = 2**32
    with pytest.raises(TickFileError, match=r"day volume 4294967296\n.*volumes below 2³²"):
        KiteDialect(ticks, INSTRUMENTS)


def test_another_brokers_tokens_are_refused() -> None:
    with pytest.raises(SettingsError, match="token 58963 is no instrument_token of NFO"):
        KiteDialect(make_ticks([88.41]), [make_instrument(token="58963")])
