"""The language of the small programs that the checker runs: loads, stores, fences, futex calls.

Registers belong to one thread; a condition may take out of them what is needed no more, which
keeps the states few. An address is a name, or a function of the registers; so is a number.
"""

from __future__ import annotations

from collections.abc import Callable
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
    """No later store leaves the store buffer before an earlier one."""


class Fence(NamedTuple):
    """Nothing later happens before the store buffer is empty."""


class Wait(NamedTuple):
    """FUTEX_WAIT: sleep if memory holds ``value`` at ``address``."""

    address: str
    value: Number


class Wake(NamedTuple):
    """FUTEX_WAKE: whoever sleeps at ``address`` goes on."""

    address: str
    fence: bool = True


class Rest(NamedTuple):
    """A time without work: what follows comes now, later or never."""


class Do(NamedTuple):
    """Change registers."""

    change: Callable[[Registers], None]


class When(NamedTuple):
    condition: Callable[[Registers], bool]
    body: list[Instruction]


class While(NamedTuple):
    condition: Callable[[Registers], bool]
    body: list[Instruction]


class Again(NamedTuple):
    """From the top of the innermost While."""


class End(NamedTuple):
    """Of the thread."""


class Jump(NamedTuple):
    """What When, While and Again become: go to ``target`` unless the condition holds."""

    condition: Callable[[Registers], bool]
    target: int


Plain = Load | LoadAny | Store | Barrier | Fence | Wait | Wake | Rest | Do | End
Instruction = Plain | When | While | Again
Code = list[Plain | Jump]


def always(registers: Registers) -> bool:
    return True


def never(registers: Registers) -> bool:
    return False


def flatten(program: list[Instruction]) -> Code:
    """Return ``program`` without blocks; it ends where it ends."""
    code: Code = []
    _append([*program, End()], code, -1)
    return code


def _append(program: list[Instruction], code: Code, top: int) -> None:
    for each in program:
        start = len(code)
        match each:
            case When(condition, body):
                code.append(Jump(condition, start))
                _append(body, code, top)
                code[start] = Jump(condition, len(code))
            case While(condition, body):
                code.append(Jump(condition, start))
                _append(body, code, start)
                code.append(Jump(never, start))
                code[start] = Jump(condition, len(code))
            case Again():
                assert top >= 0, "Again stands in a While"
                code.append(Jump(never, top))
            case _:
                code.append(each)


def number(value: Number, registers: Registers) -> int:
    return value if isinstance(value, int) else value(registers)


def name(address: Address, registers: Registers) -> str:
    return address if isinstance(address, str) else address(registers)
