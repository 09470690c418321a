"""The brokers' own clients against the simulator: somebody else's idea of the same protocols."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.settings import Instrument
from pipeline.simulator.script import Script
from pipeline.testing import make_instrument, make_ticks
from tests import peers
from tests.system.simulating import Simulator, Simulators

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parent.parent.parent
COUNT = 600
SECONDS_MAX = 60.0


def skip_without(find: Callable[[], Any]) -> None:
    try:
        find()
    except ImportError as error:
        pytest.skip(f"needs `pip install tickpipe[peers]`: {error}")


def make_day() -> NDArray[np.void]:
    """Return ticks of three instruments, with bid and ask, times in whole seconds."""
    ticks = make_ticks([100 + n / 20 for n in range(COUNT)])
    ticks["instrument"] = np.arange(COUNT) % 3
    ticks["bid_e4"], ticks["ask_e4"] = ticks["price_e4"] - 500, ticks["price_e4"] + 500
    return ticks


def make_instruments(*tokens: int) -> list[Instrument]:
    return [make_instrument(symbol=f"S{token}", token=str(token)) for token in tokens]


def run_peer(folder: Path, *arguments: object) -> list[dict[str, Any]]:
    """Run tests/peers.py in ``folder`` and return the JSON that it printed, line by line."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.peers", *map(str, arguments)],
        cwd=folder,  # the client of SmartAPI writes its logs there
        env={**os.environ, "PYTHONPATH": str(ROOT), "TZ": "UTC"},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("mode", ["ltp", "quote", "full"])
def test_kiteticker_gets_every_tick(simulators: Simulators, tmp_path: Path, mode: str) -> None:
    skip_without(peers.kite_ticker)
    tokens = [58_963 << 8 | 2, 58_964 << 8 | 2, 58_965 << 8 | 2]
    day = make_day()
    simulator: Simulator = simulators(make_instruments(*tokens))(day, broker="kite")
    *ticks, closed = run_peer(tmp_path, "kite", simulator.port, mode, *tokens)
    assert closed == {"closed": [1000, "end of recording"]}
    assert {tick["mode"] for tick in ticks} == {mode}
    assert [tick["instrument_token"] for tick in ticks] == [
        tokens[instrument] for instrument in day["instrument"]
    ]
    assert [tick["last_price"] for tick in ticks] == (day["price_e4"] / 10_000).tolist()
    if mode != "ltp":
        assert [tick["volume_traded"] for tick in ticks] == day["day_volume"].tolist()
    if mode == "full":
        times = [np.datetime64(tick["exchange_timestamp"], "ns").astype(int) for tick in ticks]
        assert times == day["ts_event_ns"].tolist()
        best = [tick["depth"]["sell"][0]["price"] for tick in ticks]
        assert best == (day["ask_e4"] / 10_000).tolist()


def test_kiteticker_gets_every_tick_over_a_broken_connection_and_hears_of_orders(
    simulators: Simulators, tmp_path: Path
) -> None:
    skip_without(peers.kite_ticker)
    tokens = [58_963 << 8 | 2, 58_964 << 8 | 2, 58_965 << 8 | 2]
    day, order = make_day(), {"order_id": "1", "status": "COMPLETE"}
    postback = json.dumps({"type": "order", "data": order})
    faults = [{"kind": "text", "tick": 100, "text": postback}, {"kind": "fin", "tick": 301}]
    simulator: Simulator = simulators(make_instruments(*tokens))(
        day, broker="kite", faults=Script.model_validate({"faults": faults})
    )
    rows = run_peer(tmp_path, "kite", simulator.port, "full", *tokens)
    assert [row["order"] for row in rows if "order" in row] == [order]
    first, last = (row["closed"] for row in rows if "closed" in row)
    assert first[0] != 1000
    assert last == [1000, "end of recording"]
    ticks = [row for row in rows if "mode" in row]
    volumes = {(tick["instrument_token"], tick["volume_traded"]): tick for tick in ticks}
    assert [tick["last_price"] for tick in volumes.values()] == (day["price_e4"] / 10_000).tolist()
    again = [tick["mode"] for tick in ticks[300:-300]]  # the snapshots after it came back
    assert again[:3] == ["quote"] * 3
    assert again[3:] == ["full"] * len(again[3:])
    assert {tick["mode"] for tick in ticks[-300:]} == {"full"}


def test_smartwebsocketv2_gets_every_tick_over_a_broken_connection(
    simulators: Simulators, tmp_path: Path
) -> None:
    skip_without(peers.smart_web_socket)
    tokens = [58_963, 58_964, 58_965]
    script = Script.model_validate({"faults": [{"kind": "fin", "tick": 301}]})
    simulator: Simulator = simulators(make_instruments(*tokens))(make_day(), faults=script)
    packets = run_peer(tmp_path, "smart", simulator.port, 2, COUNT + 3, *tokens)
    sequences = [packet["sequence_number"] for packet in packets]
    again = [298, 299, 300]  # the newest of each once more, in the order of the tokens
    assert sequences == [*range(1, 301), *again, *range(301, COUNT + 1)]


@pytest.mark.parametrize("mode", [1, 2, 3])
def test_smartwebsocketv2_gets_every_tick(
    simulators: Simulators, tmp_path: Path, mode: int
) -> None:
    skip_without(peers.smart_web_socket)
    tokens = [58_963, 58_964, 58_965]
    day = make_day()
    simulator: Simulator = simulators(make_instruments(*tokens))(day)
    packets = run_peer(tmp_path, "smart", simulator.port, mode, COUNT, *tokens)
    assert [packet["sequence_number"] for packet in packets] == list(range(1, COUNT + 1))
    assert {packet["subscription_mode"] for packet in packets} == {mode}
    assert [int(packet["token"]) for packet in packets] == [
        tokens[instrument] for instrument in day["instrument"]
    ]
    assert [packet["last_traded_price"] * 100 for packet in packets] == day["price_e4"].tolist()
    times = [packet["exchange_timestamp"] * 1_000_000 for packet in packets]
    assert times == day["ts_event_ns"].tolist()
    if mode > 1:
        volumes = [packet["volume_trade_for_the_day"] for packet in packets]
        assert volumes == day["day_volume"].tolist()
    if mode == 3:
        best = [packet["best_5_buy_data"][0]["price"] * 100 for packet in packets]
        assert best == day["bid_e4"].tolist()
