"""Feed, strategy and risk: three processes on one ring, one queue and two bells.

    two_writers   the feed and the strategy ring the one bell of risk, at any time
    whole_line    all three as line.py joins them, running freely or in lockstep, to the end

What must hold: no process sleeps with something to do while those who ring it rest or sleep; and
when all have ended, everything was read. Signals are counted and not carried, and nobody waits
for positions, so they are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.model.bells import bells, park, ring
from tests.model.checker import Asked, Model, Sleeper
from tests.model.one_writer import (
    FEED,
    READ_COUNT,
    REAL,
    RING_READY,
    RISK,
    STRATEGY,
    end_of_ring,
    feed,
    ring_has_news,
    ring_was_read,
    words,
)
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
from tests.model.protocol import OPEN, Program, Protocol


def two_writers(protocol: Protocol = REAL, *, ticks: int = 2, signals: int = 2) -> Model:
    """Risk, and the two that ring it: the feed for each tick, the strategy for each signal.

    The strategy reads nothing here, so that its signals come at any time.
    """
    programs = {
        FEED: _counter(protocol, "published", ticks),
        STRATEGY: _counter(protocol, "signals", signals),
        RISK: _risk(protocol, lockstep=False),
    }
    memory = words("published", "signals", "state", "gone") | bells((RISK,))
    sleepers = {RISK: Sleeper(_risk_has_news(lockstep=False), (FEED, STRATEGY))}
    return Model(memory, programs, sleepers)


def whole_line(protocol: Protocol = REAL, *, ticks: int = 2, lockstep: bool = False) -> Model:
    """Feed, strategy and risk from the first tick to the end; a signal for each tick.

    In lockstep the feed would wait for risk; one that does not can only do more.
    """
    listeners = (STRATEGY,) if lockstep else (STRATEGY, RISK)
    programs = {
        FEED: [*feed(protocol, [1] * ticks, listeners, data=False), *ring(protocol, (RISK,))],
        STRATEGY: _strategy(protocol, lockstep),
        RISK: _risk(protocol, lockstep),
    }
    memory = words("published", "state", "signals", "strategy cursor", "gone")
    memory |= bells((STRATEGY, RISK))
    sleepers = {
        STRATEGY: Sleeper(ring_has_news, (FEED,)),
        RISK: Sleeper(_risk_has_news(lockstep), (FEED, STRATEGY)),
    }
    has_all = {STRATEGY: ring_was_read, RISK: _risk_has_all}
    return Model(memory, programs, sleepers, has_all)


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
                *READ_COUNT,
                When(lambda r: r.pop("rows") > 0, [*put, *commit, Again()]),
                *end_of_ring(gone),
                *park(protocol, STRATEGY, RING_READY),
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
                *end_of_ring(strategy_too),
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
        When(lambda r: r["gone"] > 0, RING_READY),
        When(lambda r: r.pop("gone") == 0, alive),
    ]
    return [
        Load("news", "signals"),
        Do(lambda r: r.update(news=int(r["news"] != r["taken"]))),
        When(lambda r: r["news"] == 0, ticks),
    ]


def _risk_has_news(lockstep: bool) -> Asked:
    def has_news(m: Mapping[str, int], r: Registers) -> bool:
        newest = m["strategy cursor" if lockstep and not m["gone"] else "published"]
        ended = m["gone"] > 0 and m["state"] != OPEN
        return m["signals"] != r["taken"] or newest > r["cursor"] or ended

    return has_news


def _risk_has_all(m: Mapping[str, int], r: Registers) -> bool:
    return m["published"] == r["cursor"] and m["signals"] == r["taken"]
