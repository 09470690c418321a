"""The days that a verb may mean."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from pipeline.errors import UsageError, explain
from pipeline.records import IST


def today() -> date:
    return datetime.now(IST).date()


def last_weekday() -> date:
    day = today()
    while day.weekday() >= 5:
        day -= timedelta(days=1)
    return day


def date_of(option: str, text: str) -> date:
    """Return the date that ``option`` was given. Raises UsageError."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            explain(
                f"{option}{text}: {error}",
                rule="a date is YYYY-MM-DD",
                cure=f"for example {option}2026-01-05",
            )
        ) from None
