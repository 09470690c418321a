"""The protocol of pipeline/channels in small programs, and each known way to get it wrong.

What is modelled, load by load and store by store:

    RingWriter._publish     claimed; the slots, first all bytes and then the seqs; published
    RingReader.read         copy a batch, look at claimed, drop and count what was overtaken
    CellReader.latest       copy the newest record, look at claimed, try again
    Bells.ring, Bell.park   a parked byte, a bell and a futex for each reader (bells.py)

A record is two words, its seq and another that must hold the same number: a torn one shows. The
ring has two slots, so that the third record overtakes the first.

What is not modelled: a reader that attaches to a ring in use, processes that die, a state other
than open and closed. The slice of 50 ms after which the real wait ends of itself is left out too,
so that a lost wake-up sleeps for ever; Model.waits_end puts it back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.model.program import (
    Barrier,
    Do,
    Instruction,
    Load,
    Registers,
    Store,
    When,
    While,
    Wrong,
)

SLOTS = 2
OPEN, CLOSED = 0, 1
Program = list[Instruction]


@dataclass(frozen=True)
class Protocol:
    """The real protocol; a value that is not the default is another decision, often wrong.

    ``claim``: "behind barrier" is a release store. ``bell``: "increment" waits for a change from
    what was heard before parking; "parked byte" waits on a word that no writer changes.
    ``wake_is_fence`` is for the kernel to decide.
    """

    claim: Literal["before barrier", "behind barrier", "behind data"] = "before barrier"
    barrier_before_published: bool = True
    barrier_before_closed: bool = True
    validated_by: Literal["claimed", "published", "claimed before copy"] = "claimed"
    cell_behind_max: int = SLOTS - 1  # how far claimed may be ahead of a record that is whole
    copied: Literal["forwards", "backwards"] = "forwards"  # either is right
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


def slots() -> dict[str, int]:
    """Return the memory of the slots before the first record."""
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


def close(protocol: Protocol) -> Program:
    barrier: Program = [Barrier()] if protocol.barrier_before_closed else []
    return [*barrier, Store("state", CLOSED)]


def read(protocol: Protocol, limit: int) -> Program:
    """Read up to ``limit`` records: sets rows, moves cursor, adds to received and lost."""
    copy: Program = [When(_more_than(n), _copy(protocol, n)) for n in range(limit)]
    if protocol.copied == "backwards":
        copy.reverse()
    word = "published" if protocol.validated_by == "published" else "claimed"
    early = protocol.validated_by == "claimed before copy"
    look: Program = [Load("claimed", word)]
    attempt: Program = [
        Load("claimed", "claimed"),
        Do(lambda r: _choose(r, limit)),
        *([*look, *copy] if early else [*copy, *look]),
        Do(_keep),
    ]
    return [
        Load("end", "published"),
        Do(_begin),
        While(lambda r: r["rows"] == 0 and r["cursor"] < r["end"], attempt),
        Do(lambda r: _count(r, protocol)),
    ]


def _more_than(n: int) -> Callable[[Registers], bool]:
    return lambda r: r["count"] > n


def _copy(protocol: Protocol, n: int) -> Program:
    """Copy the record ``n`` behind the register first, 0 for the first."""

    def place(word: str) -> Callable[[Registers], str]:
        return lambda r: f"{word} {(r['first'] + n) % SLOTS}"

    words: Program = [Load(f"seq {n}", place("seq")), Load(f"rest {n}", place("rest"))]
    return words if protocol.copied == "forwards" else words[::-1]


def _begin(r: Registers) -> None:
    r["before"], r["rows"] = r["cursor"], 0


def _choose(r: Registers, limit: int) -> None:
    """Begin with the oldest record that no claim has reached."""
    r["first"] = max(r["cursor"], min(r.pop("claimed") - SLOTS, r["end"]))
    r["count"] = min(r["end"] - r["first"], limit)


def _keep(r: Registers) -> None:
    """Drop the records that a claim has reached meanwhile, and look at the others."""
    first, count = r.pop("first"), r.pop("count")
    rows = [(r.pop(f"seq {n}"), r.pop(f"rest {n}")) for n in range(count)]
    r["cursor"] = first + count
    torn = max(0, r.pop("claimed") - SLOTS - first)
    r["rows"] = len(rows[torn:])
    for expected, (seq, rest) in list(enumerate(rows, first + 1))[torn:]:
        _must_be(expected, seq, rest)


def _must_be(expected: int, seq: int, rest: int) -> None:
    if seq != rest:
        raise Wrong(f"returns a torn record: seq {seq}, rest {rest}")
    if seq != expected:
        raise Wrong(f"returns record {seq} in place of {expected}")


def _count(r: Registers, protocol: Protocol) -> None:
    lost = r["cursor"] - r.pop("before") - r["rows"]
    r["received"] += r["rows"]
    r["lost"] += min(lost, 1) if protocol.loss_counted == "by lap" else lost
    del r["end"]


def latest(protocol: Protocol) -> Program:
    """Read the newest record, if there is one behind the register seen."""

    def start(r: Registers) -> None:
        r["first"] = r["end"] - 1

    def keep(r: Registers) -> None:
        seq, rest = r.pop("seq 0"), r.pop("rest 0")
        if r.pop("claimed") <= r["end"] + protocol.cell_behind_max:
            _must_be(r["end"], seq, rest)
            r["seen"] = r["end"]

    attempt: Program = [Do(start), *_copy(protocol, 0), Load("claimed", "claimed"), Do(keep)]
    again = When(lambda r: r["seen"] != r["end"], [Load("end", "published")])
    return [
        Load("end", "published"),
        While(lambda r: r["seen"] != r["end"], [*attempt, again]),
        Do(forget("end", "first")),
    ]


def forget(*names: str) -> Callable[[Registers], None]:
    def change(r: Registers) -> None:
        for name in names:
            r.pop(name, None)

    return change
