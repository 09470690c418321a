"""The rows of the market data that ships: what each says, where and when it holds, who says so.

pipeline/risk/data holds them as TOML; docs/market-data.md says how to correct or add one. Nothing
is known outside a row: a date that no row holds on has no answer, not a likely one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from itertools import pairwise, product
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from pipeline.errors import TickpipeError, explain
from pipeline.settings import Exchange, Kind

_STEPS = (Decimal(0), Decimal("0.01"), Decimal(1))


def _step(value: Decimal) -> Decimal:
    if value not in _STEPS:
        raise ValueError(f"round is 1, 0.01 or 0 (not rounded), got {value}")
    return value


RateClass = Literal["delivery", "intraday", "futures", "options"]
Percent = Annotated[Decimal, Field(ge=0, le=100)]
Rupees = Annotated[Decimal, Field(ge=0)]
Step = Annotated[Decimal, AfterValidator(_step)]
Percents = dict[RateClass, Percent]


class Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Fact(Row):
    """A row that holds for some segments from one day to another, both included."""

    segments: tuple[Exchange, ...] = Field(min_length=1)
    first: date = Field(alias="from")
    last: date = Field(alias="until")
    source: str = Field(min_length=1)
    as_of: date  # when the source was read

    def holds(self, segment: str, day: date) -> bool:
        return segment in self.segments and self.first <= day <= self.last

    @property
    def topics(self) -> tuple[str, ...]:
        """What no other row may say for the same segment and day."""
        return (type(self).__name__,)

    @model_validator(mode="after")
    def _first_before_last(self) -> Self:
        if self.first > self.last:
            raise ValueError(f"from {self.first} is after until {self.last}")
        return self


class SessionHours(Fact):
    """The hours of an ordinary day; without ``kind`` for every kind of instrument."""

    kind: Kind | None = None
    open: time
    close: time
    auction: tuple[time, time] | None = None

    @property
    def topics(self) -> tuple[str, ...]:
        kinds = get_args(Kind) if self.kind is None else (self.kind,)
        return tuple(f"hours of kind {kind}" for kind in kinds)


class OddDay(Row):
    """A day that differs from the week: closed, unless it has hours."""

    date: date
    name: str = Field(min_length=1)
    open: time | None = None
    close: time | None = None
    hours: Literal["unknown"] | None = None  # a session is announced without its hours
    source: str | None = None  # where it is not that of the year


class Year(Fact):
    """The odd days of some segments; on the others they follow the week."""

    days: tuple[OddDay, ...]

    @model_validator(mode="after")
    def _days_are_distinct_and_within(self) -> Self:
        dates = [odd.date for odd in self.days]
        wrong = [day for day in dates if dates.count(day) > 1 or not self.first <= day <= self.last]
        if wrong:
            raise ValueError(f"{wrong[0]} appears twice, or outside {self.first} to {self.last}")
        return self

    def odd(self, day: date) -> OddDay | None:
        return next((odd for odd in self.days if odd.date == day), None)


class ContractShares(Fact):
    """So many shares for each underlying: of a lot, or of the largest order."""

    shares: dict[str, Annotated[int, Field(gt=0)]]

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(f"shares of {underlying}" for underlying in self.shares)


class Brokerage(Fact):
    """What a broker takes, as one of the presets of ``risk.charges``."""

    preset: str
    percent: Percents
    least: dict[RateClass, Rupees] = {}  # ₹ an order
    most: dict[RateClass, Rupees] = {}  # ₹ an order
    round: Step

    @property
    def topics(self) -> tuple[str, ...]:
        return (f"brokerage of {self.preset}",)


class LevyRate(Fact):
    """What the state or the exchange takes; a side that is not named pays nothing."""

    name: Literal["stt", "stamp", "exchange", "ipft", "sebi"]
    buy: Percents = {}
    sell: Percents = {}
    gst: bool = False
    round: Step

    @property
    def topics(self) -> tuple[str, ...]:
        return (self.name,)


class Gst(Fact):
    """GST on brokerage and on the levies that are services."""

    percent: Percent
    round: Step


class Rulebook(Row):
    """All rows, table by table."""

    session: tuple[SessionHours, ...] = ()
    calendar: tuple[Year, ...] = ()
    lots: tuple[ContractShares, ...] = ()
    freeze: tuple[ContractShares, ...] = ()
    brokerage: tuple[Brokerage, ...] = ()
    levy: tuple[LevyRate, ...] = ()
    gst: tuple[Gst, ...] = ()

    @model_validator(mode="after")
    def _one_row_a_day(self) -> Self:
        for table in type(self).model_fields:
            _refuse_overlaps(getattr(self, table))
        return self


def _refuse_overlaps(rows: Sequence[Fact]) -> None:
    of_topic: dict[tuple[str, str], list[Fact]] = defaultdict(list)
    for row in rows:
        for place in product(row.segments, row.topics):
            of_topic[place].append(row)
    for (where, topic), same in of_topic.items():
        for before, after in pairwise(sorted(same, key=lambda row: row.first)):
            if after.first <= before.last:
                raise ValueError(f"{where}, {topic}: two rows hold on {after.first}")


NO_RULES = Rulebook()


def parse_rulebook(tables: Iterable[Mapping[str, Any]]) -> Rulebook:
    """Check the tables of all data files and return them as one.

    Raises TickpipeError that names the first mistake.
    """
    together: dict[str, list[Any]] = defaultdict(list)
    for table in tables:
        for name, rows in table.items():
            together[name] += rows
    try:
        return Rulebook.model_validate(together)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise TickpipeError(
            explain(
                f"rulebook, {where or 'together'}: {first['msg'].removeprefix('Value error, ')}",
                rule="every row of pipeline/risk/data has the keys that docs/market-data.md lists",
                cure="correct the row, or install tickpipe again",
            )
        ) from None
