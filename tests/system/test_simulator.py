"""The simulator over real sockets, with the client library that the feed uses."""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import websocket
from numpy.typing import NDArray

from pipeline.brokers.recorded.files import write_ticks
from pipeline.brokers.smartapi.session import auth_headers
from pipeline.brokers.smartapi.wire import decode, instrument_key
from pipeline.errors import PortInUse, TickFileError, UsageError
from pipeline.runtime.stopping import STOP_REQUESTED, Stop
from pipeline.settings import SIMULATOR_SECRETS
from pipeline.simulator.process import run_simulator
from pipeline.testing import make_instrument, make_ticks
from tests.system.simulating import SECONDS_MAX, Simulate, Simulators, receive

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"),
]

ROOT = Path(__file__).resolve().parent.parent.parent
INSTRUMENTS = [
    make_instrument(symbol="A", exchange="NFO", token="58963"),
    make_instrument(symbol="B", exchange="NSE", token="2885"),
]
INSTRUMENT_OF = {instrument_key(row): index for index, row in enumerate(INSTRUMENTS)}
BOTH = [{"exchangeType": 2, "tokens": ["58963"]}, {"exchangeType": 1, "tokens": ["2885"]}]
ONLY_A = BOTH[:1]
CLOSE = websocket.ABNF.OPCODE_CLOSE
TEXT = websocket.ABNF.OPCODE_TEXT


@pytest.fixture
def simulate(simulators: Simulators) -> Simulate:
    return simulators(INSTRUMENTS)


def day(count: int = 300, *, step_ms: int = 1_000) -> NDArray[np.void]:
    """Return ticks of both instruments in turn."""
    numbers = np.arange(count)
    ticks = np.resize(make_ticks([100 + n / 20 for n in range(1_000)]), count)
    ticks["ts_event_ns"] = ticks["ts_event_ns"][0] + numbers * step_ms * 1_000_000
    ticks["instrument"] = numbers % 2
    return ticks


def ask(client: websocket.WebSocket, action: int, tokens: object, mode: int = 2) -> None:
    params = {"mode": mode, "tokenList": tokens}
    client.send(json.dumps({"correlationID": "test", "action": action, "params": params}))


def answer(client: websocket.WebSocket) -> str:
    """Return the next text frame; data frames before it are passed over."""
    while True:
        opcode, data = receive(client)
        assert opcode != CLOSE, data
        if opcode == TEXT:
            return str(data.decode())


def tick(client: websocket.WebSocket) -> tuple[int, np.void]:
    """Return sequence and TICK of the next frame, which must be data."""
    opcode, data = receive(client)
    assert opcode == websocket.ABNF.OPCODE_BINARY, data
    decoded = decode(data, INSTRUMENT_OF, 0)
    assert decoded is not None
    return decoded.sequence, decoded.ticks[0]


def to_the_end(client: websocket.WebSocket) -> tuple[list[int], int, str]:
    """Return the sequences until the server closes, and its code and reason."""
    sequences = []
    while True:
        opcode, data = receive(client)
        if opcode == CLOSE:
            client.close(timeout=0)
            return sequences, struct.unpack("!H", data[:2])[0], data[2:].decode()
        decoded = decode(data, INSTRUMENT_OF, 0)
        assert decoded is not None
        sequences.append(decoded.sequence)


# Login ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "x-client-code", "x-feed-token"])
@pytest.mark.parametrize("value", ["wrong-secret", None, "größe"])
def test_a_wrong_or_missing_header_is_answered_with_401(
    simulate: Simulate, name: str, value: str | None
) -> None:
    simulator = simulate(day())
    headers = {key: text for key, text in auth_headers(SIMULATOR_SECRETS).items() if key != name}
    if value is not None:
        headers[name] = value
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        websocket.create_connection(simulator.url, timeout=SECONDS_MAX, header=headers)
    assert caught.value.status_code == 401
    body = json.loads(caught.value.resp_body)
    assert body == {"errorCode": "AG8001", "message": f"{name} is missing or wrong"}


# Subscriptions -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [1, 2, 3])
def test_a_subscriber_gets_every_tick_then_the_end_of_the_recording(
    simulate: Simulate, mode: int
) -> None:
    ticks = day(5_000)
    simulator = simulate(ticks)
    client = simulator.client()
    ask(client, 1, BOTH, mode)
    for place, expected in enumerate(ticks):
        sequence, row = tick(client)
        assert sequence == place + 1
        for name in ("ts_event_ns", "price_e4", "instrument"):
            assert row[name] == expected[name]
        for name in ("quantity", "day_volume"):
            assert row[name] == (expected[name] if mode > 1 else 0)
    assert to_the_end(client) == ([], 1000, "end of recording")
    simulator.wait()
    assert simulator.frames_sent == 5_000


def test_only_what_is_subscribed_is_sent(simulate: Simulate) -> None:
    client = simulate(day(100)).client()
    ask(client, 1, ONLY_A)
    assert to_the_end(client) == (list(range(1, 101, 2)), 1000, "end of recording")


def test_unsubscribing_stops_the_frames(simulate: Simulate) -> None:
    # Played by the clock: 20 000 ticks a second for as long as the test may take.
    client = simulate(day(2_000_000, step_ms=1), speed=20.0).client()
    ask(client, 1, BOTH)
    tick(client)
    ask(client, 0, ONLY_A)
    client.send("ping")
    assert answer(client) == "pong"  # what comes now was sent after the request was read
    assert {int(tick(client)[1]["instrument"]) for _ in range(500)} == {1}
    ask(client, 0, BOTH)
    client.send("ping")
    assert answer(client) == "pong"
    client.send("ping")
    assert client.recv() == "pong"


def test_the_mode_can_be_changed(simulate: Simulate) -> None:
    client = simulate(day(2_000_000, step_ms=1), speed=20.0).client()
    ask(client, 1, BOTH, mode=1)
    assert tick(client)[1]["quantity"] == 0
    ask(client, 1, ONLY_A, mode=2)
    client.send("ping")
    assert answer(client) == "pong"
    quantities = {
        (int(row["instrument"]), int(row["quantity"]))
        for _, row in (tick(client) for _ in range(100))
    }
    assert quantities == {(0, 75), (1, 0)}


def test_an_unknown_token_is_told_and_the_known_ones_are_served(simulate: Simulate) -> None:
    client = simulate(day(10)).client()
    ask(client, 1, [{"exchangeType": 2, "tokens": ["58963", "1"]}])
    message = json.loads(answer(client))
    assert message["correlationID"] == "test"
    assert message["errorMessage"] == "not in the recording's instruments: 1 (exchangeType 2)"
    assert to_the_end(client)[1:] == (1000, "end of recording")


def test_nothing_is_played_before_enough_clients_have_subscribed(simulate: Simulate) -> None:
    simulator = simulate(day(100), wait_for=2)
    first, second = simulator.client(), simulator.client()
    ask(first, 1, BOTH)
    first.send("ping")
    assert first.recv() == "pong"  # and no frame before it
    ask(second, 1, ONLY_A)
    results: list[tuple[list[int], int, str]] = []
    reader = threading.Thread(target=lambda: results.append(to_the_end(second)))
    reader.start()
    assert to_the_end(first) == (list(range(1, 101)), 1000, "end of recording")
    reader.join(SECONDS_MAX)
    assert results == [(list(range(1, 101, 2)), 1000, "end of recording")]


# Conversation --------------------------------------------------------------------------------


def test_a_text_ping_and_a_ping_frame_are_answered(simulate: Simulate) -> None:
    client = simulate(day()).client()
    client.send("ping")
    assert client.recv() == "pong"
    client.ping(b"mine")
    assert client.recv_data(control_frame=True) == (websocket.ABNF.OPCODE_PONG, b"mine")


def test_a_ping_is_answered_in_a_flood(simulate: Simulate) -> None:
    client = simulate(day(200_000)).client()
    ask(client, 1, BOTH)
    client.send("ping")
    assert answer(client) == "pong"


@pytest.mark.parametrize("text", ["{", "hello", "[]", '{"action":1}'])
def test_a_wrong_request_is_answered_and_the_connection_stays(
    simulate: Simulate, text: str
) -> None:
    client = simulate(day(10)).client()
    client.send(text)
    assert set(json.loads(client.recv())) == {"correlationID", "errorCode", "errorMessage"}
    ask(client, 1, BOTH, mode=4)
    assert json.loads(client.recv())["errorMessage"].startswith("params.mode: ")
    ask(client, 1, BOTH)
    assert len(to_the_end(client)[0]) == 10


# Playing -------------------------------------------------------------------------------------


def test_at_full_speed_the_recording_waits_for_a_listener(simulate: Simulate) -> None:
    simulator = simulate(day(500_000))
    client = simulator.client()
    ask(client, 1, BOTH)
    last = [tick(client)[0] for _ in range(1_000)][-1]
    client.close(timeout=0)
    client = simulator.client()
    ask(client, 1, BOTH)
    first = tick(client)[0]
    assert last <= first < 500_000  # what was on its way is gone, the rest is not


def test_who_comes_back_gets_the_newest_tick_of_each_once_more(simulate: Simulate) -> None:
    simulator = simulate(day(10, step_ms=3_600_000), speed=1.0)  # the second tick is an hour away
    for _ in range(3):
        client = simulator.client()
        ask(client, 1, BOTH)
        assert tick(client)[0] == 1  # an exact duplicate, as in recordings of the broker
        client.close(timeout=0)


def test_at_a_speed_the_recording_goes_on_without_listeners(simulate: Simulate) -> None:
    simulator = simulate(day(100, step_ms=10), speed=4.0)
    client, idle = simulator.client(), simulator.client()
    ask(client, 1, BOTH)
    tick(client)
    ask(client, 0, BOTH)
    assert to_the_end(idle) == ([], 1000, "end of recording")


def test_no_tick_comes_before_its_time(simulate: Simulate) -> None:
    client = simulate(day(50), speed=100.0).client()
    before_s = time.monotonic()
    ask(client, 1, BOTH)
    assert len(to_the_end(client)[0]) == 50
    assert time.monotonic() - before_s >= 49 / 100


def test_kept_on_it_tells_who_comes_late_that_the_recording_ended(simulate: Simulate) -> None:
    simulator = simulate(day(10), keep=True)
    for expected in (list(range(1, 11)), [9, 10]):  # at last the newest of each
        client = simulator.client()
        ask(client, 1, BOTH)
        assert to_the_end(client) == (expected, 1000, "end of recording")
        assert not simulator.ends_within(0.2)


def test_a_slow_reader_gets_every_frame_before_the_end(simulate: Simulate) -> None:
    simulator = simulate(day(60_000))
    client = simulator.client()
    ask(client, 1, BOTH)
    other = simulator.client()
    other.send("ping")
    assert other.recv() == "pong"  # the simulator is alive while nobody reads
    sequences, code, _ = to_the_end(client)
    assert (sequences, code) == (list(range(1, 60_001)), 1000)


def test_the_end_waits_for_who_has_not_read_everything(simulate: Simulate) -> None:
    simulator = simulate(day(10))
    client = simulator.client()
    ask(client, 1, BOTH)
    assert not simulator.ends_within(0.2)  # however long: nobody has answered the close
    assert to_the_end(client) == (list(range(1, 11)), 1000, "end of recording")
    simulator.wait()


def test_the_end_does_not_wait_for_who_is_gone(simulate: Simulate) -> None:
    simulator = simulate(day(10))
    client = simulator.client()
    ask(client, 1, BOTH)
    for _ in range(10):
        tick(client)
    client.shutdown()  # without an answer to the close frame
    simulator.wait()


def test_a_stop_ends_the_waiting_for_who_does_not_read(simulate: Simulate) -> None:
    simulator = simulate(day(10))
    client = simulator.client()
    ask(client, 1, BOTH)
    assert not simulator.ends_within(0.2)
    simulator.finish()


def test_a_stop_closes_the_connections_as_going_away(simulate: Simulate) -> None:
    simulator = simulate(day(), speed=0.001)
    client = simulator.client()
    ask(client, 1, BOTH)
    tick(client)
    simulator.stop.request(STOP_REQUESTED)
    assert to_the_end(client) == ([], 1001, "the simulator was stopped")
    simulator.wait()


def test_a_stop_is_bounded_in_time_with_a_client_that_never_reads(simulate: Simulate) -> None:
    simulator = simulate(day(500_000))
    client = simulator.client()
    ask(client, 1, BOTH)
    tick(client)
    simulator.finish()
    assert 0 < simulator.frames_sent < 500_000


# Starting ------------------------------------------------------------------------------------


def test_a_port_in_use_is_refused(simulate: Simulate) -> None:
    port = simulate(day()).port
    with pytest.raises(PortInUse, match=rf"something else listens on 127\.0\.0\.1:{port}\n"):
        run_simulator(day(), INSTRUMENTS, port=port, speed=None, stop=Stop())


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"host": "0.0.0.0"}, "host 0.0.0.0 is not this machine"),
        ({"host": "example.org"}, "host example.org is not this machine"),
        ({"port": 65_536}, "port 65536"),
        ({"port": -1}, "port -1"),
        ({"speed": 0.0}, "speed 0.0"),
        ({"speed": float("nan")}, "speed nan"),
    ],
)
def test_what_cannot_be_served_is_refused(options: dict[str, object], what: str) -> None:
    arguments = {"port": 0, "speed": None, "stop": Stop()}
    with pytest.raises(UsageError) as caught:
        run_simulator(day(), INSTRUMENTS, **(arguments | options))
    assert str(caught.value).startswith(what)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_any_name_of_this_machine_is_served(simulate: Simulate, host: str) -> None:
    simulator = simulate(day(10), host=host)
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=SECONDS_MAX):
        pass


def test_a_price_that_a_frame_cannot_hold_is_refused() -> None:
    ticks = make_ticks([88.41, 88.4125])
    with pytest.raises(TickFileError, match=r"tick 2 has the price 88\.4125 ₹"):
        run_simulator(ticks, INSTRUMENTS, port=0, speed=None, stop=Stop())


# As a process --------------------------------------------------------------------------------

PROGRAM = """
import sys
from pathlib import Path
from pipeline.brokers.recorded.files import read_ticks
from pipeline.simulator.process import run
from pipeline.testing import make_instrument
instruments = [make_instrument(token="58963")]
ticks = read_ticks(Path(sys.argv[1]), instruments)
sys.exit(run(ticks, instruments, port=0, speed=1.0, ready=lambda port: print(port, flush=True)))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_the_process_in_order(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    write_ticks(tmp_path / "day.csv", make_ticks([100.0, 101.0], step_ms=3_600_000))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, tmp_path / "day.csv"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    url = f"ws://127.0.0.1:{int(process.stdout.readline())}/smart-stream"
    client = websocket.create_connection(
        url, timeout=SECONDS_MAX, header=auth_headers(SIMULATOR_SECRETS)
    )
    ask(client, 1, ONLY_A)
    assert tick(client)[0] == 1
    process.send_signal(number)
    assert to_the_end(client)[1] == 1001
    _, errors = process.communicate(timeout=SECONDS_MAX)
    assert (process.returncode, errors) == (code, "")
