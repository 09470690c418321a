"""The kinds of fault: what each is and what a script may say about it.

Every fault names its kind and when it happens: ``tick`` (before that tick is sent, 1 for the
first) or ``time`` (before the first tick at or after that time of the recording, IST).
"""

from __future__ import annotations

from typing import Literal, Self, get_args

from pydantic import model_validator

from pipeline.settings import Section
from pipeline.settings.kinds import LocalTime, Number, Switch, Whole, option


class Fault(Section):
    """What every fault has."""

    tick: Whole | None = option("Before this tick is sent, 1 for the first", default=None, ge=1)
    time: LocalTime | None = option(
        'Before the first tick at or after this time of the recording, as "10:15"', default=None
    )
    symbol: str | None = option("Only for the connections that carry this instrument", default=None)
    missed: Whole = option(
        "So many ticks of the recording pass then that nobody is sent", default=0, ge=0
    )

    @model_validator(mode="after")
    def _happens_once(self) -> Self:
        if (self.tick is None) == (self.time is None):
            raise ValueError("a fault has either tick or time")
        return self


class Reset(Fault):
    """The connection is reset: what was on its way is lost."""

    kind: Literal["reset"]


class Fin(Fault):
    """The connection is closed behind everything that was sent, without a close frame."""

    kind: Literal["fin"]


class Close(Fault):
    """A close frame is sent."""

    kind: Literal["close"]
    code: Whole = option("The code of the frame", default=1001, ge=1000, le=4999)
    reason: str = option("Its text", default="made up by the fault script", max_length=120)


class Stall(Fault):
    """Nothing at all is sent, and the connection stays open."""

    kind: Literal["stall"]
    seconds: Number | None = option(
        "How long; left out, until the client has gone", unit="s", default=None, gt=0
    )


class Heartbeats(Fault):
    """No ticks are sent; heartbeats and answers go on."""

    kind: Literal["heartbeats"]
    seconds: Number | None = option(
        "How long; left out, until the client has gone", unit="s", default=None, gt=0
    )


class Drip(Fault):
    """The next frames come in small pieces."""

    kind: Literal["drip"]
    frames: Whole = option("How many frames", default=3, ge=1)
    bytes: Whole = option("How long a piece is", unit="bytes", default=16, ge=1)
    seconds: Number = option("Pause between two pieces", unit="s", default=0.01, ge=0)


class HalfFrame(Fault):
    """The next frame is cut; its rest comes late, or the connection ends without it."""

    kind: Literal["half_frame"]
    bytes: Whole = option("How long the first piece is", unit="bytes", default=20, ge=1)
    seconds: Number = option("Pause behind it", unit="s", default=0.1, ge=0)
    lost: Switch = option("The rest never comes", default=False)


class Text(Fault):
    """A text frame that means nothing is sent."""

    kind: Literal["text"]
    text: str = option("What it says", default="}{ made up by the fault script")


class Binary(Fault):
    """A binary frame that means nothing is sent."""

    kind: Literal["binary"]
    hex: str = option(
        "Its bytes", default="f700" * 4, pattern="^([0-9a-fA-F]{2})+$", max_length=8_192
    )


class Noise(Fault):
    """Bytes that are no frame are sent, and nothing behind them."""

    kind: Literal["noise"]
    hex: str = option(
        "The bytes", default="f700" * 4, pattern="^([0-9a-fA-F]{2})+$", max_length=8_192
    )


class Http(Fault):
    """The connection is reset, and the next attempts to connect are refused."""

    kind: Literal["http"]
    status: Whole = option("The answer to them: 401, 403, 429, 500, …", ge=400, le=599)
    attempts: Whole = option("How many are refused", default=1, ge=1)


class Expiry(Fault):
    """The connection is reset, and the login's token has become another one."""

    kind: Literal["expiry"]
    token: str = option("What it is then: jwt at SmartAPI, access_token at Kite", min_length=1)


class Unreachable(Fault):
    """The connection is reset, and for a while nobody listens at the port."""

    kind: Literal["unreachable"]
    seconds: Number = option("How long", unit="s", default=1.0, gt=0)


class Repeat(Fault):
    """The last ticks are sent once more."""

    kind: Literal["repeat"]
    ticks: Whole = option("How many", default=1, ge=1, le=1_000)


class Reverse(Fault):
    """The next ticks are sent last one first."""

    kind: Literal["reverse"]
    ticks: Whole = option("How many", default=2, ge=2, le=1_000)


class Silent(Fault):
    """One instrument has no ticks; the others go on."""

    kind: Literal["silent"]
    symbol: str = option("The instrument")
    ticks: Whole = option("For how many ticks of the recording, all instruments'", ge=1)


AnyFault = (
    Reset
    | Fin
    | Close
    | Stall
    | Heartbeats
    | Drip
    | HalfFrame
    | Text
    | Binary
    | Noise
    | Http
    | Expiry
    | Unreachable
    | Repeat
    | Reverse
    | Silent
)
KINDS: dict[str, type[AnyFault]] = {
    get_args(kind.model_fields["kind"].annotation)[0]: kind for kind in get_args(AnyFault)
}
