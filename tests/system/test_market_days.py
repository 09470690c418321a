"""The calendar and dated charges as a user meets them: the verb, the refusals, whole days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from pipeline.backtest import backtest
from pipeline.brokers.recorded.files import read_ticks, write_ticks
from pipeline.errors import SettingsError
from pipeline.runtime.exit_codes import ExitCode
from pipeline.settings import load_settings
from pipeline.simulator.generator import generate_day
from tests.system.conftest import GUIDE, Tickpipe, finish
from tests.system.golden import TICKS
from tests.system.test_bad_input import explained

CALENDAR = ("--set", "session.gates=true", "--set", "session.calendar=true")
CHARGES = ("--set", 'risk.charges="zerodha"')
Configure = Callable[[str], Path]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """Return a way to write the guide's configuration with more said of its instrument."""

    def write(more: str) -> Path:
        path = tmp_path / "my.toml"
        lot = "lot_size = 75 "
        path.write_text(GUIDE.read_text().replace(lot, f"{more}\n{lot}"))
        return path

    return write


def write_day(path: Path, day: date, ticks: int = TICKS) -> Path:
    write_ticks(path, generate_day(seed=2026, date=day, ticks_per_instrument=ticks, lot_size=75))
    return path


def test_the_verb_shows_a_day_and_who_says_so(tickpipe: Tickpipe) -> None:
    code, output = tickpipe.tell("calendar", "2026-11-24")
    assert code == ExitCode.OK, output
    assert "Tuesday, 2026-11-24, IST" in output
    assert "Prakash Gurpurb Sri Guru Nanak Dev" in output
    assert "NSE/CMTR/71775" in output


@pytest.mark.parametrize(
    ("day", "told"),
    [
        ("2027-01-04", "2027-01-04 is outside the calendar"),
        ("2025-10-01", "2025-10-01 is outside the calendar"),
        ("24.11.2026", "a date is YYYY-MM-DD"),
    ],
)
def test_a_date_that_the_data_does_not_have_is_refused(
    tickpipe: Tickpipe, day: str, told: str
) -> None:
    code, output = tickpipe.tell("calendar", day)
    assert code == ExitCode.USAGE, output
    assert told in output
    assert explained(output)


def test_an_open_day_is_traded_in_the_hours_of_the_calendar(tickpipe: Tickpipe) -> None:
    day = write_day(tickpipe.folder / "day.csv", date(2026, 1, 5))
    code, output = tickpipe.run("replay", day, *CALENDAR)
    assert code == ExitCode.OK, output
    assert "entries are refused" not in output
    hours = ["session.gates=true", 'session.start="09:15"', 'session.end="15:30"']
    settings = load_settings(GUIDE, hours)
    expected = backtest(settings, read_ticks(day, settings.instruments)).trades
    assert [row["exit_order_id"] for row in tickpipe.trades()] == [
        trade.exit_order_id for trade in expected
    ]
    assert expected


def test_a_holiday_is_told_and_nothing_is_bought(tickpipe: Tickpipe) -> None:
    day = write_day(tickpipe.folder / "day.csv", date(2026, 1, 26))
    code, output = tickpipe.run("replay", day, *CALENDAR)
    assert code == ExitCode.OK, output
    assert "note: NFO on 2026-01-26: closed, Republic Day; entries are refused" in output
    parameters, trades = tickpipe.results_file()
    assert trades == []
    assert parameters["Signals"] == parameters["Refused Signals"] != "0"


@pytest.mark.parametrize("verb", ["check-config", "run"])
def test_a_lot_that_is_not_the_exchange_s_is_refused_with_the_calendar_only(
    tickpipe: Tickpipe, configure: Configure, verb: str
) -> None:
    day = write_day(tickpipe.folder / "day.csv", date(2026, 1, 5), ticks=100)
    recorded = ("--set", 'feed.broker="recorded"', "--set", f'feed.recording="{day}"')
    config = configure('underlying = "NIFTY"')
    code, output = finish(tickpipe.start(verb, "--config", config, *recorded, *CALENDAR))
    assert code == ExitCode.BAD_SETTINGS, output
    assert "the lot of NIFTY-OPTION is 75, that of NIFTY on 2026-01-05 is 65" in output
    assert "NSE/FAOP/70616" in output
    assert explained(output)
    code, output = finish(tickpipe.start("check-config", "--config", config, *recorded))
    assert code == ExitCode.OK, output


@pytest.mark.parametrize("verb", ["replay", "backtest"])
@pytest.mark.parametrize(
    ("day", "kind", "told"),
    [
        (date(2027, 4, 1), "option", 'charges = "zerodha" has no rates for NIFTY-OPTION on 2027-'),
        (date(2026, 1, 5), "unstated", "its kind is unstated"),
    ],
)
def test_dated_charges_that_are_not_known_stop_the_start(
    tickpipe: Tickpipe, configure: Configure, verb: str, day: date, kind: str, told: str
) -> None:
    file = write_day(tickpipe.folder / "day.csv", day, ticks=100)
    config = configure(f'kind = "{kind}"')
    code, output = tickpipe.run(verb, file, "--config", config, *CHARGES)
    assert code == ExitCode.BAD_SETTINGS, output
    assert told in output
    assert explained(output)


def test_a_backtest_that_a_program_calls_is_stopped_too(configure: Configure) -> None:
    settings = load_settings(configure('kind = "option"'), ['risk.charges="zerodha"'])
    after = generate_day(seed=1, date=date(2027, 4, 1), ticks_per_instrument=10, lot_size=75)
    with pytest.raises(SettingsError, match="has no rates for NIFTY-OPTION on 2027-04-01"):
        backtest(settings, after)


def test_the_processes_charge_what_a_backtest_charges(
    tickpipe: Tickpipe, configure: Configure
) -> None:
    day = write_day(tickpipe.folder / "day.csv", date(2026, 1, 5))
    config = configure('kind = "option"')
    code, output = tickpipe.run("replay", day, "--config", config, *CHARGES)
    assert code == ExitCode.OK, output
    settings = load_settings(config, ['risk.charges="zerodha"'])
    expected = backtest(settings, read_ticks(day, settings.instruments)).trades
    assert [float(row["exit_charges"]) for row in tickpipe.trades()] == [
        float(trade.exit_charges) for trade in expected
    ]
    assert expected
