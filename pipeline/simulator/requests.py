"""The text frames of SmartAPI's clients, and what the exchange says to wrong ones. Pure."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from pipeline.brokers.smartapi.wire import MODE_SNAPQUOTE

TOKENS_MAX = 1_000

_INVALID = "E1001"  # the broker's code for a request that it does not understand
_LIMIT = "E1002"  # and for too many subscriptions


class Tokens(BaseModel):
    exchangeType: int
    tokens: list[str]


class Params(BaseModel):
    mode: Literal[1, 2, 3]
    tokenList: list[Tokens]


class Request(BaseModel):
    """Subscribe (action 1) or unsubscribe (0)."""

    correlationID: Annotated[str, Field(max_length=10)] = ""
    action: Literal[0, 1]
    params: Params

    @property
    def subscribes(self) -> bool:
        return self.action == 1

    @property
    def keys(self) -> list[tuple[int, bytes]]:
        """Exchange type and token of every instrument that is named."""
        return [
            (group.exchangeType, token.encode())
            for group in self.params.tokenList
            for token in group.tokens
        ]


def parse_request(text: str) -> Request | str:
    """Return the request in ``text``, or the error frame that answers it."""
    try:
        request = Request.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        return error_frame("", _INVALID, f"{where}: {problem['msg']}".removeprefix(": "))
    if request.params.mode == MODE_SNAPQUOTE:
        return error_frame(request.correlationID, _INVALID, "mode 3 is not supported here")
    return request


def unknown_tokens_frame(request: Request, keys: list[tuple[int, bytes]]) -> str:
    names = ", ".join(f"{token.decode()} (exchangeType {kind})" for kind, token in keys[:3])
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return error_frame(
        request.correlationID, _INVALID, f"not in the recording's instruments: {names}{more}"
    )


def too_many_frame(request: Request, count: int) -> str:
    return error_frame(
        request.correlationID, _LIMIT, f"{count} tokens, a connection carries {TOKENS_MAX}"
    )


def error_frame(correlation_id: str, code: str, message: str) -> str:
    """Return the JSON that the broker answers a wrong request with."""
    return json.dumps({"correlationID": correlation_id, "errorCode": code, "errorMessage": message})
