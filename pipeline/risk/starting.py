"""What stops a run before it starts, and what people are told then: settings against rulebook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from pipeline.errors import SettingsError, explain
from pipeline.risk.calendar import Calendar, DayState
from pipeline.risk.hours import day_number
from pipeline.risk.rulebook import Rulebook
from pipeline.risk.tariffs import tariffs_of
from pipeline.settings import SHARES, Instrument, Settings


def needs_rulebook(settings: Settings) -> bool:
    """Tell whether anything that ``settings`` ask for is in the rulebook."""
    return settings.session.calendar or settings.risk.charges != "guide"


def check_start(settings: Settings, rulebook: Rulebook, days: Sequence[date]) -> list[str]:
    """Check the settings for a run on ``days`` (sorted) and return what people should be told.

    Raises SettingsError for charges that are not known on one of them, for a share whose kind is
    not stated, and for a lot that is not the exchange's.
    """
    if not days:
        return []
    _refuse_unknown_rates(settings, rulebook, days)
    if not settings.session.calendar:
        return []
    calendar = Calendar(rulebook)
    for instrument in settings.instruments:
        _refuse_unstated_kind(instrument)
        for day in (days[0], days[-1]):
            _refuse_wrong_lot(instrument, calendar, day)
    return [notice for day in days for notice in _closed(settings, calendar, day)]


def _refuse_unknown_rates(settings: Settings, rulebook: Rulebook, days: Sequence[date]) -> None:
    for instrument, tariff in zip(
        settings.instruments, tariffs_of(settings, rulebook), strict=True
    ):
        for day in (days[0], days[-1]):
            if not tariff.covers(day_number(day)):
                raise SettingsError(
                    explain(
                        f'risk.charges = "{settings.risk.charges}" has no rates for '
                        f"{instrument.symbol} on {day}",
                        rule="charges come from dated rates, and none is guessed",
                        cure='add the rates (docs/market-data.md), or risk.charges = "guide"',
                    )
                )


def _refuse_unstated_kind(instrument: Instrument) -> None:
    if instrument.kind == "unstated" and instrument.exchange in SHARES:
        raise SettingsError(
            explain(
                f"session.calendar = true, and the kind of {instrument.symbol} is unstated",
                rule="shares with listed derivatives have hours of their own",
                cure='write kind = "share" or "share_with_derivatives" into its [[instruments]]',
            )
        )


def _refuse_wrong_lot(instrument: Instrument, calendar: Calendar, day: date) -> None:
    underlying = instrument.underlying
    row = calendar.lot(instrument.exchange, underlying, day) if underlying else None
    if row is None or underlying is None or row.shares[underlying] == instrument.lot_size:
        return
    raise SettingsError(
        explain(
            f"the lot of {instrument.symbol} is {instrument.lot_size}, that of {underlying} on "
            f"{day} is {row.shares[underlying]} ({row.source}, read {row.as_of})",
            rule="with session.calendar = true lot_size is the exchange's",
            cure=f"lot_size = {row.shares[underlying]}; or leave underlying out, and nothing is "
            "compared",
        )
    )


def _closed(settings: Settings, calendar: Calendar, day: date) -> Iterable[str]:
    for exchange, kind in dict.fromkeys((i.exchange, i.kind) for i in settings.instruments):
        trading = calendar.day(exchange, kind, day)
        if trading.state is not DayState.OPEN:
            yield f"{exchange} on {day}: {trading.state}, {trading.name}; entries are refused"
