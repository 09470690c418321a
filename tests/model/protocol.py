"""The protocol of pipeline/channels in small programs, and each known way to get it wrong.

Modelled, load by load and store by store:

    RingWriter._publish     claimed = p+n; the slots, their bytes and then their seqs; published
    RingReader.read         copy a batch, look at claimed, drop and count what was overtaken
    Bells.ring, Bell.park   one parked byte and one bell for each reader, one futex
    RingWriter.close        and how a reader finds the end

A record is two words, its seq and another that must hold the same number: a torn one shows.

Not modelled: a reader that attaches to a ring in use, processes that die, and the slice of 50 ms
after which the real wait ends of itself: here a lost wake-up sleeps for ever, which is the point.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """The real protocol; what is passed replaces one decision by a wrong one."""

    claim: Literal["then barrier", "after barrier", "after data"] = "then barrier"
    data_before_published: bool = True
    validate_by: Literal["claimed", "published", "claimed before copy"] = "claimed"
    torn_are_counted: bool = True
    fence_after_published: bool = True
    fence_after_parked: bool = True
    second_look: bool = True
    bell_cleared: Literal[
        "before parked", "before fence", "after fence", "after second look"
    ] = "before parked"
    bell: Literal["constant", "increment", "parked byte"] = "constant"
    parked: Literal["byte each", "shared"] = "byte each"
    wake_is_fence: bool = True


REAL = Protocol()


def ring_memory(readers: Sequence[str]) -> dict[str, int]:
    """Return the words of a ring without slots, and of its readers' table."""
    names = ["claimed", "published", "state", "parked"]
    names += [f"{word} {reader}" for reader in readers for word in ("bell", "parked")]
    return dict.fromkeys(names, 0)


def slots_memory() -> dict[str, int]:
    return {f"{part} {n}": 0 for n in range(SLOTS) for part in ("seq", "rest")}


# The ring ------------------------------------------------------------------------------------


def publish(protocol: Protocol, first: int, count: int) -> Program:
    """Publish the records ``first`` to ``first + count - 1``."""
    seqs = range(first, first + count)
    last = seqs[-1]
    claim: Program = [Store("claimed", last)]
    # store() moves the bytes with the seq that somebody else gave them, then numbers them.
    data: Program = [Store(f"{part} {(s - 1) % SLOTS}", s) for s in seqs for part in PARTS]
    order = {
        "then barrier": [*claim, Barrier(), *data],
        "after barrier": [Barrier(), *claim, *data],
        "after data": [*data, Barrier(), *claim],
    }
    barrier = [Barrier()] if protocol.data_before_published else []
    return [*order[protocol.claim], *barrier, Store("published", last)]


PARTS = ("seq", "rest")


def read(protocol: Protocol, limit: int) -> Program:
    """Read up to ``limit`` records: moves cursor, adds to received and lost, sets rows."""
    copy: Program = []
    for n in range(limit):
        copy.append(When(lambda r, n=n: r["count"] > n, [_copy(n, "seq"), _copy(n, "rest")]))
    validate = "published" if protocol.validate_by == "published" else "claimed"
    early = protocol.validate_by == "claimed before copy"
    look: Program = [Load("claimed", validate)]

    def keep(r: Registers) -> None:
        _keep(r)

    return [
        Load("end", "published"),
        Do(_begin),
        While(
            lambda r: r["rows"] == 0 and r["cursor"] < r["end"],
            [
                Load("claimed", "claimed"),
                Do(_choose(limit)),
                *(look + copy if early else copy + look),
                Do(keep),
            ],
        ),
        Do(_count(protocol)),
    ]
