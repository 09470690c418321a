"""What one thread can do next, in memory that it reaches through a store buffer.

What is modelled. Each thread has a store buffer without limit: a store enters it, and reaches
memory at any later time. A load takes the newest store to its address in the thread's own buffer,
or else memory. An ``ordered`` buffer drains first in, first out: that is x86 (TSO). From another
any store may go first that is not behind a Barrier, nor behind a store to the same address: that
is the store side of ARM. A Fence holds the thread until its buffer is empty. Wait and Wake are
the futex calls of Linux: to compare and to fall asleep is one step, and each has a full fence
before it looks (the head of kernel/futex/waitwake.c), so they too need an empty buffer. A wait
ends by a Wake only; where ``waits_end``, by time or for nothing too.

What is not modelled: loads that overtake loads (ARM), stores of which one half is seen before the
other, threads that die.

What nobody else can see is no step of its own: a change of registers, a store on its way into the
buffer, a fence that finds the buffer empty. It commutes with all steps of the others, and its
thread is busy before it, so that to take it at once hides no wrong state. Unless ``fused``, every
store is a step, to try that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
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

Memory = tuple[int, ...]
Buffer = tuple[tuple[int, int], ...]  # (place in memory, value), oldest first
_BARRIER = (-1, 0)
_UNSEEN = (Do, Jump, Barrier)  # by the others


class Rules(NamedTuple):
    ordered: bool  # a buffer drains in order
    fused: bool  # a store on its way into the buffer is no step
    waits_end: bool  # of themselves, at any time


class Status(Enum):
    BUSY = "goes on, or has stores on their way"
    RESTS = "goes on now, later or never"
    ASLEEP = "goes on when it is woken"
    ENDED = "does not go on"
    WRONG = "saw what must never be"


class Thread(NamedTuple):
    at: int = 0  # its instruction
    registers: tuple[tuple[str, int], ...] = ()
    buffer: Buffer = ()
    asleep: bool = False
    wrong: str | None = None


class Step(NamedTuple):
    thread: Thread
    memory: Memory
    text: str
    wakes: str | None = None  # whoever sleeps at this address


class Machine:
    """One thread's program, and what its CPU does with it."""

    def __init__(self, program: list[Instruction], addresses: Sequence[str], rules: Rules) -> None:
        self._code = flatten(program)
        self._addresses = addresses
        self._places = {address: n for n, address in enumerate(addresses)}
        self._rules = rules

    def start(self) -> Thread:
        return self._go_on(Thread(), {}, skip=0)

    def status(self, thread: Thread) -> Status:
        if thread.wrong is not None:
            return Status.WRONG
        if thread.asleep:
            return Status.ASLEEP
        if thread.buffer or not isinstance(self._code[thread.at], Rest | End):
            return Status.BUSY
        return Status.RESTS if isinstance(self._code[thread.at], Rest) else Status.ENDED

    def woken(self, thread: Thread, address: str) -> Thread:
        """Return ``thread`` behind its wait if it sleeps at ``address``, else as it is."""
        instruction = self._code[thread.at]
        if thread.asleep and isinstance(instruction, Wait) and instruction.address == address:
            return self._go_on(thread, dict(thread.registers))
        return thread

    def steps(self, thread: Thread, memory: Memory) -> Iterator[Step]:
        if thread.asleep and self._rules.waits_end:
            yield Step(self._go_on(thread, dict(thread.registers)), memory, "wakes of itself")
        elif not thread.asleep and thread.wrong is None:
            yield from self._drain(thread, memory)
            yield from self._act(thread, memory)

    def _drain(self, thread: Thread, memory: Memory) -> Iterator[Step]:
        """One store reaches memory, for each store that may be the next."""
        for n, (place, value) in enumerate(thread.buffer):
            if place == _BARRIER[0] or (n and self._rules.ordered):
                return
            if any(place == earlier for earlier, _ in thread.buffer[:n]):
                continue
            rest = [*thread.buffer[:n], *thread.buffer[n + 1 :]]
            while rest and rest[0] == _BARRIER:
                del rest[0]
            yield Step(
                self._go_on(thread._replace(buffer=tuple(rest)), dict(thread.registers), skip=0),
                (*memory[:place], value, *memory[place + 1 :]),
                f"{self._addresses[place]} = {value} reaches memory",
            )

    def _act(self, thread: Thread, memory: Memory) -> Iterator[Step]:
        """The next instruction, unless it needs an empty buffer and has none."""
        registers = dict(thread.registers)
        match self._code[thread.at]:
            case Load(register, address):
                where = name(address, registers)
                registers[register] = self._seen(self._places[where], thread.buffer, memory)
                text = f"sees {where} = {registers[register]}"
                yield Step(self._go_on(thread, registers), memory, text)
            case LoadAny(register, addresses):
                values = [self._seen(self._places[a], thread.buffer, memory) for a in addresses]
                registers[register] = int(any(values))
                text = f"sees at once {', '.join(addresses)} = {', '.join(map(str, values))}"
                yield Step(self._go_on(thread, registers), memory, text)
            case Store() as store:
                thread = thread._replace(buffer=self._pushed(store, thread.buffer, registers))
                yield Step(self._go_on(thread, registers), memory, "stores")
            case Rest():
                yield Step(self._go_on(thread, registers), memory, "goes to publish")
            case Wake(address, fence) if not (fence and thread.buffer):
                text = f"wakes whoever sleeps on {address}"
                yield Step(self._go_on(thread, registers), memory, text, address)
            case Wait(address, value) if not thread.buffer:
                found = memory[self._places[address]]
                if found == number(value, registers):
                    text = f"sleeps on {address} = {found}"
                    yield Step(thread._replace(asleep=True), memory, text)
                else:
                    text = f"finds {address} = {found} and does not sleep"
                    yield Step(self._go_on(thread, registers), memory, text)

    def _seen(self, place: int, buffer: Buffer, memory: Memory) -> int:
        return dict([(place, memory[place]), *buffer])[place]

    def _go_on(self, thread: Thread, registers: Registers, skip: int = 1) -> Thread:
        """Return ``thread`` behind its instruction, and behind all that nobody else can see."""
        at, buffer, wrong = thread.at + skip, thread.buffer, None
        try:
            while not self._is_step(instruction := self._code[at], buffer):
                at += 1
                if isinstance(instruction, Do):
                    instruction.change(registers)
                elif isinstance(instruction, Jump) and not instruction.condition(registers):
                    at = instruction.target
                else:
                    buffer = self._pushed(instruction, buffer, registers)
        except Wrong as error:
            wrong = str(error)
        return Thread(at, tuple(sorted(registers.items())), buffer, wrong=wrong)

    def _is_step(self, instruction: object, buffer: Buffer) -> bool:
        if isinstance(instruction, Store):
            return not self._rules.fused
        if isinstance(instruction, Fence):
            return bool(buffer)
        return not isinstance(instruction, _UNSEEN)

    def _pushed(self, instruction: object, buffer: Buffer, registers: Registers) -> Buffer:
        if isinstance(instruction, Store):
            place = self._places[name(instruction.address, registers)]
            return (*buffer, (place, number(instruction.value, registers)))
        if isinstance(instruction, Barrier) and buffer and not self._rules.ordered:
            return (*buffer, _BARRIER)
        return buffer
