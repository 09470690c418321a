"""A day of faults in a minute: whatever breaks, every tick is on the ring or within a known gap.

The simulator plays at full speed, breaks by a script, and reports what it delivered. A strategy
that always holds a position writes down what reached it. Both are compared at the end.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.settings import SIMULATOR_SECRETS, Instrument, load_settings
from pipeline.settings.secrets import LOGINS
from pipeline.simulator.report import Report, Way
from pipeline.simulator.script import Script
from pipeline.testing import make_ticks
from tests.system.conftest import GUIDE, Tickpipe, finish, for_kite
from tests.system.simulating import Simulators
from tests.system.test_stopping import HERE, HOLD

pytestmark = pytest.mark.system

APART = 300  # ticks between two faults
SILENT_SECONDS_MAX = 2.0  # of the feed, before risk closes the position
SECOND = """
[[instruments]]
symbol = "OTHER-OPTION"
exchange = "NFO"
token = "58964"
product_type = "INTRADAY"
lot_size = 75
tick_size = 0.05
"""
OUTAGES: list[dict[str, Any]] = [
    {"kind": "reset"},
    {"kind": "fin", "missed": 7},
    {"kind": "close", "code": 1001},
    {"kind": "half_frame", "bytes": 1, "lost": True},
    {"kind": "noise"},
    {"kind": "stall", "missed": 30},
    {"kind": "http", "status": 401, "attempts": 2},
    {"kind": "close", "code": 1011},
    {"kind": "heartbeats"},
    {"kind": "unreachable", "seconds": 0.1, "missed": 25},
    {"kind": "reset", "missed": 1},
    {"kind": "http", "status": 500, "attempts": 3},
    {"kind": "close", "code": 1008},
    {"kind": "expiry", "token": "another-token", "missed": 12},
    {"kind": "half_frame", "bytes": 60, "seconds": 0.05, "lost": True},
    {"kind": "close", "code": 1000, "reason": "not the end"},
    {"kind": "fin"},
    {"kind": "unreachable", "seconds": 2 * SILENT_SECONDS_MAX, "missed": 50},
    {"kind": "noise", "hex": "0a0b0c"},
    {"kind": "http", "status": 429, "attempts": 1, "missed": 9},
    {"kind": "reset"},
    {"kind": "close", "code": 1013},
    {"kind": "stall"},
    {"kind": "http", "status": 403, "attempts": 1},
    {"kind": "reset", "missed": 40},
    {"kind": "fin"},
    {"kind": "heartbeats", "missed": 20},
    {"kind": "close", "code": 4000},
    {"kind": "http", "status": 503, "attempts": 1},
    {"kind": "reset"},
]
HITCHES: list[dict[str, Any]] = [  # the connection lives through these
    {"kind": "drip", "frames": 5, "bytes": 9, "seconds": 0.001},
    {"kind": "text"},
    {"kind": "half_frame", "bytes": 30, "seconds": 0.05},
    {"kind": "binary"},
    {"kind": "silent", "symbol": "OTHER-OPTION", "ticks": 50},
    {"kind": "text", "text": '{"type":"order","data":{"order_id":"1","status":"COMPLETE"}}'},
    {"kind": "drip", "frames": 1, "bytes": 1, "seconds": 0.0},
]
DISORDER: list[dict[str, Any]] = [  # told by SmartAPI's sequence; Kite has none
    {"kind": "repeat", "ticks": 20},
    {"kind": "reverse", "ticks": 6},
]
QUICK = {
    "feed.credentials": '"file"',
    "feed.mode": '"full"',
    "feed.silence_seconds_max": 1.0,
    "feed.stalled_seconds_max": 0.5,
    "feed.reconnect_delay_seconds": 0.002,
    "feed.healthy_seconds": 0.05,
    "risk.silent_feed_seconds_max": SILENT_SECONDS_MAX,
    "channels.ring_capacity": 65_536,
}


def script_for(broker: str) -> Script:
    """Return all faults, spread evenly over the day."""
    hitches = HITCHES + (DISORDER if broker == "smartapi" else [])
    rounds = itertools.zip_longest(OUTAGES, hitches)
    faults = [fault for pair in rounds for fault in pair if fault is not None]
    placed = [{"tick": n * APART} | fault for n, fault in enumerate(faults, 1)]
    return Script.model_validate({"faults": placed})


def make_day(count: int) -> NDArray[np.void]:
    """Return ticks of two instruments in turn, each known by its day volume."""
    ticks = make_ticks([100 + n % 7 / 20 for n in range(count)])
    ticks["instrument"] = np.arange(count) % 2
    ticks["bid_e4"], ticks["ask_e4"] = ticks["price_e4"] - 500, ticks["price_e4"] + 500
    return ticks


def write_secrets(path: Path, broker: str, **renewed: str) -> None:
    values = {name: getattr(SIMULATOR_SECRETS, name).get_secret_value() for name in LOGINS[broker]}
    beside = path.with_suffix(".part")
    beside.touch(mode=0o600)
    beside.write_text(
        "".join(f'{name} = "{value}"\n' for name, value in (values | renewed).items())
    )
    beside.replace(path)


class Tape:
    """What the strategy wrote down, by instrument: numbers of ticks, and where the gaps were."""

    def __init__(self, path: Path, day: NDArray[np.void]) -> None:
        numbers = {
            (int(row["instrument"]), int(row["day_volume"])): place + 1
            for place, row in enumerate(day)
        }
        self.ticks: dict[int, list[int]] = {0: [], 1: []}
        self.gaps: dict[int, set[int]] = {0: set(), 1: set()}  # before which of its ticks
        self.seqs: list[int] = []
        self.reasons: list[str] = []
        for line in path.read_text().splitlines():
            kind, *values = line.split(",")
            if kind == "tick":
                seq, instrument, volume = map(int, values)
                self.seqs.append(seq)
                self.ticks[instrument].append(numbers[instrument, volume])
            else:
                self.reasons.append(values[0])
                for instrument in map(int, values[2:]):
                    self.gaps[instrument].add(len(self.ticks[instrument]))

    def has(self, instrument: int, number: int) -> bool:
        ticks = self.ticks[instrument]
        place = bisect_left(ticks, number)
        return place < len(ticks) and ticks[place] == number

    def is_in_gap(self, instrument: int, number: int) -> bool:
        """Whether the strategy was told of a gap where tick ``number`` would have been."""
        return bisect_left(self.ticks[instrument], number) in self.gaps[instrument]


def is_silent(script: Script, report: Report, number: int) -> bool:
    """Whether tick ``number`` is of an instrument that a fault kept silent."""
    for fault, struck in zip(script.faults, report.faults, strict=True):
        if fault.kind == "silent" and 0 <= number - struck.tick < fault.ticks:
            return number % 2 == 0
    return False


@pytest.mark.parametrize("broker", ["smartapi", "kite"])
def test_every_tick_of_a_day_of_faults_is_on_the_ring_or_in_a_gap(
    tickpipe: Tickpipe, simulators: Simulators, tmp_path: Path, broker: str
) -> None:
    script = script_for(broker)
    day = make_day(APART * (len(script.faults) + 1))
    config = tmp_path / "config.toml"
    text = GUIDE.read_text() + SECOND
    config.write_text(for_kite(text) if broker == "kite" else text)
    instruments: list[Instrument] = list(load_settings(config).instruments)
    simulator = simulators(instruments)(
        day, broker=broker, faults=script, every_tick=True, heartbeat_seconds=0.1, keep=True
    )
    secrets, tape_file = tmp_path / "secrets.toml", tmp_path / "tape.csv"
    write_secrets(secrets, broker)
    chosen = QUICK | {
        "feed.url": f'"{simulator.url}"',
        "feed.secrets_file": f'"{secrets}"',
        "strategy.use": f'"{HERE / "strategies.py"}:HoldsAndWritesDown"',
        "strategy.parameters.file": f'"{tape_file}"',
    }
    options = [part for name, value in chosen.items() for part in ("--set", f"{name}={value}")]
    run = tickpipe.trade("run", "--config", config, *HOLD, *options)

    report = simulator.report
    expiry = next(n for n, fault in enumerate(script.faults) if fault.kind == "expiry")
    tickpipe.wait_for(
        lambda: len(report.faults) > expiry and _is_refused_since(report, expiry),
        f"a login with the old token, {report.faults}",
    )
    token = "jwt" if broker == "smartapi" else "access_token"
    write_secrets(secrets, broker, **{token: "another-token"})
    code, output = finish(run)
    assert code == 0, output
    parameters, trades = tickpipe.results_file()
    tape = Tape(tape_file, day)

    # Every fault happened, to a connection on which ticks came.
    assert [fault.kind for fault in report.faults] == [fault.kind for fault in script.faults]
    assert all(fault.connections for fault in report.faults)
    outages = len(OUTAGES)
    told = [(fault.kind, fault.tick, fault.connections) for fault in report.faults]
    assert len(report.connections) > outages, (told, output)
    assert len([reason for reason in tape.reasons if reason != "lapped"]) >= outages, output

    # Nothing came twice, nothing out of order, and nothing was lost between the processes.
    assert tape.seqs == list(range(1, len(tape.seqs) + 1))
    for numbers in tape.ticks.values():
        assert all(before < after for before, after in itertools.pairwise(numbers))
    assert parameters["Ticks"] == str(len(tape.seqs))
    assert parameters["Ticks Lost"] == "risk 0, strategy 0"

    # Every tick is on the ring or within a gap. What the feed has proven to have read is on it.
    deliveries = report.deliveries()
    late = set(deliveries["tick"][deliveries["way"] == Way.LATE].tolist())
    lost = [
        number
        for number in range(1, len(day) + 1)
        if not tape.has((number - 1) % 2, number)
        and number not in late
        and not is_silent(script, report, number)
    ]
    unexplained = [number for number in lost if not tape.is_in_gap((number - 1) % 2, number)]
    assert not unexplained, (unexplained, report.faults, output)
    for row in deliveries[np.isin(deliveries["tick"], lost)]:
        connection = report.connections[row["connection"] - 1]
        assert row["frame"] > connection.proven, (row, connection, output)

    # Subscriptions and modes are restored.
    full = {row.symbol: "full" for row in instruments}
    used = [connection for connection in report.connections if connection.frames]
    assert all(connection.modes == full for connection in used)

    # The position that was open in the long outage was closed by the rule, and opened again.
    assert "stale_feed" in [trade["exit_reason"] for trade in trades], output
    assert trades[-1]["exit_reason"] != "stale_feed"


def _is_refused_since(report: Report, expiry: int) -> bool:
    struck_ns = report.faults[expiry].struck_ns
    return any(refusal.refused_ns > struck_ns for refusal in list(report.refusals))
