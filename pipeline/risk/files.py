"""Reads the market data that ships: every TOML file of pipeline/risk/data, as one."""

from __future__ import annotations

import tomllib
from datetime import datetime
from decimal import Decimal
from importlib import resources
from importlib.resources.abc import Traversable

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.recorded.files import read_ticks
from pipeline.errors import TickpipeError, explain
from pipeline.records import IST
from pipeline.risk.hours import dates_of
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


def rulebook_for(settings: Settings) -> Rulebook:
    """Return what ``settings`` needs of the data; nothing where nothing is needed."""
    return read_rulebook() if needs_rulebook(settings) else NO_RULES
