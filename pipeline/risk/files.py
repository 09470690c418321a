"""Reads the market data that ships, every TOML file of pipeline/risk/data as one, and what outlasts
the day of a ledger."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.recorded.files import read_ticks
from pipeline.errors import TickpipeError, explain
from pipeline.records import IST
from pipeline.risk.calendar import Calendar, DayState
from pipeline.risk.history import Event
from pipeline.risk.hours import dates_of
from pipeline.risk.ledger import Ledger, ledger_before
from pipeline.risk.mandate import CARRIED, STATE, Mandate
from pipeline.risk.rulebook import NO_RULES, Rulebook, parse_rulebook
from pipeline.risk.starting import check_start, needs_rulebook
from pipeline.settings import Settings

DATA = "pipeline.risk.data"


def read_rulebook(folder: Traversable | None = None) -> Rulebook:
    """Read and check the files of ``folder``, those of the package unless told otherwise.

    Raises TickpipeError that names the file or the row.
    """
    folder = folder or resources.files(DATA)
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    tables = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
            tables.append(tomllib.loads(text, parse_float=Decimal))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise TickpipeError(
                explain(
                    f"rulebook, {file.name}: {error}",
                    rule="pipeline/risk/data holds valid TOML in UTF-8",
                    cure="correct the file, or install tickpipe again",
                )
            ) from None
    return parse_rulebook(tables)


def start_notices(settings: Settings, ticks: NDArray[np.void] | None = None) -> list[str]:
    """Check the settings for the days of ``ticks``, of the recording, or for today.

    Returns what people should be told; raises SettingsError as ``check_start`` does.
    """
    if not needs_rulebook(settings):
        return []
    if ticks is None and settings.feed.recording is not None:
        ticks = read_ticks(settings.feed.recording, settings.instruments)
    days = [datetime.now(IST).date()] if ticks is None else dates_of(ticks["ts_event_ns"])
    return check_start(settings, read_rulebook(), days)


def session_days(settings: Settings) -> Callable[[date], tuple[time, time] | None] | None:
    """Return what tells from when to when ticks come on a day: None on one without a session.

    It is None itself with the gates off. A day that the calendar does not have is like others.
    """
    session = settings.session
    usual = (session.start, session.end)
    if not session.gates:
        return None
    if not session.calendar:
        return lambda day: usual
    calendar = Calendar(read_rulebook())
    kinds = {(instrument.exchange, instrument.kind) for instrument in settings.instruments}

    def hours(day: date) -> tuple[time, time] | None:
        days = [calendar.day(exchange, kind, day) for exchange, kind in kinds]
        if any(found.state is DayState.UNKNOWN for found in days):
            return usual
        spans = [(found.open, found.close) for found in days if found.open and found.close]
        return (min(span[0] for span in spans), max(span[1] for span in spans)) if spans else None

    return hours


def rulebook_for(settings: Settings) -> Rulebook:
    """Return what ``settings`` needs of the data; nothing where nothing is needed."""
    return read_rulebook() if needs_rulebook(settings) else NO_RULES


def carry_over(ledger: Ledger, path: Path, now_ns: int) -> str:
    """Have ``ledger`` (at ``path``), where it begins its day, begin with the halt that the day
    before left; return what people should be told, "" = nothing.

    Raises UserError for a ledger of the day before that cannot be read.
    """
    before = None if ledger.events() else ledger_before(path)
    if before is None:
        return ""
    with Ledger.read(before) as earlier:
        requests = [event.text for event in earlier.events() if event.kind == STATE]
    day = datetime.strptime(before.stem.rsplit("_", 1)[1], "%Y%m%d").date()
    mandate = Mandate.into_the_next_day(requests, day)
    if mandate.takes_entries:
        return ""
    text = f"{mandate}: nobody has resumed since; `tickpipe resume` takes entries again"
    ledger.put(Event(CARRIED, text, now_ns))
    ledger.put(Event(STATE, str(mandate), now_ns))
    ledger.try_commit()
    return text
