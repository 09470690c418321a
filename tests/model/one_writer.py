"""A feed and those who read its ring; a cell and those who read that.

What must hold:

P1  no reader returns a torn record, nor another than the next
P2  at the end received + lost = published, for each reader
P3  no reader sleeps with something to read while its writer rests: no wake-up would come
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.model.bells import bells, park, ring
from tests.model.checker import Model, Sleeper
from tests.model.program import (
    Again,
    Do,
    End,
    Load,
    Registers,
    Rest,
    Store,
    When,
    While,
    always,
)
from tests.model.protocol import (
    OPEN,
    Program,
    Protocol,
    close,
    latest,
    publish,
    read,
    slots,
)

FEED, STRATEGY, RISK = "feed", "strategy", "risk"
REAL = Protocol()


def words(*names: str) -> dict[str, int]:
    return dict.fromkeys(names, 0)


def one_writer(
    protocol: Protocol = REAL,
    *,
    batches: Sequence[int] = (1, 1, 1),
    readers: Sequence[str] = (STRATEGY, RISK),
    limit: int = 0,
    parking: bool = True,
) -> Model:
    """A feed that publishes ``batches`` and closes; readers that read up to ``limit`` at once.

    With a limit of 0 records have no slots: to read is to move the cursor. Readers that are not
    ``parking`` poll, and then the feed has no bells.
    """
    programs = {FEED: feed(protocol, batches, readers if parking else (), bool(limit))}
    for reader in readers:
        programs[reader] = _ring_reader(protocol, reader, limit, parking)
    memory = words("claimed", "published", "state")
    memory |= (slots() if limit else {}) | (bells(readers) if parking else {})
    sleepers = dict.fromkeys(readers, Sleeper(ring_has_news, (FEED,)))
    return Model(memory, programs, sleepers, dict.fromkeys(readers, ring_was_read))


def feed(protocol: Protocol, batches: Sequence[int], readers: Sequence[str], data: bool) -> Program:
    program: Program = []
    for n, count in enumerate(batches):
        first = sum(batches[:n]) + 1
        last = first + count - 1
        program += [Rest()] if readers else []
        program += publish(protocol, first, count) if data else [Store("published", last)]
        program += ring(protocol, readers) if readers else []
    program += [Rest()] if readers else []
    return [*program, *close(protocol), *(ring(protocol, readers) if readers else [])]


def _ring_reader(protocol: Protocol, reader: str, limit: int, parking: bool) -> Program:
    """The duty cycle of a process that reads a ring."""
    return [
        Do(lambda r: r.update(cursor=0, received=0, lost=0)),
        While(
            always,
            [
                *(read(protocol, limit) if limit else READ_COUNT),
                When(lambda r: r.pop("rows") > 0, [Again()]),
                *end_of_ring([End()]),
                *(park(protocol, reader, RING_READY) if parking else []),
            ],
        ),
    ]


def _take_count(r: Registers) -> None:
    r["rows"] = r.pop("end") - r["cursor"]
    r["cursor"] += r["rows"]
    r["received"] += r["rows"]


READ_COUNT: Program = [Load("end", "published"), Do(_take_count)]

# RingReader.ready
RING_READY: Program = [
    Load("news", "published"),
    Do(lambda r: r.update(news=int(r["news"] != r["cursor"]))),
    When(lambda r: r["news"] == 0, [Load("news", "state")]),
]


def ring_has_news(m: Mapping[str, int], r: Registers) -> bool:
    return m["published"] != r["cursor"] or m["state"] != OPEN


def ring_was_read(m: Mapping[str, int], r: Registers) -> bool:
    return m["published"] == r["received"] + r["lost"]


def end_of_ring(then: Program) -> Program:
    """RingReader.ended."""
    at_end = When(lambda r: r.pop("end") == r["cursor"], then)
    return [
        Load("state", "state"),
        When(lambda r: r.pop("state") != OPEN, [Load("end", "published"), at_end]),
    ]


def cell(protocol: Protocol = REAL, *, records: int = 4, readers: int = 2) -> Model:
    """A cell that is written ``records`` times, and readers that look at it until the last."""
    memory = words("claimed", "published") | slots()
    writer = [step for n in range(records) for step in publish(protocol, n + 1, 1)]
    reader: Program = [
        Do(lambda r: r.update(seen=0)),
        While(lambda r: r["seen"] < records, latest(protocol)),
    ]
    programs = {FEED: writer} | {f"reader {n}": reader for n in range(readers)}
    return Model(memory, programs)
