"""A fault script: how one is read, and before which tick of a recording its faults happen."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from pipeline.errors import SettingsError, explain
from pipeline.records import IST
from pipeline.settings import Instrument, Section
from pipeline.simulator.faults import KINDS, AnyFault, Fault


class Script(Section):
    """A fault script as it is written."""

    faults: tuple[Annotated[AnyFault, Field(discriminator="kind")], ...] = ()


class Due(NamedTuple):
    """A fault, and the place in the recording of the tick before which it happens, from 0."""

    place: int
    fault: AnyFault


def read_script(path: Path) -> Script:
    """Read the TOML file ``path``. Raises SettingsError with every mistake in it."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return Script.model_validate(table)
    except ValidationError as error:
        mistakes = [_described(problem) for problem in error.errors(include_url=False)]
        what = f"{path}: {len(mistakes)} mistake(s)\n" + "\n".join(f"  - {m}" for m in mistakes)
    except OSError as error:
        what = f"{path}: {error.strerror}"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        what = f"{path}: {error}"
    raise SettingsError(
        explain(
            what,
            rule="a fault script is TOML with a table [[faults]] for each fault",
            cure="`tickpipe simulate --help` lists the kinds and their keys",
        )
    )


def bind(script: Script, ticks: NDArray[np.void], instruments: Sequence[Instrument]) -> list[Due]:
    """Return the faults in the order in which they happen to ``ticks``.

    Raises SettingsError for a tick or time that the recording does not reach, and for a symbol
    that it does not have.
    """
    symbols = [row.symbol for row in instruments]
    found = []
    for number, fault in enumerate(script.faults, 1):
        place = _place(fault, ticks)
        if not 0 <= place < len(ticks):
            raise _refused(number, f"tick {fault.tick or fault.time} of {len(ticks)}", "tick")
        if fault.symbol is not None and fault.symbol not in symbols:
            raise _refused(number, f"symbol {fault.symbol!r}{_nearest(fault.symbol, symbols)}", "")
        found.append(Due(place, fault))
    return sorted(found, key=lambda due: due.place)


def _place(fault: Fault, ticks: NDArray[np.void]) -> int:
    if fault.time is None:
        assert fault.tick is not None, "checked when it was read"
        return fault.tick - 1
    day = datetime.fromtimestamp(int(ticks["ts_event_ns"][0]) // 1_000_000_000, IST).date()
    moment_s = int(datetime.combine(day, fault.time, IST).timestamp())
    return int(np.searchsorted(ticks["ts_event_ns"], moment_s * 1_000_000_000))


def describe_faults() -> str:
    """Return a line for each kind of fault and one for each of its own keys, for --help."""
    lines = []
    for name, kind in KINDS.items():
        lines.append(f"  {name:<12} {(kind.__doc__ or '').strip()}")
        for key, field in kind.model_fields.items():
            if key == "kind" or (key in Fault.model_fields and key not in kind.__annotations__):
                continue
            default = "" if field.is_required() or field.default is None else f" ({field.default})"
            lines.append(f"      {key:<8} {field.description}{default}")
    return "\n".join(lines)


def _described(problem: ErrorDetails) -> str:
    loc = problem["loc"]
    number = f"fault {int(loc[1]) + 1}" if len(loc) > 1 else ".".join(map(str, loc))
    if problem["type"] == "union_tag_invalid":
        kind = str(problem["ctx"]["tag"])
        return f"{number}: kind {kind!r} is unknown{_nearest(kind, list(KINDS))}"
    if problem["type"] == "union_tag_not_found":
        return f"{number}: kind is missing"
    kind, key = (str(loc[2]), ".".join(map(str, loc[3:]))) if len(loc) > 2 else ("", "")
    where = f"{number} ({kind})" if kind else number
    if problem["type"] == "extra_forbidden":
        names = list(KINDS[kind].model_fields) if kind else list(Script.model_fields)
        return f"{where}{': ' + key if key else ''}: unknown key{_nearest(key or where, names)}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {key}: {message}" if key else f"{where}: {message}"


def _nearest(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; the nearest valid name is {near[0]!r}" if near else f"; valid: {', '.join(names)}"


def _refused(number: int, what: str, kind: str) -> SettingsError:
    rules = {
        "tick": "a fault happens before a tick of the recording",
        "": "a fault names a symbol of [[instruments]]",
    }
    return SettingsError(
        explain(f"fault {number}: {what}", rule=rules[kind], cure="correct the fault script")
    )
