"""Visits every state that a few small programs can reach, and looks for a wrong one.

The visit is breadth first, so that the trace to the first wrong state is a shortest one. What a
thread can do, and what memory does with it, stands in machine.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from tests.model.machine import Machine, Memory, Rules, Status, Step, Thread
from tests.model.program import Instruction, Registers

State = tuple[int, ...]  # the number of its memory, then the number of each thread's state
Value = TypeVar("Value", bound=Hashable)
Asked = Callable[[Mapping[str, int], Registers], bool]  # of memory and a thread's registers


class Sleeper(NamedTuple):
    """A thread that must not sleep with news while none of those who ring it will."""

    has_news: Asked
    rung_by: Sequence[str]


@dataclass(frozen=True)
class Model:
    memory: Mapping[str, int]  # address: first value
    programs: Mapping[str, list[Instruction]]  # thread: what it does
    sleepers: Mapping[str, Sleeper] = field(default_factory=dict)
    has_all: Mapping[str, Asked] = field(default_factory=dict)  # asked when all have ended
    ordered: bool = True  # stores leave a buffer in order (x86)
    waits_end: bool = False  # of themselves, at any time


@dataclass
class Report:
    states: int = 0
    forsaken: int = 0  # states with a sleeper whom nobody is about to wake
    ends: list[Mapping[str, Registers]] = field(default_factory=list)  # where all have ended
    wrong: str | None = None
    trace: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join([f"{self.states} states, {self.wrong or 'nothing wrong'}", *self.trace])


def explore(model: Model, *, fused: bool = True) -> Report:
    """Visit the states of ``model`` up to the first wrong one, or all of them."""
    space = _Space(model, fused)
    report = Report()
    state = space.start()
    before = {state: state}  # the start is behind itself
    todo = deque([state])
    while todo and report.wrong is None:
        state = todo.popleft()
        report.wrong = space.judge(state, report)
        for after in space.successors(state):
            if after not in before:
                before[after] = state
                todo.append(after)
    report.states = len(before)
    if report.wrong is not None:
        report.trace = space.trace(before, state)
    return report


class _Numbered(Generic[Value]):
    """Gives each value that it meets a number, so that a state is a few small integers."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self._numbers: dict[Value, int] = {}

    def number(self, value: Value) -> int:
        number = self._numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


class _Part:
    """One thread's share of the space: its states, and what it can do in each of them.

    That hangs on its own state and on memory only, and is worked out once for each pair.
    """

    def __init__(self, machine: Machine, memories: _Numbered[Memory]) -> None:
        self.machine = machine
        self.threads: _Numbered[Thread] = _Numbered()
        self._memories = memories
        self._steps: dict[tuple[int, int], list[tuple[int, int, Step]]] = {}
        self._statuses: dict[int, Status] = {}

    def status(self, thread: int) -> Status:
        known = self._statuses.get(thread)
        if known is None:
            known = self._statuses[thread] = self.machine.status(self.threads.values[thread])
        return known

    def registers(self, thread: int) -> Registers:
        return dict(self.threads.values[thread].registers)

    def steps(self, thread: int, memory: int) -> list[tuple[int, int, Step]]:
        """Return each step with the numbers of the thread and the memory behind it."""
        known = self._steps.get((thread, memory))
        if known is None:
            known = self._steps[thread, memory] = [
                (self.threads.number(step.thread), self._memories.number(step.memory), step)
                for step in self.machine.steps(
                    self.threads.values[thread], self._memories.values[memory]
                )
            ]
        return known

    def woken(self, thread: int, address: str) -> int:
        return self.threads.number(self.machine.woken(self.threads.values[thread], address))


class _Space:
    """The states of a model."""

    def __init__(self, model: Model, fused: bool) -> None:
        self._model = model
        self._names = list(model.programs)
        self._addresses = list(model.memory)
        self._memories: _Numbered[Memory] = _Numbered()
        rules = Rules(model.ordered, fused, model.waits_end)
        self._parts = [
            _Part(Machine(program, self._addresses, rules), self._memories)
            for program in model.programs.values()
        ]

    def start(self) -> State:
        memory = self._memories.number(tuple(self._model.memory.values()))
        return (memory, *(part.threads.number(part.machine.start()) for part in self._parts))

    def successors(self, state: State) -> Iterator[State]:
        for _, _, after in self._steps(state):
            yield after

    def _steps(self, state: State) -> Iterator[tuple[int, Step, State]]:
        for n, part in enumerate(self._parts):
            for thread, memory, step in part.steps(state[n + 1], state[0]):
                after = (memory, *state[1 : n + 1], thread, *state[n + 2 :])
                yield n, step, after if step.wakes is None else self._woken(after, step.wakes)

    def _woken(self, state: State, address: str) -> State:
        woken = (part.woken(state[n + 1], address) for n, part in enumerate(self._parts))
        return (state[0], *woken)

    def judge(self, state: State, report: Report) -> str | None:
        """Return what is wrong with ``state``; note in ``report`` what it is."""
        statuses = [p.status(t) for p, t in zip(self._parts, state[1:], strict=True)]
        if Status.WRONG in statuses:
            n = statuses.index(Status.WRONG)
            return f"{self._names[n]} {self._parts[n].threads.values[state[n + 1]].wrong}"
        for n, status in enumerate(statuses):
            if status is Status.ASLEEP and self._is_forsaken(n, statuses):
                report.forsaken += 1
                if self._has_news(n, state):
                    return f"{self._names[n]} sleeps with news and nobody will wake it"
        if all(status is Status.ENDED for status in statuses):
            return self._judge_end(state, report)
        return None

    def _is_forsaken(self, n: int, statuses: Sequence[Status]) -> bool:
        sleeper = self._model.sleepers[self._names[n]]
        return all(statuses[self._names.index(name)] is not Status.BUSY for name in sleeper.rung_by)

    def _has_news(self, n: int, state: State) -> bool:
        sleeper = self._model.sleepers[self._names[n]]
        return sleeper.has_news(self._memory(state), self._parts[n].registers(state[n + 1]))

    def _judge_end(self, state: State, report: Report) -> str | None:
        registers = {
            name: part.registers(thread)
            for name, part, thread in zip(self._names, self._parts, state[1:], strict=True)
        }
        report.ends.append(registers)
        for name, has_all in self._model.has_all.items():
            if not has_all(self._memory(state), registers[name]):
                return f"{name} ended too early, or counted wrongly: {registers[name]}"
        return None

    def _memory(self, state: State) -> dict[str, int]:
        return dict(zip(self._addresses, self._memories.values[state[0]], strict=True))

    def trace(self, before: Mapping[State, State], state: State) -> list[str]:
        """Return the steps from the start to ``state``, one line each."""
        lines = []
        while before[state] != state:
            lines.append(self._line(before[state], state))
            state = before[state]
        return lines[::-1]

    def _line(self, state: State, wanted: State) -> str:
        n, step = next((n, step) for n, step, after in self._steps(state) if after == wanted)
        return f"{self._names[n]:>10}: {step.text}"
