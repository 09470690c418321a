"""A feed that dies at any point, the ones after it, and a reader that follows from ring to ring.

Each life of the feed is a part of one thread, cut where it dies: the lock lets the next one in
only then, and what a dead process stored reaches memory. A ring is four words here: claimed,
published, state, base. Records have no slots: to read is to move the cursor.

What must hold, however often and wherever a feed dies:

H1  the reader gets every record that was published on a ring that it reads
H2  received + lost = claimed: also what was on rings that came and went while it was away
H3  the reader does not sleep while there is a ring to follow to, and ends with the last feed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.model.bells import bells, park, ring
from tests.model.checker import Model, Sleeper
from tests.model.one_writer import FEED, REAL, STRATEGY, words
from tests.model.program import (
    Again,
    Do,
    End,
    Fence,
    Load,
    Registers,
    Rest,
    Store,
    When,
    While,
    always,
)
from tests.model.protocol import CLOSED, OPEN, Program

SUPERSEDED = 3
RING = ("claimed", "published", "state", "base")
READERS = (STRATEGY,)


@dataclass(frozen=True)
class Handover:
    """The real handover; a value that is not the default is another decision, a wrong one."""

    marked: Literal["before rename", "behind rename"] = "before rename"
    called: bool = True  # a new feed rings before it publishes
    drained: Literal["state, then published", "published, then state"] = "state, then published"
    waits_awake: bool = True  # for a ring that is marked as superseded and not replaced yet


REAL_HANDOVER = Handover()


def handover(cuts: Sequence[int], how: Handover = REAL_HANDOVER, records: int = 1) -> Model:
    """Return feeds of which the n-th dies behind ``cuts[n]`` instructions and the last lives on.

    A life publishes ``records``, one by one.
    """
    lives = [*cuts, None]
    feed: Program = []
    for n, cut in enumerate(lives, start=1):
        feed += [*_life(n, how, records)[:cut], Fence()]
    names = [f"{word} {n}" for n in range(len(lives) + 1) for word in RING]
    memory = words("path", *names) | bells(READERS)
    sleepers = {STRATEGY: Sleeper(_has_news, (FEED,))}
    programs = {FEED: feed, STRATEGY: _reader(how)}
    return Model(memory, programs, sleepers, {STRATEGY: _has_all})


def length_of_life(records: int) -> int:
    """Return how many instructions a feed has before it closes: it can die behind each."""
    return len(_life(1, REAL_HANDOVER, records)) - len(_close(1))


def _life(n: int, how: Handover, records: int) -> Program:
    """Create ring ``n`` where another one may stand, publish, close."""
    mark: Program = [
        When(lambda r: r["old"] > 0, [Store(lambda r: f"state {r['old']}", SUPERSEDED), Fence()])
    ]
    rename: Program = [Store("path", n), Fence()]
    return [
        Load("old", "path"),
        Load("base", lambda r: f"claimed {r['old']}"),
        Store(f"base {n}", lambda r: r["base"]),
        Store(f"claimed {n}", lambda r: r["base"]),
        Store(f"published {n}", lambda r: r["base"]),
        *(mark + rename if how.marked == "before rename" else rename + mark),
        *(ring(REAL, READERS) if how.called else []),
        *(step for record in range(1, records + 1) for step in _publish(n, record)),
        *_close(n),
    ]


def _close(n: int) -> Program:
    return [Rest(), Store(f"state {n}", CLOSED), *ring(REAL, READERS), Do(lambda r: r.clear())]


def _publish(n: int, record: int) -> Program:
    return [
        Rest(),
        Store(f"claimed {n}", lambda r: r["base"] + record),
        Store(f"published {n}", lambda r: r["base"] + record),
        *ring(REAL, READERS),
    ]


def _reader(how: Handover) -> Program:
    return [
        Do(lambda r: r.update(epoch=0)),
        While(lambda r: r["epoch"] == 0, [Load("epoch", "path")]),  # wait_for_owner()
        Load("cursor", lambda r: f"base {r['epoch']}"),
        Do(lambda r: r.update(first=r["epoch"], rings=1 << r["epoch"])),
        Do(lambda r: r.update(received=0, lost=0, waits=0)),
        While(
            always,
            [
                Load("end", _published),
                Do(_take),
                When(lambda r: r.pop("rows") > 0, [Again()]),
                *_end_or_follow(how),
                *park(REAL, STRATEGY, _ready(how)),
            ],
        ),
    ]


def _published(r: Registers) -> str:
    return f"published {r['epoch']}"


def _state(r: Registers) -> str:
    return f"state {r['epoch']}"


def _take(r: Registers) -> None:
    r["rows"] = r.pop("end") - r["cursor"]
    r["cursor"] += r["rows"]
    r["received"] += r["rows"]


def _end_or_follow(how: Handover) -> Program:
    """RingReader.ended, RingReader.superseded, RingReader.follow."""
    look: Program = [Load("state", _state), Load("end", _published)]
    if how.drained != "state, then published":
        look.reverse()
    return [
        *look,
        Do(lambda r: r.update(over=r.pop("state") if r.pop("end") == r["cursor"] else OPEN)),
        When(lambda r: r["over"] == CLOSED, [End()]),
        When(
            lambda r: r.pop("over") == SUPERSEDED,
            [
                Load("next", "path"),
                When(lambda r: r["next"] != r["epoch"], [*_FOLLOW, Again()]),
                Do(lambda r: r.update(waits=r.pop("next") and 1)),
            ],
        ),
    ]


def _go_on(r: Registers) -> None:
    r["lost"] += r["base"] - r["cursor"]
    r["cursor"] = r.pop("base")
    r["epoch"] = r.pop("next")
    r["rings"] |= 1 << r["epoch"]
    r["waits"] = 0


_FOLLOW: Program = [Load("base", lambda r: f"base {r['next']}"), Do(_go_on)]


def _ready(how: Handover) -> Program:
    """RingReader.ready: a superseded ring is news, also while its successor is not there yet."""
    asleep: Program = [When(lambda r: r["waits"] == 1, [Do(lambda r: r.update(news=0))])]
    return [
        Load("news", _published),
        Do(lambda r: r.update(news=int(r["news"] != r["cursor"]))),
        When(
            lambda r: r["news"] == 0,
            [Load("news", _state), *([] if how.waits_awake else asleep)],
        ),
    ]


def _has_news(m: Mapping[str, int], r: Registers) -> bool:
    return m[_published(r)] != r["cursor"] or m[_state(r)] == CLOSED or m["path"] != r["epoch"]


def _has_all(m: Mapping[str, int], r: Registers) -> bool:
    last = m["path"]
    read = (n for n in range(1, last + 1) if r["rings"] & 1 << n)
    return (
        r["epoch"] == last
        and r["received"] + r["lost"] == m[f"claimed {last}"] - m[f"base {r['first']}"]
        and r["received"] == sum(m[f"published {n}"] - m[f"base {n}"] for n in read)
    )
