"""What clients ask the simulator, and what it answers to wrong requests."""

from __future__ import annotations

import json

import pytest

from pipeline.simulator.requests import (
    Request,
    parse_request,
    too_many_frame,
    unknown_tokens_frame,
)

PARAMS = {"mode": 1, "tokenList": [{"exchangeType": 2, "tokens": ["58963", "7"]}]}
REQUEST = {"correlationID": "abc", "action": 1, "params": PARAMS}


def parsed(**changes: object) -> Request:
    request = parse_request(json.dumps(REQUEST | changes))
    assert isinstance(request, Request)
    return request


def error(text: str) -> dict[str, str]:
    answer = parse_request(text)
    assert isinstance(answer, str)
    return json.loads(answer)


@pytest.mark.parametrize(("action", "subscribes"), [(1, True), (0, False)])
def test_a_request_names_mode_and_instruments(action: int, subscribes: bool) -> None:
    request = parsed(action=action)
    assert request.subscribes is subscribes
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
        (json.dumps(REQUEST | {"params": PARAMS | {"mode": 9}}), "params.mode: "),
        (json.dumps(REQUEST | {"params": PARAMS | {"tokenList": [{}]}}), "params.tokenList.0."),
        (json.dumps(REQUEST | {"correlationID": "longer than ten"}), "correlationID: "),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_wrong(text: str, message: str) -> None:
    answer = error(text)
    assert answer["errorCode"] == "E1001"
    assert message in answer["errorMessage"]


def test_snapquotes_are_not_supported_and_the_answer_names_the_request() -> None:
    answer = error(json.dumps(REQUEST | {"params": PARAMS | {"mode": 3}}))
    assert answer == {
        "correlationID": "abc",
        "errorCode": "E1001",
        "errorMessage": "mode 3 is not supported here",
    }


def test_unknown_tokens_are_named_up_to_three() -> None:
    keys = [(2, str(number).encode()) for number in range(5)]
    answer = json.loads(unknown_tokens_frame(parsed(), keys))
    assert answer["errorMessage"] == (
        "not in the recording's instruments: "
        "0 (exchangeType 2), 1 (exchangeType 2), 2 (exchangeType 2) and 2 more"
    )


def test_too_many_tokens_are_counted() -> None:
    answer = json.loads(too_many_frame(parsed(), 1_001))
    assert (answer["correlationID"], answer["errorCode"]) == ("abc", "E1002")
    assert "1001 tokens" in answer["errorMessage"]
