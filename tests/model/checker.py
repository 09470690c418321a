"""Visits every state that a few small programs can reach, and looks for a wrong one.

The visit is breadth first, so that the trace to the first wrong state is a shortest one. What a
thread can do, and what memory does with it, stands in machine.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from tests.model.machine import Machine, Memory, Step, Thread
from tests.model.program import Instruction, Registers

State = tuple[int, ...]  # the number of its memory, then the number of each thread's state
Value = TypeVar("Value", bound=Hashable)


class Quiet(NamedTuple):
    """A state in which nothing comes of itself: each thread sleeps, rests or has ended, and no
    store is on its way. So no wake-up is on its way either."""

    memory: Mapping[str, int]
    asleep: dict[str, Registers]  # thread: its registers
    ended: dict[str, Registers]


@dataclass(frozen=True)
class Model:
    memory: Mapping[str, int]  # address: first value
    programs: Mapping[str, list[Instruction]]  # thread: what it does
    wrong: Callable[[Quiet], str | None]  # says what is wrong with a quiet state
    ordered: bool = True  # stores leave a buffer in order (x86)


@dataclass
class Report:
    states: int = 0
    quiet: int = 0
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
    before: dict[State, State] = {}
    seen, todo = {state}, deque([state])
    while todo and report.wrong is None:
        state = todo.popleft()
        report.wrong = space.judge(state, report)
        for after in space.successors(state):
            if after not in seen:
                seen.add(after)
                before[after] = state
                todo.append(after)
    report.states = len(seen)
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
        self._quiet: dict[int, bool] = {}

    def is_quiet(self, thread: int) -> bool:
        known = self._quiet.get(thread)
        if known is None:
            known = self._quiet[thread] = self.machine.is_quiet(self.threads.values[thread])
        return known

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
        self._parts = [
            _Part(Machine(program, self._addresses, model.ordered, fused), self._memories)
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
        """Return what is wrong with ``state``; note in ``report`` if it is quiet, or the end."""
        for part, thread in zip(self._parts, state[1:], strict=True):
            if not part.is_quiet(thread):
                return part.threads.values[thread].wrong
        quiet = self._quiet(state)
        report.quiet += 1
        if len(quiet.ended) == len(self._parts):
            report.ends.append(quiet.ended)
        return self._model.wrong(quiet)

    def _quiet(self, state: State) -> Quiet:
        values = self._memories.values[state[0]]
        quiet = Quiet(dict(zip(self._addresses, values, strict=True)), {}, {})
        for n, part in enumerate(self._parts):
            thread = part.threads.values[state[n + 1]]
            if thread.asleep:
                quiet.asleep[self._names[n]] = dict(thread.registers)
            elif part.machine.has_ended(thread):
                quiet.ended[self._names[n]] = dict(thread.registers)
        return quiet

    def trace(self, before: Mapping[State, State], state: State) -> list[str]:
        """Return the steps from the start to ``state``, one line each."""
        lines = []
        while state in before:
            lines.append(self._line(before[state], state))
            state = before[state]
        return lines[::-1]

    def _line(self, state: State, wanted: State) -> str:
        n, step = next((n, step) for n, step, after in self._steps(state) if after == wanted)
        return f"{self._names[n]:>10}: {step.text}"
