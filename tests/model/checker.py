"""Explores every interleaving of a few small programs that share memory through store buffers.

A program is a list of instructions; a model is some programs, the memory they share, and what
must never be. ``explore`` visits every state that can be reached, breadth first, so that the
trace to the first wrong state is a shortest one.

Modelled. Each thread has a store buffer without limit: a store enters it, and leaves it for
memory at any later time. A load takes the newest store to that address in the thread's own
buffer, or else memory. ``ordered`` buffers are emptied first in, first out: that is x86 (TSO).
Others may let any store go first that is not behind a Barrier or behind a store to its own
address: that is the store side of ARM. A Fence lets the thread go on when its buffer is empty.
Wait and Wake are Linux futex calls: comparing and going to sleep is one step, and both begin
with a full fence (kernel/futex/waitwake.c), so they too need an empty buffer. No wait times out.

Not modelled. Loads that pass earlier loads (ARM does that), loads and stores of which half is
seen, more than one CPU between a buffer and memory, threads that die, spurious wake-ups.

Not a state of its own is what nobody else can see: a step on registers, and a store on its way
into the buffer. Such steps commute with every step of the others, and no thread is quiet in front
of one, so taking them at once hides no wrong state. ``fused=False`` makes each store a state again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Registers = dict[str, int]
Number = int | Callable[[Registers], int]
Address = str | Callable[[Registers], str]


class Wrong(Exception):
    """Raised by a Do that sees what must never be."""


class Load(NamedTuple):
    register: str
    address: Address


class LoadAny(NamedTuple):
    """One load of a word of several bytes: 1 where any of them is not 0."""

    register: str
    addresses: tuple[str, ...]


class Store(NamedTuple):
    address: Address
    value: Number


class Barrier(NamedTuple):
    """No later store leaves the buffer before an earlier one."""


class Fence(NamedTuple):
    """Nothing later happens before the buffer is empty."""


class Wait(NamedTuple):
    """FUTEX_WAIT: sleep if memory holds ``value`` there."""

    address: str
    value: Number


class Wake(NamedTuple):
    """FUTEX_WAKE: everybody who sleeps there goes on."""

    address: str
    fence: bool = True


class Rest(NamedTuple):
    """A time without work: what follows comes now, later or never."""


class Do(NamedTuple):
    change: Callable[[Registers], None]


class When(NamedTuple):
    condition: Callable[[Registers], bool]
    body: list[Instruction]


class Loop(NamedTuple):
    """Forever, but for Again (from the top) and End (of the thread)."""

    body: list[Instruction]


class Again(NamedTuple):
    pass


class End(NamedTuple):
    pass


class _Jump(NamedTuple):
    """What When, Loop and Again become: go to ``target`` where the condition does not hold."""

    condition: Callable[[Registers], bool]
    target: int


Instruction = (
    Load | LoadAny | Store | Barrier | Fence | Wait | Wake | Rest | Do | When | Loop | Again | End
)
_Flat = Load | LoadAny | Store | Barrier | Fence | Wait | Wake | Rest | Do | End | _Jump


def _never(registers: Registers) -> bool:
    return False


def _flatten(program: list[Instruction], code: list[_Flat], top: int = -1) -> list[_Flat]:
    for each in program:
        start = len(code)
        match each:
            case When(condition, body):
                code.append(_Jump(condition, start))
                _flatten(body, code, top)
                code[start] = _Jump(condition, len(code))
            case Loop(body):
                _flatten(body, code, start)
                code.append(_Jump(_never, start))
            case Again():
                assert top >= 0, "Again outside of a Loop"
                code.append(_Jump(_never, top))
            case _:
                code.append(each)
    return code


class Quiet(NamedTuple):
    """A state in which nothing will happen of itself: all sleep, rest or have ended, no store is
    on its way, and so no wake-up is pending."""

    memory: Mapping[str, int]
    asleep: Mapping[str, Registers]
    ended: Mapping[str, Registers]


@dataclass(frozen=True)
class Model:
    memory: Mapping[str, int]  # address: first value
    programs: Mapping[str, list[Instruction]]
    registers: Mapping[str, Registers]  # first values
    wrong: Callable[[Quiet], str | None]  # what is wrong with a quiet state
    ordered: bool = True


@dataclass
class Report:
    """``ends`` holds the registers, thread by thread, of the states in which all have ended."""

    states: int = 0
    quiet: int = 0
    wrong: str | None = None
    trace: list[str] = field(default_factory=list)
    ends: list[Mapping[str, Registers]] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join([f"{self.states} states: {self.wrong or 'nothing wrong'}", *self.trace])


_Memory = tuple[int, ...]
_BARRIER = (-1, 0)


class _Thread(NamedTuple):
    at: int
    registers: tuple[tuple[str, int], ...]
    buffer: tuple[tuple[int, int], ...]  # (address, value), oldest first
    asleep: bool = False
    wrong: str | None = None


class _Step(NamedTuple):
    thread: _Thread
    memory: _Memory
    text: str
    woken: int = -1  # address


class _Machine:
    """Executes the instructions of one thread."""

    def __init__(self, model: Model, name: str, fused: bool) -> None:
        self.code = _flatten([*model.programs[name], End()], [])
        self._names = list(model.memory)
        self._ordered = model.ordered
        self._fused = fused
        first = _Thread(0, tuple(sorted(model.registers[name].items())), ())
        self.first = self._settle(first, dict(first.registers))

    def _index(self, address: Address, registers: Registers) -> int:
        return self._names.index(address if isinstance(address, str) else address(registers))

    def _settle(self, thread: _Thread, registers: Registers) -> _Thread:
        """Go on from ``thread.at`` through what nobody else can see."""
        at, buffer, wrong = thread.at, list(thread.buffer), None
        stored = False
        while wrong is None:
            match self.code[at]:
                case Do(change):
                    try:
                        change(registers)
                    except Wrong as error:
                        wrong = str(error)
                case _Jump(condition, target):
                    at = at if condition(registers) else target - 1
                case Store(address, value) if self._fused or not stored:
                    stored = True
                    buffer.append((self._index(address, registers), _number(value, registers)))
                case Barrier():
                    if buffer and not self._ordered:
                        buffer.append(_BARRIER)
                case Fence() if not buffer:
                    pass
                case _:
                    break
            at += 1
        return _Thread(at, tuple(sorted(registers.items())), tuple(buffer), wrong=wrong)

    def quiet(self, thread: _Thread) -> bool:
        idle = thread.asleep or isinstance(self.code[thread.at], Rest | End)
        return idle and not thread.buffer and thread.wrong is None

    def ended(self, thread: _Thread) -> bool:
        return isinstance(self.code[thread.at], End) and not thread.buffer

    def awake(self, thread: _Thread, address: int) -> _Thread:
        """Return ``thread`` after a Wake at ``address``."""
        at = self.code[thread.at]
        if not (thread.asleep and isinstance(at, Wait) and self._names[address] == at.address):
            return thread
        return self._go_on(thread, dict(thread.registers))

    def _go_on(self, thread: _Thread, registers: Registers) -> _Thread:
        return self._settle(thread._replace(at=thread.at + 1), registers)

    def steps(self, thread: _Thread, memory: _Memory) -> Iterator[_Step]:
        """Yield everything that ``thread`` can do next."""
        if thread.wrong is None and not thread.asleep:
            yield from self._drains(thread, memory)
            yield from self._acts(thread, memory)

    def _drains(self, thread: _Thread, memory: _Memory) -> Iterator[_Step]:
        for n, (address, value) in enumerate(thread.buffer):
            if (address, value) == _BARRIER or (n and self._ordered):
                return
            if any(address == earlier for earlier, _ in thread.buffer[:n]):
                continue
            rest = [*thread.buffer[:n], *thread.buffer[n + 1 :]]
            while rest and rest[0] == _BARRIER:
                del rest[0]
            yield _Step(
                self._settle(thread._replace(buffer=tuple(rest)), dict(thread.registers)),
                (*memory[:address], value, *memory[address + 1 :]),
                f"{self._names[address]} = {value} reaches memory",
            )

    def _acts(self, thread: _Thread, memory: _Memory) -> Iterator[_Step]:
        registers = dict(thread.registers)
        match self.code[thread.at]:
            case Load(register, address):
                index = self._index(address, registers)
                registers[register] = dict([(index, memory[index]), *thread.buffer])[index]
                text = f"sees {self._names[index]} = {registers[register]}"
                yield _Step(self._go_on(thread, registers), memory, text)
            case LoadAny(register, addresses):
                values = [memory[self._index(each, registers)] for each in addresses]
                registers[register] = int(any(values))
                text = f"sees {', '.join(addresses)} = {', '.join(map(str, values))}"
                yield _Step(self._go_on(thread, registers), memory, text)
            case Store():
                yield _Step(self._settle(thread, registers), memory, "stores")
            case Rest():
                yield _Step(self._go_on(thread, registers), memory, "goes on")
            case Wait(address, value) if not thread.buffer:
                yield self._wait(thread, memory, address, _number(value, registers))
            case Wake(address, fence) if not (fence and thread.buffer):
                index = self._index(address, registers)
                text = f"wakes whoever sleeps on {address}"
                yield _Step(self._go_on(thread, registers), memory, text, index)

    def _wait(self, thread: _Thread, memory: _Memory, address: str, value: int) -> _Step:
        found = memory[self._names.index(address)]
        if found == value:
            text = f"sleeps on {address} = {value}"
            return _Step(thread._replace(asleep=True), memory, text)
        text = f"finds {address} = {found} and does not sleep"
        return _Step(self._go_on(thread, dict(thread.registers)), memory, text)


def _number(value: Number, registers: Registers) -> int:
    return value if isinstance(value, int) else value(registers)
