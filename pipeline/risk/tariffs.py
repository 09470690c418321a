"""Which rates each instrument of the settings pays: the guide's, or those of the dated rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple, TypeVar

from pipeline.errors import SettingsError, explain
from pipeline.risk.charges import NOTHING, Levy, Rates, Tariff
from pipeline.risk.hours import day_number
from pipeline.risk.rulebook import Brokerage, Fact, Gst, LevyRate, RateClass, Rulebook
from pipeline.settings import SHARES, Instrument, Settings

LEVIES_NEEDED = frozenset({"stt", "stamp", "exchange", "sebi"})  # ipft is NSE's only

AFact = TypeVar("AFact", bound=Fact)


def tariffs_of(settings: Settings, rulebook: Rulebook) -> list[Tariff]:
    """Return the tariff of every instrument, in the order of the settings.

    Raises SettingsError where the data has no rates for an instrument.
    """
    risk, instruments = settings.risk, settings.instruments
    if risk.charges == "guide":
        return [Tariff.always(Rates.guide(risk))] * len(instruments)
    return [_tariff(instrument, risk.charges, rulebook) for instrument in instruments]


def rate_class(instrument: Instrument) -> RateClass | None:
    """Return which rates the orders of ``instrument`` pay, None where the settings do not say."""
    if instrument.kind == "future":
        return "futures"
    if instrument.kind == "option":
        return "options"
    if instrument.exchange not in SHARES:
        return None
    return "intraday" if instrument.product_type == "INTRADAY" else "delivery"


class _Rows(NamedTuple):
    """The rows that make the rates of one instrument, of all dates."""

    of: RateClass
    brokerage: list[Brokerage]
    levies: dict[str, list[LevyRate]]
    gst: list[Gst]

    @property
    def complete(self) -> bool:
        return bool(self.brokerage and self.gst and set(self.levies) >= LEVIES_NEEDED)

    @property
    def tables(self) -> list[Sequence[Fact]]:
        return [self.brokerage, self.gst, *self.levies.values()]


def _tariff(instrument: Instrument, preset: str, rulebook: Rulebook) -> Tariff:
    of = rate_class(instrument)
    if of is None:
        raise _no_rates(
            instrument,
            preset,
            f"the rates of {instrument.exchange} differ by kind, and its kind is unstated",
            'write kind = "future" or "option" into its [[instruments]]',
        )
    rows = _rows(rulebook, instrument.exchange, preset, of)
    if not rows.complete:
        raise _no_rates(
            instrument,
            preset,
            f"the data has no rates for {of} on {instrument.exchange}",
            'risk.charges = "guide", with percentages of your own',
        )
    return _dated(rows)


def _rows(rulebook: Rulebook, segment: str, preset: str, of: RateClass) -> _Rows:
    levies: dict[str, list[LevyRate]] = {}
    for row in rulebook.levy:
        if segment in row.segments:
            levies.setdefault(row.name, []).append(row)
    brokerage = [row for row in rulebook.brokerage if row.preset == preset and of in row.percent]
    return _Rows(
        of=of,
        brokerage=[row for row in brokerage if segment in row.segments],
        levies=levies,
        gst=[row for row in rulebook.gst if segment in row.segments],
    )


def _dated(rows: _Rows) -> Tariff:
    """Return the rates of every stretch of days within which no row changes."""
    first = max(min(row.first for row in table) for table in rows.tables)
    last = min(max(row.last for row in table) for table in rows.tables)
    every = [row for table in rows.tables for row in table]
    changes = {row.first for row in every} | {row.last + timedelta(days=1) for row in every}
    days = sorted({first} | {day for day in changes if first < day <= last})
    return Tariff([(day_number(day), _rates(rows, day)) for day in days], day_number(last))


def _rates(rows: _Rows, day: date) -> Rates:
    of, brokerage, gst = rows.of, _row_on(rows.brokerage, day), _row_on(rows.gst, day)
    return Rates(
        brokerage_percent=brokerage.percent[of],
        brokerage_least=brokerage.least[of] if of in brokerage.least else NOTHING,
        brokerage_most=brokerage.most[of] if of in brokerage.most else None,
        brokerage_step=brokerage.round,
        levies=tuple(_levy(_row_on(table, day), of) for table in rows.levies.values()),
        gst_percent=gst.percent,
        gst_step=gst.round,
    )


def _levy(row: LevyRate, of: RateClass) -> Levy:
    return Levy(
        name=row.name,
        buy_percent=row.buy[of] if of in row.buy else NOTHING,
        sell_percent=row.sell[of] if of in row.sell else NOTHING,
        gst=row.gst,
        step=row.round,
    )


def _row_on(table: Sequence[AFact], day: date) -> AFact:
    for row in table:
        if row.first <= day <= row.last:
            return row
    raise SettingsError(
        explain(
            f"rulebook: {table[0].topics[0]} has no row on {day}",
            rule="the rows of charges.toml follow on each other without a gap",
            cure="add the row, or correct the dates of its neighbours (docs/market-data.md)",
        )
    )


def _no_rates(instrument: Instrument, preset: str, what: str, cure: str) -> SettingsError:
    return SettingsError(
        explain(
            f'risk.charges = "{preset}": {instrument.symbol}: {what}',
            rule="charges come from dated rates, and none is guessed",
            cure=cure,
        )
    )
