"""A day of faults in a minute: whatever breaks, every tick is on the ring or within a known gap.

The simulator plays at full speed, breaks by a script, and reports what it delivered. A strategy
that always holds a position writes down what reached it. Both are compared at the end.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.settings import SIMULATOR_SECRETS, load_settings
from pipeline.settings.secrets import LOGINS
from pipeline.simulator.faults import AnyFault, HalfFrame
from pipeline.simulator.report import Report
from pipeline.simulator.script import Script
from pipeline.testing import make_ticks
from tests.system.conftest import GUIDE, Tickpipe, finish, for_kite
from tests.system.running import HERE, HOLD
from tests.system.simulating import Simulators
from tests.system.tape import (
    Tape,
    assert_every_tick_is_on_the_ring_or_in_a_gap,
    assert_nothing_came_twice_or_out_of_order,
)

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"),
]

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
TOKENS = {"smartapi": "jwt", "kite": "access_token"}
HITCH_KINDS = {fault["kind"] for fault in HITCHES + DISORDER}
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


def make_day(count: int, instruments: int = 2) -> NDArray[np.void]:
    """Return ticks of the instruments in turn, each known by its day volume."""
    ticks = make_ticks([100 + n % 7 / 20 for n in range(count)], step_ms=500)
    ticks["instrument"] = np.arange(count) % instruments
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


def is_silent(script: Script, report: Report, number: int) -> bool:
    """Whether tick ``number`` is of an instrument that a fault kept silent."""
    for fault, struck in zip(script.faults, report.faults, strict=True):
        if fault.kind == "silent" and 0 <= number - struck.tick < fault.ticks:
            return number % 2 == 0
    return False


def breaks(fault: AnyFault) -> bool:
    return fault.lost if isinstance(fault, HalfFrame) else fault.kind not in HITCH_KINDS


def assert_every_fault_broke_a_connection(script: Script, report: Report, tape: Tape) -> None:
    assert [fault.kind for fault in report.faults] == [fault.kind for fault in script.faults]
    assert all(fault.connections for fault in report.faults)
    broken = [
        struck for fault, struck in zip(script.faults, report.faults, strict=True) if breaks(fault)
    ]
    assert len(broken) == len(OUTAGES) < len(report.connections)
    assert [fault for fault in broken if not tape.has_gap_at(fault.tick, 0)] == []


def assert_subscriptions_and_modes_were_restored(report: Report) -> None:
    full = dict.fromkeys(report.symbols, "full")
    broken = {number for fault in report.faults for number in fault.connections}
    for connection in report.connections:
        assert connection.modes == full or connection.number not in broken, connection


@pytest.mark.parametrize("broker", ["smartapi", "kite"])
def test_every_tick_of_a_day_of_faults_is_on_the_ring_or_in_a_gap(
    tickpipe: Tickpipe, simulators: Simulators, tmp_path: Path, broker: str
) -> None:
    script = script_for(broker)
    day = make_day(APART * (len(script.faults) + 1))
    config, secrets, tape_file = (tmp_path / n for n in ("day.toml", "secrets.toml", "tape.csv"))
    text = GUIDE.read_text() + SECOND
    config.write_text(for_kite(text) if broker == "kite" else text)
    simulator = simulators(load_settings(config).instruments)(
        day, broker=broker, faults=script, every_tick=True, heartbeat_seconds=0.1, keep=True
    )
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
    tickpipe.wait_for(lambda: is_refused_after_expiry(report), "a login with the old token")
    write_secrets(secrets, broker, **{TOKENS[broker]: "another-token"})
    code, output = finish(run)
    print(output)
    print(*report.faults, *report.connections, sep="\n")
    assert code == 0
    tape = Tape(tape_file, day)
    assert_every_fault_broke_a_connection(script, report, tape)
    assert_nothing_came_twice_or_out_of_order(tape)
    sounding = [n for n in range(1, len(day) + 1) if not is_silent(script, report, n)]
    assert_every_tick_is_on_the_ring_or_in_a_gap(tape, report, sounding)
    assert_subscriptions_and_modes_were_restored(report)
    parameters, trades = tickpipe.results_file()
    assert parameters["Ticks"] == str(len(tape.seqs))
    assert parameters["Ticks Lost"] == "risk 0, strategy 0"
    # The position of the long outage was closed by the rule, and another one was opened.
    reasons = [trade["exit_reason"] for trade in trades]
    assert "stale_feed" in reasons[:-1]
    assert reasons[-1] != "stale_feed"


SHARED: list[dict[str, Any]] = [  # of the first connection's instruments, and of the second's
    {"kind": "reset", "symbol": "S1"},
    {"kind": "fin", "symbol": "S0"},
    {"kind": "stall", "symbol": "S1"},
    {"kind": "close", "code": 1011, "symbol": "S0"},
    {"kind": "http", "status": 500, "attempts": 2, "symbol": "S1"},
    {"kind": "half_frame", "lost": True, "symbol": "S0"},
    {"kind": "heartbeats", "symbol": "S1"},
    {"kind": "unreachable", "seconds": 0.1, "missed": 500},  # both
    {"kind": "reset", "symbol": "S0"},
]


def test_an_outage_of_one_connection_is_a_gap_of_its_instruments_only(
    tickpipe: Tickpipe, simulators: Simulators, tmp_path: Path
) -> None:
    count = apart = 1_002  # instruments, which need two connections; ticks between faults
    symbols = ["S0", *(f"M{n}" for n in range(1, count - 1)), "S1"]
    config, tape_file = tmp_path / "many.toml", tmp_path / "tape.csv"
    head, _, rest = GUIDE.read_text().partition("[[instruments]]")
    rows = [
        SECOND.replace("OTHER-OPTION", symbol).replace("58964", str(10_000 + n))
        for n, symbol in enumerate(symbols)
    ]
    config.write_text(head + "".join(rows) + rest[rest.index("[session]") :])
    placed = [{"tick": n * apart} | fault for n, fault in enumerate(SHARED, 1)]
    script = Script.model_validate({"faults": placed})
    day = make_day(apart * (len(SHARED) + 1), count)
    simulator = simulators(load_settings(config).instruments)(
        day, faults=script, every_tick=True, wait_for=2, keep=True
    )
    chosen = QUICK | {
        "feed.url": f'"{simulator.url}"',
        "feed.credentials": '"simulator"',
        "feed.stalled_seconds_max": 1.0,  # the day stands still until both listen
        "strategy.use": f'"{HERE / "strategies.py"}:HoldsAndWritesDown"',
        "strategy.parameters.file": f'"{tape_file}"',
    }
    options = [part for name, value in chosen.items() for part in ("--set", f"{name}={value}")]
    code, output = tickpipe.run("run", "--config", config, *HOLD, *options)
    report, tape = simulator.report, Tape(tape_file, day)
    print(output)
    print(*report.faults, sep="\n")
    assert code == 0
    assert len(report.faults) == len(SHARED)
    assert_nothing_came_twice_or_out_of_order(tape)
    # The other connection goes on meanwhile; what nobody was sent is no matter of the feed's.
    delivered = np.unique(report.deliveries()["tick"]).tolist()
    assert_every_tick_is_on_the_ring_or_in_a_gap(tape, report, delivered)
    for fault, struck in zip(script.faults, report.faults, strict=True):
        for instrument, symbol in ((0, "S0"), (count - 1, "S1")):
            concerned = fault.symbol in (symbol, None)
            assert not concerned or tape.has_gap_at(struck.tick, instrument), fault
    for instrument, symbol in ((0, "S0"), (count - 1, "S1")):
        lives = [connection for connection in report.connections if symbol in connection.modes]
        assert len(tape.gaps[instrument]) < len(lives)  # none of the other's outages


def is_refused_after_expiry(report: Report) -> bool:
    expired = [fault.struck_ns for fault in list(report.faults) if fault.kind == "expiry"]
    return any(refusal.refused_ns > min(expired) for refusal in list(report.refusals) if expired)
