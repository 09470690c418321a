"""SmartAPI's side as the simulator plays it: logins, requests, answers, frames."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pipeline.brokers.smartapi.session import auth_headers
from pipeline.brokers.smartapi.wire import decode
from pipeline.errors import TickFileError
from pipeline.settings import SIMULATOR_SECRETS
from pipeline.simulator.dialect import Modes
from pipeline.simulator.smartapi import Request, SmartApiDialect, parse_request
from pipeline.testing import make_instrument, make_ticks

INSTRUMENTS = [
    make_instrument(symbol="A", exchange="NFO", token="58963"),
    make_instrument(symbol="B", exchange="NSE", token="2885"),
]
INSTRUMENT_OF = {(2, b"58963"): 0, (1, b"2885"): 1}
PARAMS = {"mode": 1, "tokenList": [{"exchangeType": 2, "tokens": ["58963", "7"]}]}
REQUEST = {"correlationID": "abc", "action": 1, "params": PARAMS}


def make_dialect() -> SmartApiDialect:
    ticks = make_ticks([100 + n / 20 for n in range(10)])
    ticks["instrument"] = np.arange(10) % 2
    return SmartApiDialect(ticks, INSTRUMENTS)


def answered(text: str, modes: Modes | None = None) -> tuple[str, ...]:
    answer = make_dialect().answer(text, {} if modes is None else modes, 0)
    assert answer.snapshots == ()
    return answer.texts


def error(text: str) -> dict[str, str]:
    (answer,) = answered(text)
    found: dict[str, str] = json.loads(answer)
    return found


def asking(action: int, *tokens: str, mode: int = 1, kind: int = 2) -> str:
    params = {"mode": mode, "tokenList": [{"exchangeType": kind, "tokens": list(tokens)}]}
    return json.dumps({"correlationID": "abc", "action": action, "params": params})


# Login ---------------------------------------------------------------------------------------


def test_the_simulators_login_is_taken() -> None:
    assert make_dialect().refusal(auth_headers(SIMULATOR_SECRETS), {}) is None


@pytest.mark.parametrize("name", auth_headers(SIMULATOR_SECRETS))
@pytest.mark.parametrize("value", [None, "", "wrong", "größe"])
def test_a_wrong_or_missing_header_is_401(name: str, value: str | None) -> None:
    headers = {key: text for key, text in auth_headers(SIMULATOR_SECRETS).items() if key != name}
    if value is not None:
        headers[name] = value
    refusal = make_dialect().refusal(headers, {})
    assert refusal is not None
    assert refusal.status == 401
    assert refusal.body == {"errorCode": "AG8001", "message": f"{name} is missing or wrong"}


def test_a_renewed_token_is_taken_and_the_one_before_no_longer() -> None:
    dialect = make_dialect()
    dialect.renew("todays")
    login = auth_headers(SIMULATOR_SECRETS)
    assert dialect.refusal(login | {"Authorization": "Bearer todays"}, {}) is None
    refusal = dialect.refusal(login, {})
    assert refusal is not None
    assert refusal.why == "Authorization is missing or wrong"


# Requests ------------------------------------------------------------------------------------


def test_a_ping_is_answered() -> None:
    assert answered("ping") == ("pong",)


def test_a_request_names_mode_and_instruments() -> None:
    request = parse_request(json.dumps(REQUEST))
    assert isinstance(request, Request)
    assert request.params.mode == 1
    assert request.keys == [(2, b"58963"), (2, b"7")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "Invalid JSON"),
        ("[1", "Invalid JSON"),
        ("[]", "Input should be an object"),
        ("{}", "action: Field required"),
        (json.dumps(REQUEST | {"action": 2}), "action: Input should be 0 or 1"),
        (json.dumps(REQUEST | {"params": None}), "params: "),
        (json.dumps(REQUEST | {"params": PARAMS | {"mode": 4}}), "params.mode: "),
        (json.dumps(REQUEST | {"params": PARAMS | {"tokenList": [{}]}}), "params.tokenList.0."),
        (json.dumps(REQUEST | {"correlationID": "longer than ten"}), "correlationID: "),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_wrong(text: str, message: str) -> None:
    answer = error(text)
    assert answer["errorCode"] == "E1001"
    assert message in answer["errorMessage"]


@pytest.mark.parametrize(("number", "mode"), [(1, "ltp"), (2, "quote"), (3, "full")])
def test_subscribing_sets_the_mode_and_unsubscribing_takes_it_away(number: int, mode: str) -> None:
    modes: Modes = {}
    assert answered(asking(1, "58963", mode=number), modes) == ()
    assert answered(asking(1, "2885", kind=1), modes) == ()
    assert modes == {0: mode, 1: "ltp"}
    assert answered(asking(0, "58963", mode=number), modes) == ()
    assert modes == {1: "ltp"}


def test_unknown_tokens_are_named_up_to_three_and_the_known_ones_are_served() -> None:
    modes: Modes = {}
    (answer,) = answered(asking(1, "0", "58963", "1", "2", "3", "4"), modes)
    assert json.loads(answer) == {
        "correlationID": "abc",
        "errorCode": "E1001",
        "errorMessage": "not in the recording's instruments: "
        "0 (exchangeType 2), 1 (exchangeType 2), 2 (exchangeType 2) and 2 more",
    }
    assert modes == {0: "ltp"}


def test_too_many_tokens_are_counted_and_none_is_subscribed() -> None:
    instruments = [make_instrument(symbol=str(n), token=str(n)) for n in range(1_001)]
    dialect = SmartApiDialect(make_ticks([1.0]), instruments)
    modes: Modes = {}
    (text,) = dialect.answer(asking(1, *map(str, range(1_001))), modes, 0).texts
    answer = json.loads(text)
    assert (answer["correlationID"], answer["errorCode"]) == ("abc", "E1002")
    assert "1001 tokens" in answer["errorMessage"]
    assert modes == {}


# Frames --------------------------------------------------------------------------------------


def test_every_tick_that_is_wanted_is_one_frame() -> None:
    modes: Modes = {0: "full", 1: "ltp"}
    found: list[Any] = []
    for frame, position in make_dialect().frames(modes, 2, 9):
        decoded = decode(frame, INSTRUMENT_OF, 0)
        assert decoded is not None
        found.append((decoded.sequence, position, decoded.instrument, len(frame)))
        if position == 6:
            del modes[1]
    assert found == [
        (3, 3, 0, 379),
        (4, 4, 1, 51),
        (5, 5, 0, 379),
        (6, 6, 1, 51),
        (7, 7, 0, 379),
        (9, 9, 0, 379),
    ]


def test_a_price_that_a_packet_cannot_hold_is_refused() -> None:
    with pytest.raises(TickFileError, match=r"tick 2 has the price 88\.4125 ₹"):
        SmartApiDialect(make_ticks([88.41, 88.4125]), INSTRUMENTS)
