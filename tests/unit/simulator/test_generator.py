"""A generated day: the same for a seed everywhere, and like a day of option ticks."""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pipeline.brokers.recorded.files import running_volume, write_ticks
from pipeline.errors import UserError
from pipeline.simulator.generator import generate_day

DAY = date(2026, 1, 5)
SEEDS = range(5)


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000_000


def test_a_seed_gives_these_very_bytes_on_every_machine() -> None:
    ticks = generate_day(seed=7, date=DAY, instruments=2, ticks_per_instrument=5_000)
    assert hashlib.sha256(ticks.tobytes()).hexdigest() == (
        "b625723f925089f80efeed6ed58b4341b8b21d47b7696de71ec090c40e958a83"
    )


def test_the_same_seed_writes_the_same_file(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz"):
        write_ticks(tmp_path / name, generate_day(seed=3, date=DAY, ticks_per_instrument=500))
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


def test_another_seed_and_another_instrument_walk_elsewhere() -> None:
    ticks = generate_day(seed=1, date=DAY, instruments=2, ticks_per_instrument=500)
    other = generate_day(seed=2, date=DAY, instruments=2, ticks_per_instrument=500)
    walks = [
        rows["price_e4"][rows["instrument"] == instrument].tolist()
        for rows in (ticks, other)
        for instrument in (0, 1)
    ]
    assert all(walks.count(walk) == 1 for walk in walks)


@pytest.mark.parametrize("first_price", ["0.05", "4", "250", "4000"])
def test_prices_are_steps_of_five_paise_and_never_below_one_step(first_price: str) -> None:
    prices = generate_day(seed=1, date=DAY, first_price=Decimal(first_price))["price_e4"]
    assert not (prices % 500).any()
    assert prices.min() >= 500


def test_time_counts_milliseconds_of_the_session_and_never_goes_back() -> None:
    times = generate_day(seed=1, date=DAY, instruments=3, start="10:00", end="11:30")["ts_event_ns"]
    assert not (times % 1_000_000).any()
    assert (np.diff(times) >= 0).all()
    assert times[0] == ns("2026-01-05T10:00:00+05:30")
    assert times[-1] == ns("2026-01-05T11:30:00+05:30")


def test_quantities_are_lots_and_add_up_to_the_day_volume() -> None:
    ticks = generate_day(seed=1, date=DAY, instruments=2, lot_size=75, ticks_per_instrument=999)
    assert not (ticks["quantity"] % 75).any()
    assert ticks["quantity"].min() == 75
    assert len(np.unique(ticks["quantity"])) > 5
    expected = running_volume(ticks["instrument"], ticks["quantity"])
    assert ticks["day_volume"].tolist() == expected.tolist()


def test_each_instrument_has_its_share_of_the_ticks() -> None:
    ticks = generate_day(seed=1, date=DAY, instruments=4, ticks_per_instrument=250)
    assert np.bincount(ticks["instrument"]).tolist() == [250] * 4
    assert not ticks["seq"].any()
    assert not ticks["ts_recv_ns"].any()


def test_one_tick_is_a_day() -> None:
    (tick,) = generate_day(seed=1, date=DAY, ticks_per_instrument=1)
    assert tick["ts_event_ns"] == ns("2026-01-05T09:15:00+05:30")


# Like a recorded day: the bounds are wide, around what the recorded NIFTY option day has.


@pytest.mark.parametrize("seed", SEEDS)
def test_changes_are_of_the_size_of_a_recorded_day(seed: int) -> None:
    changes = np.diff(generate_day(seed=seed, date=DAY)["price_e4"]) / 10_000
    assert 0.30 < (changes == 0).mean() < 0.45  # recorded: 0.37
    assert 0.4 < changes.std() < 1.0  # recorded: 0.57 ₹
    assert np.abs(changes).max() > 4  # jumps; recorded: 6.7 ₹


@pytest.mark.parametrize("seed", SEEDS)
def test_volatility_clusters(seed: int) -> None:
    sizes = np.abs(np.diff(generate_day(seed=seed, date=DAY)["price_e4"])).astype(float)
    assert np.corrcoef(sizes[20:], sizes[:-20])[0, 1] > 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_there_are_bursts_within_a_millisecond_and_quiet_spells(seed: int) -> None:
    pauses_ms = np.diff(generate_day(seed=seed, date=DAY)["ts_event_ns"]) // 1_000_000
    assert 0.02 < (pauses_ms == 0).mean() < 0.15
    assert pauses_ms.max() > 10_000


@pytest.mark.parametrize("seed", SEEDS)
def test_the_walk_is_pulled_back(seed: int) -> None:
    prices = generate_day(seed=seed, date=DAY, ticks_per_instrument=200_000)["price_e4"] / 10_000
    by_ticks = [np.std(prices[lag:] - prices[:-lag]) for lag in (500, 50_000)]
    assert by_ticks[1] / by_ticks[0] < 8  # a free walk: √100


@pytest.mark.parametrize("seed", SEEDS)
def test_the_momentum_rule_finds_entries(seed: int) -> None:
    prices = generate_day(seed=seed, date=DAY)["price_e4"].tolist()
    fast = slow = float(prices[0])
    rises = entries = 0
    for before, price in pairwise(prices):
        fast += 2 / 19 * (price - fast)
        slow += 2 / 43 * (price - slow)
        rises = rises + 1 if price > before else 0
        entries += rises == 3 and fast > slow
    assert entries > 100


# What cannot be generated --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"start": "15:30", "end": "09:15"}, "start 15:30 is not before end 09:15"),
        ({"start": "quarter past nine"}, "'quarter past nine' is not a time of day"),
        ({"end": "15:30+05:30"}, "'15:30+05:30' is not a time of day"),
        ({"first_price": Decimal("0")}, "first price 0 is not a step of 0.05"),
        ({"first_price": Decimal("-5")}, "first price -5 is not a step of 0.05"),
        ({"first_price": Decimal("1.03")}, "first price 1.03 is not a step of 0.05"),
        ({"instruments": 0}, "0 instruments"),
        ({"ticks_per_instrument": 0}, "0 ticks, of at most 10000000"),
        ({"ticks_per_instrument": 10_000_001}, "10000001 ticks, of at most 10000000"),
        ({"lot_size": 0}, "lot size 0 is not above 0"),
        ({"seed": -1}, "seed -1 is negative"),
    ],
)
def test_what_cannot_be_generated_is_refused(changes: dict[str, object], what: str) -> None:
    arguments: dict[str, object] = {"seed": 1, "date": DAY}
    with pytest.raises(UserError) as caught:
        generate_day(**(arguments | changes))
    assert str(caught.value).startswith(what)
