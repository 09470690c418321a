"""Market open: bursts of ticks within a millisecond, and a frame with 3 000 instruments."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.settings import load_settings
from pipeline.simulator.script import Script
from pipeline.testing import make_ticks
from tests.system.conftest import GUIDE, Tickpipe
from tests.system.running import HERE, HOLD
from tests.system.simulating import Simulators

pytestmark = pytest.mark.system

BURST_MAX = 161  # messages in a millisecond, in the recording
MANY = 3_000
ROUNDS = 10
INSTRUMENT = """
[[instruments]]
symbol = "{symbol}"
exchange = "NFO"
token = "{token}"
product_type = "INTRADAY"
lot_size = 75
tick_size = 0.05
"""


def ticks_at(times_ns: NDArray[np.int64]) -> NDArray[np.void]:
    """Return a tick of one instrument for each arrival, counted from 09:15."""
    ticks = np.resize(make_ticks([100 + n / 20 for n in range(200)]), len(times_ns))
    ticks["ts_event_ns"] = ticks["ts_event_ns"][0] + times_ns - times_ns[0] // 1_000_000 * 1_000_000
    return ticks


def generated_times() -> NDArray[np.int64]:
    """Return 30 000 arrivals in half a minute: bursts of 1 to 161, each within a millisecond."""
    sizes = np.arange(1, BURST_MAX + 1)[np.arange(400) * 67 % BURST_MAX]
    bursts = np.repeat(np.arange(400) * 75_000_000, sizes)
    within = np.concatenate([np.arange(size) * (1_000_000 // size) for size in sizes])
    return bursts + within


def recorded_times(shared_data: Path) -> NDArray[np.int64]:
    (path,) = (shared_data / "bursts").glob("*.gz")
    with gzip.open(path, "rt") as lines:
        return np.array([int(line.split(" ", 1)[0]) for line in lines])


@pytest.fixture(params=["generated", "recorded"])
def arrivals(request: pytest.FixtureRequest) -> NDArray[np.void]:
    """Return ticks at made-up arrival times, and at those of a recording by others."""
    if request.param == "generated":
        return ticks_at(generated_times())
    return ticks_at(recorded_times(request.getfixturevalue("shared_data")))


def run_options(url: str, strategy: str, tape: Path, **more: object) -> list[str]:
    chosen = {
        "feed.url": f'"{url}"',
        "strategy.use": f'"{HERE / "strategies.py"}:{strategy}"',
        "strategy.parameters.file": f'"{tape}"',
        **more,
    }
    return [part for name, value in chosen.items() for part in ("--set", f"{name}={value}")]


def test_bursts_reach_strategy_and_risk_whole_and_in_order(
    tickpipe: Tickpipe, simulators: Simulators, tmp_path: Path, arrivals: NDArray[np.void]
) -> None:
    per_ms = np.bincount(
        arrivals["ts_event_ns"] // 1_000_000 - arrivals["ts_event_ns"][0] // 1_000_000
    )
    assert per_ms.max() == BURST_MAX
    simulator = simulators(load_settings(GUIDE).instruments)(arrivals, speed=40.0, keep=True)
    tape = tmp_path / "tape.csv"
    code, output = tickpipe.run("run", *run_options(simulator.url, "WritesDown", tape))
    assert code == 0, output
    times_ns = arrivals["ts_event_ns"] // 1_000_000 * 1_000_000  # the broker sends milliseconds
    rows = zip(times_ns.tolist(), arrivals["price_e4"].tolist(), strict=True)
    expected = [f"{seq},{time_ns},{price_e4}" for seq, (time_ns, price_e4) in enumerate(rows, 1)]
    assert tape.read_text().splitlines() == expected
    parameters, _ = tickpipe.results_file()
    assert parameters["Ticks"] == str(len(arrivals))
    assert parameters["Ticks Lost"] == "risk 0, strategy 0"


def test_a_burst_laps_a_slow_strategy_and_the_loss_is_exact(
    tickpipe: Tickpipe, simulators: Simulators, tmp_path: Path
) -> None:
    arrivals = ticks_at(generated_times())[:6_000]
    simulator = simulators(load_settings(GUIDE).instruments)(arrivals, keep=True)
    tape = tmp_path / "tape.csv"
    small = {
        "channels.ring_capacity": 256,
        "strategy.when_lapped": '"latest"',
        "risk.when_lapped": '"oldest"',
    }
    options = run_options(simulator.url, "WritesDownSlowly", tape, **small)
    code, output = tickpipe.run("run", *options)
    assert code == 0, output
    seqs = [int(line.split(",")[0]) for line in tape.read_text().splitlines()]
    assert seqs == sorted(set(seqs))
    parameters, _ = tickpipe.results_file()
    risk, strategy = parameters["Ticks Lost"].removeprefix("risk ").split(", strategy ")
    assert int(strategy) > 0
    assert len(seqs) + int(strategy) == len(arrivals)
    assert int(parameters["Ticks"]) + int(risk) == len(arrivals)


def test_frames_of_3000_instruments_and_their_snapshot_are_taken_whole(
    tickpipe: Tickpipe, simulators: Simulators, tmp_path: Path
) -> None:
    """The connection breaks once, and a round is missed: the snapshot brings it."""
    config, tape = tmp_path / "many.toml", tmp_path / "tape.csv"
    config.write_text(_config_of_many())
    instruments = load_settings(config).instruments
    assert len(instruments) == MANY
    rounds = np.arange(MANY * ROUNDS) // MANY
    ticks = np.resize(make_ticks([100.0]), MANY * ROUNDS)
    ticks["instrument"] = np.arange(len(ticks)) % MANY
    ticks["ts_event_ns"] += rounds * 1_000_000_000
    ticks["price_e4"] += rounds * 500
    ticks["day_volume"] = (rounds + 1) * 75
    ticks["bid_e4"], ticks["ask_e4"] = ticks["price_e4"] - 500, ticks["price_e4"] + 500
    fault = {"kind": "fin", "tick": 6 * MANY + 1, "missed": MANY}
    simulator = simulators(instruments)(
        ticks,
        broker="kite",
        faults=Script.model_validate({"faults": [fault]}),
        every_tick=True,
        keep=True,
    )
    more = {"feed.mode": '"full"', "feed.reconnect_delay_seconds": 0.01}
    options = run_options(simulator.url, "HoldsAndWritesDown", tape, **more)
    code, output = tickpipe.run("run", "--config", config, *HOLD, *options)
    assert code == 0, output
    found = np.array(
        [line.split(",")[1:] for line in tape.read_text().splitlines() if line.startswith("tick")],
        np.int64,
    )
    assert len(found) == len(ticks)
    assert found[:, 0].tolist() == list(range(1, len(ticks) + 1))
    for round_number in range(ROUNDS):
        rows = found[round_number * MANY : (round_number + 1) * MANY]
        assert rows[:, 1].tolist() == list(range(MANY))
        assert set(rows[:, 2].tolist()) == {(round_number + 1) * 75}
    first, second = simulator.report.connections
    assert first.frames == 6  # a frame is 3 000 packets
    assert set(first.modes.values()) == set(second.modes.values()) == {"full"}
    assert len(second.modes) == MANY
    parameters, _ = tickpipe.results_file()
    assert parameters["Ticks"] == str(len(ticks))
    assert parameters["Ticks Lost"] == "risk 0, strategy 0"


def _config_of_many() -> str:
    """Return the guide's configuration for Kite, with 3 000 instruments."""
    head, _, rest = GUIDE.read_text().partition("[[instruments]]")
    tail = rest[rest.index("[session]") :]
    rows = (
        INSTRUMENT.format(symbol=f"S{number}", token=(10_000 + number) << 8 | 2)
        for number in range(MANY)
    )
    return head.replace('broker = "smartapi"', 'broker = "kite"') + "".join(rows) + tail
