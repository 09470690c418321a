"""How the simulated broker misbehaves with orders: by the number of the request to place. Pure.

[[order_faults]]
order = 3              the third request to place an order; 1 is the first
kind = "timeout"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Literal, get_args

from pydantic import Field, TypeAdapter, ValidationError

from pipeline.errors import SettingsError, explain
from pipeline.settings import Section

Kind = Literal[
    "refuse",  # with the broker's own words, before it is in the book
    "reject",  # after it was placed, as a margin check does
    "parts",  # fills in three parts
    "timeout",  # takes it, and never answers
    "lost",  # breaks the connection, and takes nothing
    "error",  # 5xx, and takes it
    "error_lost",  # 5xx, and takes nothing
    "too_many",  # 429, and takes nothing
    "slow",  # takes it, and answers half a second later
    "silent",  # no update of it over the WebSocket
    "repeat",  # every update of it three times
    "reorder",  # its updates the wrong way round, with the first after the last
    "restart",  # takes it, breaks every connection, and is away for a second
]
KINDS: tuple[Kind, ...] = get_args(Kind)


class OrderFault(Section):
    order: int = Field(ge=1)
    kind: Kind


OrderFaults = Mapping[int, Kind]


def faults_of(rows: Sequence[OrderFault]) -> dict[int, Kind]:
    return {row.order: row.kind for row in rows}


def random_faults(seed: int, orders: int, *, share: float = 0.5) -> dict[int, Kind]:
    """Return faults for about ``share`` of the first ``orders`` orders, the same for a seed."""
    luck = Random(seed)
    return {n: luck.choice(KINDS) for n in range(1, orders + 1) if luck.random() < share}


def read_order_faults(path: Path) -> dict[int, Kind]:
    """Read a fault script of orders. Raises SettingsError with what is wrong in it."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        rows = TypeAdapter(list[OrderFault]).validate_python(table.pop("order_faults", []))
        if table:
            raise ValueError(f"unknown table {', '.join(table)}")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        problem = error.errors()[0] if isinstance(error, ValidationError) else None
        what = f"order_faults {problem['loc']}: {problem['msg']}" if problem else str(error)
        raise SettingsError(
            explain(
                f"{path}: {what}",
                rule="a fault script of orders is TOML: [[order_faults]] with order, from 1, and "
                f"kind, one of {', '.join(KINDS)}",
                cure="correct it",
            )
        ) from None
    return faults_of(rows)
