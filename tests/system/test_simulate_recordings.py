"""`tickpipe simulate` of what was recorded here, and a client that records it again."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from pipeline.brokers.recorded.files import read_ticks, write_ticks
from pipeline.settings import load_settings
from pipeline.simulator.generator import generate_day
from tests.system.conftest import GUIDE, Tickpipe, finish

pytestmark = pytest.mark.system

COUNT = 1_000
SAID = ["ts_event_ns", "price_e4", "quantity", "day_volume", "instrument"]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a day as compressed CSV, and as a run recorded it."""
    pytest.importorskip("pyarrow", reason="needs `pip install tickpipe[record]`")
    folder = tmp_path_factory.mktemp("recordings")
    day = generate_day(seed=11, date=date(2026, 1, 5), ticks_per_instrument=COUNT)
    write_ticks(folder / "day.csv.gz", day)
    command = Tickpipe(folder, folder / "shared")
    to_rec = ("--set", f'recorder.directory="{folder}"')
    code, output = command.run("replay", folder / "day.csv.gz", *to_rec)
    assert code == 0, output
    return folder


@pytest.mark.parametrize(
    "file", ["day.csv.gz", "2026-01-05", "2026-01-05/ticks/NIFTY-OPTION.parquet"]
)
def test_a_recording_that_is_simulated_and_recorded_again_has_the_same_ticks(
    tickpipe: Tickpipe, recordings: Path, file: str
) -> None:
    simulator = tickpipe.start(
        "simulate", recordings / file, "--port", 0, "--speed", "max", "--config", GUIDE
    )
    assert simulator.stdout is not None
    found = re.search(r"ws://127\.0\.0\.1:\d+\S*", simulator.stdout.readline())
    assert found is not None
    again = tickpipe.folder / "again"
    url = ("--set", f'feed.url="{found[0]}"')
    directory = ("--set", f'channels.directory="{tickpipe.run_directory}"')
    code, output = finish(
        tickpipe.start("record", "--config", GUIDE, "--out", again, *url, *directory)
    )
    assert code == 0, output
    assert finish(simulator)[0] == 0
    instruments = load_settings(GUIDE).instruments
    sent, came = (
        read_ticks(path, instruments) for path in (recordings / file, again / "2026-01-05")
    )
    assert len(came) == COUNT
    assert came[SAID].tolist() == sent[SAID].tolist()
