"""The protocol of pipeline/channels in small programs, and each known way to get it wrong.

Modelled, load by load and store by store:

    RingWriter._publish     claimed = p+n; the slots, their bytes and then their seqs; published
    RingReader.read         copy a batch, look at claimed, drop and count what was overtaken
    Bells.ring, Bell.park   a parked byte, a bell and a futex for each reader

A record is two words, its seq and another that must hold the same number: a torn one shows.

Not modelled: a reader that attaches to a ring in use, processes that die, and the slice of 50 ms
after which the real wait ends of itself: here a lost wake-up sleeps for ever, which is the point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.model.program import (
    Barrier,
    Do,
    Fence,
    Instruction,
    Load,
    LoadAny,
    Registers,
    Store,
    Wait,
    Wake,
    When,
    While,
    Wrong,
)

SLOTS = 2
Program = list[Instruction]


@dataclass(frozen=True)
class Protocol:
    """The real protocol; whatever is passed replaces one decision of it."""

    claim: Literal["before barrier", "behind barrier", "behind data"] = "before barrier"
    barrier_before_published: bool = True
    validated_by: Literal["claimed", "published", "claimed before copy"] = "claimed"
    loss_counted: Literal["by tick", "by lap"] = "by tick"
    fence_behind_published: bool = True
    fence_behind_parked: bool = True
    second_look: bool = True
    bell_cleared: Literal["before parked", "before fence", "before look", "before wait"] = (
        "before parked"
    )
    bell: Literal["constant", "increment", "parked byte"] = "constant"
    parked: Literal["one each", "one for all"] = "one each"
    wake_is_fence: bool = True


# Publish and read ----------------------------------------------------------------------------


def slots() -> dict[str, int]:
    """Return the memory of the slots, before the first record."""
    return {f"{word} {n}": 0 for n in range(SLOTS) for word in ("seq", "rest")}


def publish(protocol: Protocol, first: int, count: int) -> Program:
    """Publish the records ``first`` to ``first + count - 1``."""
    seqs = range(first, first + count)
    claim: Program = [Store("claimed", seqs[-1])]
    data: Program = []
    for seq in seqs:
        data += [Store(f"seq {_slot(seq)}", 0), Store(f"rest {_slot(seq)}", seq)]
    data += [Store(f"seq {_slot(seq)}", seq) for seq in seqs]
    order = {
        "before barrier": [*claim, Barrier(), *data],
        "behind barrier": [Barrier(), *claim, *data],
        "behind data": [*data, Barrier(), *claim],
    }
    barrier: Program = [Barrier()] if protocol.barrier_before_published else []
    return [*order[protocol.claim], *barrier, Store("published", seqs[-1])]


def _slot(seq: int) -> int:
    return (seq - 1) % SLOTS


def read(protocol: Protocol, limit: int) -> Program:
    """Read up to ``limit`` records: sets rows, moves cursor, adds to received and lost."""
    copy: Program = [When(_more_than(n), _copy(n)) for n in range(limit)]
    word = "published" if protocol.validated_by == "published" else "claimed"
    early = protocol.validated_by == "claimed before copy"
    look: Program = [Load("claimed", word)]
    return [
        Load("end", "published"),
        Do(_begin),
        While(
            lambda r: r["rows"] == 0 and r["cursor"] < r["end"],
            [
                Load("claimed", "claimed"),
                Do(lambda r: _choose(r, limit)),
                *([*look, *copy] if early else [*copy, *look]),
                Do(_keep),
            ],
        ),
        Do(lambda r: _count(r, protocol)),
    ]


def _more_than(n: int) -> Callable[[Registers], bool]:
    return lambda r: r["count"] > n


def _copy(n: int) -> Program:
    def place(word: str) -> Callable[[Registers], str]:
        return lambda r: f"{word} {(r['first'] + n) % SLOTS}"

    return [Load(f"seq {n}", place("seq")), Load(f"rest {n}", place("rest"))]


def _begin(r: Registers) -> None:
    r["before"], r["rows"] = r["cursor"], 0


def _choose(r: Registers, limit: int) -> None:
    """Begin with the oldest record that no claim has reached."""
    r["first"] = max(r["cursor"], min(r.pop("claimed") - SLOTS, r["end"]))
    r["count"] = min(r["end"] - r["first"], limit)


def _keep(r: Registers) -> None:
    """Drop the records that a claim has reached meanwhile, and look at the others (P1)."""
    first, count = r.pop("first"), r.pop("count")
    rows = [(r.pop(f"seq {n}"), r.pop(f"rest {n}")) for n in range(count)]
    r["cursor"] = first + count
    torn = max(0, r.pop("claimed") - SLOTS - first)
    r["rows"] = len(rows[torn:])
    for expected, (seq, rest) in list(enumerate(rows, first + 1))[torn:]:
        if seq != rest:
            raise Wrong(f"returned a torn record: seq {seq}, rest {rest}")
        if seq != expected:
            raise Wrong(f"returned record {seq} in place of {expected}")


def _count(r: Registers, protocol: Protocol) -> None:
    lost = r["cursor"] - r.pop("before") - r["rows"]
    r["received"] += r["rows"]
    r["lost"] += min(lost, 1) if protocol.loss_counted == "by lap" else lost
    del r["end"]


# Ring and park -------------------------------------------------------------------------------


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
        Do(_forget),
        Store(parked, 0),
    ]


def _forget(r: Registers) -> None:
    if "heard" in r:
        del r["heard"]
