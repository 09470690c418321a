"""Visits every state that a few small programs can reach, and looks for a wrong one.

The visit is breadth first, so that the trace to the first wrong state is a shortest one. What a
thread can do, and what memory does with it, stands in machine.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from tests.model.machine import Machine, Memory, Rules, Status, Step, Thread
from tests.model.program import Instruction, Registers

State = int  # from the right, in _BITS each: the number of its memory, that of each thread's state
_BITS = 24
_MASK = (1 << _BITS) - 1
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
        for _, _, after in space.steps(state):
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

    That hangs on its own state and on memory only, and is worked out once for each pair: to make
    a step is to add a number to the state of all.
    """

    def __init__(self, n: int, machine: Machine, memories: _Numbered[Memory]) -> None:
        self.machine = machine
        self.threads: _Numbered[Thread] = _Numbered()
        self.shift = (n + 1) * _BITS
        self.mask = _MASK << self.shift | _MASK  # what its steps hang on
        self._memories = memories
        self._steps: dict[State, list[tuple[int, Step]]] = {}
        self.matters: list[bool] = []  # while no thread's does, nothing can be wrong

    def thread(self, state: State) -> Thread:
        return self.threads.values[state >> self.shift & _MASK]

    def status(self, state: State) -> Status:
        return self.machine.status(self.thread(state))

    def registers(self, state: State) -> Registers:
        return dict(self.thread(state).registers)

    def steps(self, state: State) -> list[tuple[int, Step]]:
        """Return each step with what it adds to ``state``."""
        own = state & self.mask
        known = self._steps.get(own)
        if known is None:
            thread, memory = self.thread(state), self._memories.values[state & _MASK]
            known = self._steps[own] = [
                (self.of(step.thread) + self._memories.number(step.memory) - own, step)
                for step in self.machine.steps(thread, memory)
            ]
        return known

    def woken(self, state: State, address: str) -> int:
        """Return what it adds to ``state`` that this thread is woken, if it sleeps there."""
        woken = self.machine.woken(self.thread(state), address)
        return self.of(woken) - (state & self.mask & ~_MASK)

    def of(self, thread: Thread) -> State:
        """Return the share of ``thread`` in the state of all."""
        number = self.threads.number(thread)
        if number == len(self.matters):
            self.matters.append(self.machine.status(thread) not in (Status.BUSY, Status.RESTS))
        return number << self.shift


class _Space:
    """The states of a model."""

    def __init__(self, model: Model, fused: bool) -> None:
        self._model = model
        self._names = list(model.programs)
        self._addresses = list(model.memory)
        self._memories: _Numbered[Memory] = _Numbered()
        rules = Rules(model.ordered, fused, model.waits_end)
        self._parts = [
            _Part(n, Machine(program, self._addresses, rules), self._memories)
            for n, program in enumerate(model.programs.values())
        ]

    def start(self) -> State:
        threads = (part.of(part.machine.start()) for part in self._parts)
        return self._memories.number(tuple(self._model.memory.values())) + sum(threads)

    def steps(self, state: State) -> list[tuple[int, Step, State]]:
        """Return each step that a thread can make, with the thread's number and the state after."""
        return [
            (n, step, state + added if step.wakes is None else self._woken(state + added, step))
            for n, part in enumerate(self._parts)
            for added, step in part.steps(state)
        ]

    def _woken(self, state: State, step: Step) -> State:
        assert step.wakes is not None
        return state + sum(part.woken(state, step.wakes) for part in self._parts)

    def judge(self, state: State, report: Report) -> str | None:
        """Return what is wrong with ``state``; note in ``report`` what it is."""
        if not any([part.matters[state >> part.shift & _MASK] for part in self._parts]):
            return None
        statuses = [part.status(state) for part in self._parts]
        if Status.WRONG in statuses:
            n = statuses.index(Status.WRONG)
            return f"{self._names[n]} {self._parts[n].thread(state).wrong}"
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
        return sleeper.has_news(self._memory(state), self._parts[n].registers(state))

    def _judge_end(self, state: State, report: Report) -> str | None:
        registers = {
            name: part.registers(state) for name, part in zip(self._names, self._parts, strict=True)
        }
        report.ends.append(registers)
        for name, has_all in self._model.has_all.items():
            if not has_all(self._memory(state), registers[name]):
                return f"{name} ended too early, or counted wrongly: {registers[name]}"
        return None

    def _memory(self, state: State) -> dict[str, int]:
        return dict(zip(self._addresses, self._memories.values[state & _MASK], strict=True))

    def trace(self, before: Mapping[State, State], state: State) -> list[str]:
        """Return the steps from the start to ``state``, one line each."""
        lines = []
        while before[state] != state:
            lines.append(self._line(before[state], state))
            state = before[state]
        return lines[::-1]

    def _line(self, state: State, wanted: State) -> str:
        n, step = next((n, step) for n, step, after in self.steps(state) if after == wanted)
        return f"{self._names[n]:>10}: {step.text}"
