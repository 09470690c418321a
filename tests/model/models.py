"""Who talks to whom, and what must hold there.

    one_writer    a feed and its readers, records and bells
    two_writers   a feed and a strategy that ring the one bell of risk, the first for the ring,
                  the second for the queue
    whole_line    feed, strategy and risk as line.py joins them, running freely or in lockstep

P1  no reader returns a torn record, nor another than the next
P2  at the end received + lost = published, for each reader
P3  no reader sleeps while there is something for it and no wake-up is on its way. The quiet
    states are asked: in no other is it certain that nothing will wake it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tests.model.checker import Model, Quiet
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
from tests.model.protocol import Program, Protocol, bells, park, publish, read, ring, slots

FEED, STRATEGY, RISK = "feed", "strategy", "risk"
OPEN, CLOSED = 0, 1
REAL = Protocol()
Asked = Callable[[Mapping[str, int], Registers], bool]


class Reader(NamedTuple):
    """What is asked of a reader, of memory and its registers."""

    has_news: Asked  # while it sleeps
    has_all: Asked  # when it has ended


def _judge(readers: Mapping[str, Reader]) -> Callable[[Quiet], str | None]:
    def wrong(quiet: Quiet) -> str | None:
        for name, registers in quiet.asleep.items():
            if readers[name].has_news(quiet.memory, registers):
                return f"{name} sleeps with news and nobody wakes it"
        for name, registers in quiet.ended.items():
            if name in readers and not readers[name].has_all(quiet.memory, registers):
                return f"{name} ended with {registers} of {quiet.memory['published']}"
        return None

    return wrong


def _words(*names: str) -> dict[str, int]:
    return dict.fromkeys(names, 0)


# One writer and its readers ------------------------------------------------------------------


def one_writer(
    protocol: Protocol = REAL,
    *,
    batches: Sequence[int] = (1, 1, 1),
    readers: Sequence[str] = (STRATEGY, RISK),
    limit: int = 0,
    parking: bool = True,
    ordered: bool = True,
) -> Model:
    """A feed that publishes ``batches`` and closes; readers that read up to ``limit`` at once.

    With a limit of 0 records have no slots: to read is to move the cursor. Readers that are not
    ``parking`` poll, and then the feed has no bells.
    """
    programs = {FEED: _feed(protocol, batches, readers if parking else (), bool(limit))}
    for reader in readers:
        programs[reader] = _ring_reader(protocol, reader, limit, parking)
    memory = _words("claimed", "published", "state")
    memory |= (slots() if limit else {}) | (bells(readers) if parking else {})
    return Model(memory, programs, _judge(dict.fromkeys(readers, _RING_IS_ASKED)), ordered)


def _feed(
    protocol: Protocol, batches: Sequence[int], readers: Sequence[str], data: bool
) -> Program:
    program: Program = []
    for n, count in enumerate(batches):
        first = sum(batches[:n]) + 1
        last = first + count - 1
        program += [Rest()] if readers else []
        program += publish(protocol, first, count) if data else [Store("published", last)]
        program += ring(protocol, readers) if readers else []
    program += [Rest()] if readers else []
    return [*program, Store("state", CLOSED), *(ring(protocol, readers) if readers else [])]


def _ring_reader(protocol: Protocol, reader: str, limit: int, parking: bool) -> Program:
    """The duty cycle of a process that reads a ring."""
    return [
        Do(lambda r: r.update(cursor=0, received=0, lost=0)),
        While(
            always,
            [
                *(read(protocol, limit) if limit else _READ_COUNT),
                When(lambda r: r.pop("rows") > 0, [Again()]),
                *_end_of_ring([End()]),
                *(park(protocol, reader, _RING_READY) if parking else []),
            ],
        ),
    ]


def _take_count(r: Registers) -> None:
    r["rows"] = r.pop("end") - r["cursor"]
    r["cursor"] += r["rows"]
    r["received"] += r["rows"]


_READ_COUNT: Program = [Load("end", "published"), Do(_take_count)]

# RingReader.ready
_RING_READY: Program = [
    Load("news", "published"),
    Do(lambda r: r.update(news=int(r["news"] != r["cursor"]))),
    When(lambda r: r["news"] == 0, [Load("news", "state")]),
]


_RING_IS_ASKED = Reader(
    has_news=lambda m, r: m["published"] != r["cursor"] or m["state"] != OPEN,
    has_all=lambda m, r: m["published"] == r["received"] + r["lost"],
)


def _end_of_ring(then: Program) -> Program:
    """RingReader.ended."""
    at_end = When(lambda r: r.pop("end") == r["cursor"], then)
    return [
        Load("state", "state"),
        When(lambda r: r.pop("state") != OPEN, [Load("end", "published"), at_end]),
    ]


# The line ------------------------------------------------------------------------------------


def two_writers(
    protocol: Protocol = REAL, *, ticks: int = 2, signals: int = 2, ordered: bool = True
) -> Model:
    """Risk, and the two that ring it: the feed for each tick, the strategy for each signal.

    The strategy reads nothing here, so that its signals come at any time.
    """
    programs = {
        FEED: _counter(protocol, "published", ticks),
        STRATEGY: _counter(protocol, "signals", signals),
        RISK: _risk(protocol, lockstep=False),
    }
    memory = _words("published", "signals", "state", "gone") | bells((RISK,))
    return Model(memory, programs, _judge({RISK: _risk_is_asked(False)}), ordered)


def whole_line(
    protocol: Protocol = REAL, *, ticks: int = 2, lockstep: bool = False, ordered: bool = True
) -> Model:
    """Feed, strategy and risk from the first tick to the end; a signal for each tick.

    In lockstep the feed would wait for risk; one that does not can only do more.
    """
    listeners = (STRATEGY,) if lockstep else (STRATEGY, RISK)
    programs = {
        FEED: [*_feed(protocol, [1] * ticks, listeners, data=False), *ring(protocol, (RISK,))],
        STRATEGY: _strategy(protocol, lockstep),
        RISK: _risk(protocol, lockstep),
    }
    memory = _words("published", "state", "signals", "strategy cursor", "gone")
    asked = {STRATEGY: _RING_IS_ASKED, RISK: _risk_is_asked(lockstep)}
    return Model(memory | bells((STRATEGY, RISK)), programs, _judge(asked), ordered)


def _counter(protocol: Protocol, word: str, count: int) -> Program:
    return [
        step
        for n in range(count)
        for step in (Rest(), Store(word, n + 1), *ring(protocol, (RISK,)))
    ]


def _strategy(protocol: Protocol, lockstep: bool) -> Program:
    put: Program = [Store("signals", lambda r: r["cursor"]), *ring(protocol, (RISK,))]
    commit: Program = [Store("strategy cursor", lambda r: r["cursor"])]
    commit += ring(protocol, (RISK,)) if lockstep else []
    gone: Program = [Store("gone", 1), *ring(protocol, (RISK,)), End()]
    return [
        Do(lambda r: r.update(cursor=0, received=0, lost=0)),
        While(
            always,
            [
                *_READ_COUNT,
                When(lambda r: r.pop("rows") > 0, [*put, *commit, Again()]),
                *_end_of_ring(gone),
                *park(protocol, STRATEGY, _RING_READY),
            ],
        ),
    ]


def _risk(protocol: Protocol, lockstep: bool) -> Program:
    all_taken = When(lambda r: r.pop("put") == r["taken"], [End()])
    signals_too: Program = [Load("put", "signals"), all_taken]
    strategy_too: Program = [Load("gone", "gone"), When(lambda r: r.pop("gone") > 0, signals_too)]
    return [
        Do(lambda r: r.update(cursor=0, taken=0)),
        While(
            always,
            [
                *(_BOUND if lockstep else []),
                Load("end", "published"),
                Load("put", "signals"),
                Do(_take),
                When(lambda r: r.pop("rows") > 0, [Again()]),
                *_end_of_ring(strategy_too),
                *park(protocol, RISK, _risk_ready(lockstep)),
            ],
        ),
    ]


# RiskLine._bound
_BOUND: Program = [
    Load("bound", "gone"),
    When(lambda r: r.pop("bound") == 0, [Load("bound", "strategy cursor")]),
]


def _take(r: Registers) -> None:
    end, put = r.pop("end"), r.pop("put")
    if "bound" in r:
        end = min(end, r.pop("bound"))
    r["rows"] = max(0, end - r["cursor"]) + put - r["taken"]
    r["cursor"], r["taken"] = max(end, r["cursor"]), put


def _risk_ready(lockstep: bool) -> Program:
    """RiskLine.ready."""
    newest = "strategy cursor" if lockstep else "published"
    alive: Program = [
        Load("news", newest),
        Do(lambda r: r.update(news=int(r["news"] > r["cursor"]))),
    ]
    ticks: Program = [
        Load("gone", "gone"),
        When(lambda r: r["gone"] > 0, _RING_READY),
        When(lambda r: r.pop("gone") == 0, alive),
    ]
    return [
        Load("news", "signals"),
        Do(lambda r: r.update(news=int(r["news"] != r["taken"]))),
        When(lambda r: r["news"] == 0, ticks),
    ]


def _risk_is_asked(lockstep: bool) -> Reader:
    def has_news(m: Mapping[str, int], r: Registers) -> bool:
        newest = m["strategy cursor" if lockstep and not m["gone"] else "published"]
        ended = m["gone"] > 0 and m["state"] != OPEN
        return m["signals"] != r["taken"] or newest > r["cursor"] or ended

    def has_all(m: Mapping[str, int], r: Registers) -> bool:
        return m["published"] == r["cursor"] and m["signals"] == r["taken"]

    return Reader(has_news, has_all)
