"""The configuration that the command line names, and the verbs that show it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path

import pipeline
from pipeline.brokers.files import complete_instruments
from pipeline.results.parameters import settings_rows
from pipeline.risk.files import start_notices
from pipeline.runtime.exit_codes import ExitCode
from pipeline.settings import Settings, load_settings
from pipeline.strategy.loading import load_strategy
from pipeline.verbs.dates import today
from pipeline.verbs.terminal import console, say

CHECKOUT = Path(pipeline.__file__).resolve().parent.parent


def _keep_quiet(note: str) -> None:
    pass


def settings_of(
    options: argparse.Namespace,
    overrides: Sequence[str] = (),
    *,
    day: date | None = None,
    report: Callable[[str], None] = _keep_quiet,
) -> Settings:
    """Load the configuration with what the command line changes of it, the verb's own last.

    ``day`` is that of a verb that trades today, whose contracts must not have expired; what was
    taken from the broker's instrument dump goes to ``report``.
    """
    changes = [*options.set]
    if getattr(options, "mode", None):
        changes.append(f'waiting.mode="{options.mode}"')
    if getattr(options, "results", None):
        changes.append(f'run.results_dir="{options.results}"')
    complete = partial(complete_instruments, day=day, report=report)
    return load_settings(options.config, [*changes, *overrides], complete)


def check_config(options: argparse.Namespace) -> ExitCode:
    settings = settings_of(options, day=today(), report=say)
    load_strategy(settings.strategy)
    for notice in start_notices(settings, None):
        say(notice)
    console.print(f"{options.config} is right", soft_wrap=True)
    return ExitCode.OK


def show_config(options: argparse.Namespace) -> ExitCode:
    settings = settings_of(options, day=today(), report=say)
    for name, value in settings_rows(settings):
        console.print(f"{name} = {value}", soft_wrap=True)
    return ExitCode.OK
