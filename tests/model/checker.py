"""Visits every state of a few small programs that share memory through store buffers.

The visit is breadth first, so that the trace to the first wrong state is a shortest one.

What is modelled. Each thread has a store buffer without limit: a store enters it, and reaches
memory at any later time. A load takes the newest store to its address in the thread's own buffer,
or else memory. ``ordered`` buffers drain first in, first out: that is x86 (TSO). The others let
any store go first that is not behind a Barrier, nor behind a store to the same address: that is
the store side of ARM. A Fence holds the thread until its buffer is empty. Wait and Wake are the
futex calls of Linux: to compare and to fall asleep is one step, and each has a full fence before
it looks (the head of kernel/futex/waitwake.c), so they too need an empty buffer. No wait ends by
time, and none for nothing.

What is not modelled: loads that overtake loads (ARM again), stores of which one half is seen
before the other, threads that die, more than one sleeper on a word.

What nobody else can see is not a state: a change of registers, a store on its way into the
buffer, a fence that finds the buffer empty. Such a step commutes with all steps of the others,
and its thread is not quiet before it, so that to take it at once hides no wrong state.
``fused=False`` makes every store a state, to try that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.model.program import (
    Barrier,
    Do,
    End,
    Fence,
    Instruction,
    Jump,
    Load,
    LoadAny,
    Registers,
    Rest,
    Store,
    Wait,
    Wake,
    Wrong,
    flatten,
    name,
    number,
)

_Memory = tuple[int, ...]
_State = tuple[int, ...]  # which memory, then for each thread which state of it
_BARRIER = (-1, 0)


class Quiet(NamedTuple):
    """A state in which nothing comes of itself: each thread sleeps, rests or has ended, and no
    store is on its way. So no wake-up is pending either."""

    memory: Mapping[str, int]
    asleep: Mapping[str, Registers]  # thread: its registers
    ended: Mapping[str, Registers]


@dataclass(frozen=True)
class Model:
    memory: Mapping[str, int]  # address: first value
    programs: Mapping[str, list[Instruction]]  # thread: what it does
    wrong: Callable[[Quiet], str | None]  # what must never be in a quiet state
    ordered: bool = True


@dataclass
class Report:
    states: int = 0
    quiet: int = 0
    ends: list[Mapping[str, Registers]] = field(default_factory=list)  # where all have ended
    wrong: str | None = None
    trace: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join([f"{self.states} states, {self.wrong or 'nothing wrong'}", *self.trace])


class _Thread(NamedTuple):
    at: int = 0
    registers: tuple[tuple[str, int], ...] = ()
    buffer: tuple[tuple[int, int], ...] = ()  # (address, value), oldest first
    asleep: bool = False
    wrong: str | None = None


class _Step(NamedTuple):
    thread: _Thread
    memory: _Memory
    text: str
    woken: str | None = None  # an address


class _Machine:
    """What one thread can do."""

    def __init__(self, model: Model, thread: str, fused: bool) -> None:
        self.code = flatten(model.programs[thread])
        self._places = {address: n for n, address in enumerate(model.memory)}
        self._addresses = list(model.memory)
        self._ordered = model.ordered
        self._fused = fused

    def go_on(self, thread: _Thread, registers: Registers, skip: int = 1) -> _Thread:
        """Return ``thread`` behind its instruction and behind all that nobody else can see."""
        at, buffer, wrong = thread.at + skip, thread.buffer, None
        try:
            while not self._is_seen(instruction := self.code[at], buffer):
                at += 1
                if isinstance(instruction, Do):
                    instruction.change(registers)
                elif isinstance(instruction, Jump) and not instruction.condition(registers):
                    at = instruction.target
                else:
                    buffer = self._pushed(instruction, buffer, registers)
        except Wrong as error:
            wrong = str(error)
        return _Thread(at, tuple(sorted(registers.items())), buffer, wrong=wrong)

    def _is_seen(self, instruction: object, buffer: tuple[tuple[int, int], ...]) -> bool:
        if isinstance(instruction, Store):
            return not self._fused
        if isinstance(instruction, Fence):
            return bool(buffer)
        return not isinstance(instruction, Do | Jump | Barrier)

    def _pushed(
        self, instruction: object, buffer: tuple[tuple[int, int], ...], registers: Registers
    ) -> tuple[tuple[int, int], ...]:
        if isinstance(instruction, Store):
            place = self._places[name(instruction.address, registers)]
            return (*buffer, (place, number(instruction.value, registers)))
        if isinstance(instruction, Barrier) and buffer and not self._ordered:
            return (*buffer, _BARRIER)
        return buffer

    def is_quiet(self, thread: _Thread) -> bool:
        return not thread.buffer and (
            thread.asleep or isinstance(self.code[thread.at], Rest | End)
        )

    def has_ended(self, thread: _Thread) -> bool:
        return isinstance(self.code[thread.at], End)

    def woken(self, thread: _Thread, address: str) -> _Thread:
        instruction = self.code[thread.at]
        if thread.asleep and isinstance(instruction, Wait) and instruction.address == address:
            return self.go_on(thread, dict(thread.registers))
        return thread

    def steps(self, thread: _Thread, memory: _Memory) -> Iterator[_Step]:
        if thread.wrong is None and not thread.asleep:
            yield from self._drain(thread, memory)
            yield from self._act(thread, memory)

    def _drain(self, thread: _Thread, memory: _Memory) -> Iterator[_Step]:
        for n, (place, value) in enumerate(thread.buffer):
            if (place, value) == _BARRIER or (n and self._ordered):
                return
            if any(place == earlier for earlier, _ in thread.buffer[:n]):
                continue
            rest = [*thread.buffer[:n], *thread.buffer[n + 1 :]]
            while rest and rest[0] == _BARRIER:
                del rest[0]
            after = thread._replace(buffer=tuple(rest))
            yield _Step(
                self.go_on(after, dict(thread.registers), skip=0),
                (*memory[:place], value, *memory[place + 1 :]),
                f"{self._addresses[place]} = {value} reaches memory",
            )

    def _act(self, thread: _Thread, memory: _Memory) -> Iterator[_Step]:
        registers = dict(thread.registers)
        text, woken = "", None
        match self.code[thread.at]:
            case Load(register, address):
                where = name(address, registers)
                seen = dict([(self._places[where], memory[self._places[where]]), *thread.buffer])
                registers[register] = seen[self._places[where]]
                text = f"sees {where} = {registers[register]}"
            case LoadAny(register, addresses):
                values = [memory[self._places[each]] for each in addresses]
                registers[register] = int(any(values))
                text = f"sees {', '.join(addresses)} = {', '.join(map(str, values))}"
            case Store() as store:
                thread = thread._replace(buffer=self._pushed(store, thread.buffer, registers))
                text = f"stores {name(store.address, registers)}"
            case Rest():
                text = "has work"
            case Wake(address, fence) if not (fence and thread.buffer):
                text, woken = f"wakes who sleeps on {address}", address
            case Wait(address, value) if not thread.buffer:
                found = memory[self._places[address]]
                if found == number(value, registers):
                    text = f"sleeps on {address} = {found}"
                    yield _Step(thread._replace(asleep=True), memory, text)
                    return
                text = f"does not sleep on {address} = {found}"
            case _:
                return
        yield _Step(self.go_on(thread, registers), memory, text, woken)
