"""Ringing and parking, the second half of the protocol.

reader   bell = 0 ▸ parked = 1 ▸ fence ▸ look again ▸ FUTEX_WAIT(bell, 0) ▸ parked = 0
writer   publish  ▸ fence ▸ if parked: bell = 1 ▸ FUTEX_WAKE
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.model.program import Do, Fence, Load, LoadAny, Store, Wait, Wake, When
from tests.model.protocol import Program, Protocol, forget


def bells(readers: Sequence[str]) -> dict[str, int]:
    """Return the memory of the parked bytes and the bells of ``readers``."""
    names = [f"{word} {reader}" for reader in readers for word in ("bell", "parked")]
    return dict.fromkeys([*names, "parked all"], 0)


def _parked(protocol: Protocol, reader: str) -> str:
    return "parked all" if protocol.parked == "one for all" else f"parked {reader}"


def ring(protocol: Protocol, readers: Sequence[str]) -> Program:
    """Ring the bells of those of ``readers`` that are parked."""
    everyone = sorted({_parked(protocol, reader) for reader in readers})
    each = [step for reader in readers for step in _ring_one(protocol, reader)]
    fence: Program = [Fence()] if protocol.fence_behind_published else []
    return [*fence, LoadAny("anyone", tuple(everyone)), When(lambda r: r.pop("anyone") > 0, each)]


def _ring_one(protocol: Protocol, reader: str) -> Program:
    bell, parked = f"bell {reader}", _parked(protocol, reader)
    wake = Wake(bell, protocol.wake_is_fence)
    strike: dict[str, Program] = {
        "constant": [Store(bell, 1), wake],
        "increment": [Load("bell", bell), Store(bell, lambda r: r.pop("bell") + 1), wake],
        "parked byte": [Wake(parked)],
    }
    return [Load("parked", parked), When(lambda r: r.pop("parked") > 0, strike[protocol.bell])]


def park(protocol: Protocol, reader: str, look: Program) -> Program:
    """Sleep until rung, unless ``look`` sets the register news to 1."""
    bell, parked = f"bell {reader}", _parked(protocol, reader)
    clear: dict[str, Program] = {
        "constant": [Store(bell, 0)],
        "increment": [Load("heard", bell)],
        "parked byte": [],
    }
    wait: dict[str, Program] = {
        "constant": [Wait(bell, 0)],
        "increment": [Wait(bell, lambda r: r["heard"])],
        "parked byte": [Wait(parked, 1)],
    }
    fence: Program = [Fence()] if protocol.fence_behind_parked else []

    def cleared(place: str) -> Program:
        return clear[protocol.bell] if protocol.bell_cleared == place else []

    return [
        *cleared("before parked"),
        Store(parked, 1),
        *cleared("before fence"),
        *fence,
        *cleared("before look"),
        *(look if protocol.second_look else [Do(lambda r: r.update(news=0))]),
        When(lambda r: r.pop("news") == 0, [*cleared("before wait"), *wait[protocol.bell]]),
        Do(forget("heard")),
        Store(parked, 0),
    ]
