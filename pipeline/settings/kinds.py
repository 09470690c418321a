"""What the value of a setting may be, and how a setting is declared.

A value is taken as it was written or refused with what to write: nothing is guessed.
"""

from __future__ import annotations

from datetime import time
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from pipeline.errors import SettingsError, explain
from pipeline.records import PRICE_SCALE

PRICE_MAX = Decimal(10**14)  # ₹; in e4 units it still fits 64 bits


def _number(value: object) -> object:
    if isinstance(value, str | bool):
        raise ValueError("write a number, without quotes")
    return value


def _whole(value: object) -> object:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("write a whole number, without quotes or decimals")
    return value


def _exact(value: object) -> object:
    """Read a TOML float as the decimal that was written: 0.05 is not 0.05000000000000000277.

    A decimal in quotes is exact too and is taken.
    """
    return str(value) if isinstance(value, float) else value


def _countable(rupees: Decimal) -> Decimal:
    if rupees * PRICE_SCALE % 1 or abs(rupees) > PRICE_MAX:
        raise ValueError(f"prices are whole 1/10 000 ₹, at most {PRICE_MAX} ₹")
    return rupees


def _local_time(value: object) -> object:
    moment = time.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, time) or moment.tzinfo is not None:
        raise ValueError('write the local time, as "09:15"')
    return moment


Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Exact = Annotated[Decimal, BeforeValidator(_exact)]
Price = Annotated[Exact, AfterValidator(_countable)]
LocalTime = Annotated[time, BeforeValidator(_local_time)]


def _scalar(value: object) -> object:
    if not isinstance(value, str | int | float | bool):
        raise ValueError("a parameter is text, a number, true or false")
    return value


def strict_bool(value: object) -> object:
    if not isinstance(value, bool):
        raise ValueError("write true or false, without quotes")
    return value


Switch = Annotated[bool, BeforeValidator(strict_bool)]
Parameter = Annotated[str | int | float | bool, BeforeValidator(_scalar)]

Exchange = Literal["NSE", "NFO", "BSE", "BFO", "MCX", "CDS"]
Kind = Literal["unstated", "share", "share_with_derivatives", "future", "option"]
SHARES: tuple[Exchange, ...] = ("NSE", "BSE")  # the segments that trade shares
# At Kite a quantity of 1 is one lot there, and a dump says lot_size 1.
COUNTED_IN_LOTS: tuple[Exchange, ...] = ("MCX", "CDS")


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def option(help: str, *, default: Any = ..., unit: str = "", **limits: Any) -> Any:
    """Declare one setting. Without ``default`` the file must contain it."""
    return Field(default, description=help, json_schema_extra={"unit": unit}, **limits)


def e4(rupees: Decimal) -> int:
    """Return ``rupees`` as an integer count of 1/10 000 ₹; finer parts are an error."""
    scaled = rupees * PRICE_SCALE
    if not rupees.is_finite() or scaled != scaled.to_integral_value():
        raise SettingsError(
            explain(
                f"{rupees} ₹ is finer than 0.0001 ₹",
                rule="prices are whole 1/10 000 ₹",
                cure="round it",
            )
        )
    return int(scaled)
