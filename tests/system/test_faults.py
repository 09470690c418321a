"""Every kind of fault, as a client sees it over a real socket, and as the report tells it."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websocket
from numpy.typing import NDArray

from pipeline.brokers.recorded.files import write_ticks
from pipeline.brokers.smartapi.session import auth_headers
from pipeline.brokers.smartapi.wire import decode, instrument_key
from pipeline.settings import SIMULATOR_SECRETS
from pipeline.simulator.report import Way
from pipeline.simulator.script import Script
from pipeline.testing import make_instrument, make_ticks
from tests.system.conftest import GUIDE, Tickpipe, finish
from tests.system.simulating import SECONDS_MAX, Simulator, Simulators

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"),
]

INSTRUMENTS = [
    make_instrument(symbol="A", exchange="NFO", token="58963"),
    make_instrument(symbol="B", exchange="NSE", token="2885"),
]
INSTRUMENT_OF = {instrument_key(row): index for index, row in enumerate(INSTRUMENTS)}
BOTH = [{"exchangeType": 2, "tokens": ["58963"]}, {"exchangeType": 1, "tokens": ["2885"]}]
ABNF = websocket.ABNF
ANY_SOCKET_ERROR = (OSError, websocket.WebSocketException)

Broken = Callable[..., Simulator]


def day(count: int) -> NDArray[np.void]:
    """Return ticks of both instruments in turn."""
    ticks = make_ticks([100 + n / 20 for n in range(count)])
    ticks["instrument"] = np.arange(count) % 2
    return ticks


@pytest.fixture
def broken(simulators: Simulators) -> Broken:
    """Return what plays 100 ticks with one fault before the 51st, or with several."""

    def start(*faults: dict[str, Any], **options: object) -> Simulator:
        written = [{"tick": 51} | fault for fault in faults]
        script = Script.model_validate({"faults": written})
        return simulators(INSTRUMENTS)(day(100), faults=script, every_tick=True, **options)

    return start


def subscribed(simulator: Simulator) -> websocket.WebSocket:
    client = simulator.client()
    params = {"mode": 2, "tokenList": BOTH}
    client.send(json.dumps({"correlationID": "test", "action": 1, "params": params}))
    return client


def frames(client: websocket.WebSocket) -> Iterator[tuple[int, bytes]]:
    """Yield opcode and data of each frame that is not a ping, to the server's close frame."""
    while True:
        opcode, data = client.recv_data(control_frame=True)
        if opcode != ABNF.OPCODE_PING:
            yield opcode, data
        if opcode == ABNF.OPCODE_CLOSE:
            return


def sequence_of(frame: tuple[int, bytes]) -> int:
    opcode, data = frame
    assert opcode == ABNF.OPCODE_BINARY, data
    decoded = decode(data, INSTRUMENT_OF, 0)
    assert decoded is not None, data
    return decoded.sequence


def sequences(client: websocket.WebSocket) -> list[int]:
    """Return the sequences of all ticks until the server closes or the connection breaks."""
    found = []
    with suppress(*ANY_SOCKET_ERROR):
        for frame in frames(client):
            if frame[0] == ABNF.OPCODE_BINARY:
                found.append(sequence_of(frame))
        client.close(timeout=0)
    return found


def assert_broken_off(found: list[int]) -> None:
    """A connection that is reset loses what the client had not read: the last of what was sent."""
    assert found == list(range(1, len(found) + 1))
    assert len(found) <= 50


def all_of(client: websocket.WebSocket) -> list[tuple[int, bytes]]:
    return list(frames(client))


def up_to(last: int, client: websocket.WebSocket) -> None:
    """Read the ticks from 1 to ``last`` and nothing else."""
    stream = frames(client)
    assert [sequence_of(next(stream)) for _ in range(last)] == list(range(1, last + 1))


# Connections that end ------------------------------------------------------------------------


def test_a_reset_breaks_the_connection_before_its_tick(broken: Broken) -> None:
    simulator = broken({"kind": "reset"})
    assert_broken_off(sequences(subscribed(simulator)))
    rest = subscribed(simulator)
    assert sequences(rest) == [49, 50, *range(51, 101)]  # the newest of each once more
    (fault,) = simulator.report.faults
    assert (fault.kind, fault.tick, fault.connections) == ("reset", 51, (1,))


def test_a_fin_ends_the_connection_without_a_close_frame(broken: Broken) -> None:
    client = subscribed(broken({"kind": "fin"}))
    up_to(50, client)
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        client.recv()


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1013, 4000])
def test_a_close_frame_has_the_code_and_reason_of_the_script(broken: Broken, code: int) -> None:
    client = subscribed(broken({"kind": "close", "code": code, "reason": "because"}))
    *ticks, close = all_of(client)
    assert list(map(sequence_of, ticks)) == list(range(1, 51))
    assert close == (ABNF.OPCODE_CLOSE, struct.pack("!H", code) + b"because")


def test_ticks_can_be_missed_by_everybody(broken: Broken) -> None:
    simulator = broken({"kind": "fin", "missed": 20})
    up_to(50, subscribed(simulator))
    assert sequences(subscribed(simulator)) == [69, 70, *range(71, 101)]


def test_a_half_frame_that_is_lost_ends_in_the_middle(broken: Broken) -> None:
    simulator = broken({"kind": "half_frame", "bytes": 30, "seconds": 0.0, "lost": True})
    client = subscribed(simulator)
    up_to(50, client)
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        client.recv()
    assert sequences(subscribed(simulator)) == [49, 50, *range(51, 101)]
    delivered = simulator.report.deliveries()
    assert 51 not in delivered["tick"][delivered["connection"] == 1]


def test_noise_cannot_be_read_as_a_frame(broken: Broken) -> None:
    client = subscribed(broken({"kind": "noise"}))
    up_to(50, client)
    with pytest.raises(websocket.WebSocketException):
        all_of(client)


# Connections that stay -----------------------------------------------------------------------


def test_after_a_stall_the_connection_goes_on(broken: Broken) -> None:
    simulator = broken({"kind": "stall", "seconds": 0.2})
    client = subscribed(simulator)
    assert sequences(client) == list(range(1, 101))
    simulator.wait()
    assert simulator.report.connections[0].proven == 100


def test_in_a_stall_nothing_at_all_comes_until_the_client_goes(broken: Broken) -> None:
    simulator = broken({"kind": "stall"})
    client = subscribed(simulator)
    up_to(50, client)
    client.send("ping")
    client.ping()
    client.settimeout(0.3)
    with pytest.raises(websocket.WebSocketTimeoutException):
        client.recv()
    client.shutdown()  # type: ignore[no-untyped-call]
    assert sequences(subscribed(simulator)) == [49, 50, *range(51, 101)]


def test_with_heartbeats_only_pings_are_answered_and_no_tick_comes(broken: Broken) -> None:
    simulator = broken({"kind": "heartbeats"})
    client = subscribed(simulator)
    up_to(50, client)
    for _ in range(3):
        client.send("ping")
        assert next(frames(client)) == (ABNF.OPCODE_TEXT, b"pong")
    client.shutdown()  # type: ignore[no-untyped-call]
    assert sequences(subscribed(simulator)) == [49, 50, *range(51, 101)]


def test_kites_heartbeats_go_on_without_ticks(simulators: Simulators) -> None:
    script = Script.model_validate({"faults": [{"tick": 51, "kind": "heartbeats"}]})
    instruments = [make_instrument(token=str(58_963 << 8 | 2))]
    ticks = make_ticks([100.0 + n for n in range(100)])
    simulator = simulators(instruments)(ticks, broker="kite", faults=script, heartbeat_seconds=0.05)
    client = simulator.client()
    client.send(json.dumps({"a": "subscribe", "v": [58_963 << 8 | 2]}))
    stream = frames(client)
    while len(next(stream)[1]) > 1 or not simulator.report.faults:
        pass
    assert {next(stream) for _ in range(5)} == {(ABNF.OPCODE_BINARY, b"\0")}


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drip", "frames": 5, "bytes": 7, "seconds": 0.001},
        {"kind": "half_frame", "bytes": 1, "seconds": 0.1},
        {"kind": "half_frame", "bytes": 1_000, "seconds": 0.0},  # longer than the frame
    ],
)
def test_a_torn_frame_arrives_whole(broken: Broken, fault: dict[str, Any]) -> None:
    simulator = broken(fault)
    assert sequences(subscribed(simulator)) == list(range(1, 101))
    simulator.wait()
    assert simulator.report.connections[0].proven == 100


def test_a_torn_frame_arrives_in_pieces(broken: Broken) -> None:
    client = subscribed(broken({"kind": "half_frame", "bytes": 30, "seconds": 0.5}))
    up_to(50, client)
    client.sock.settimeout(0.1)
    with pytest.raises(websocket.WebSocketTimeoutException):
        client.recv()
    client.sock.settimeout(SECONDS_MAX)
    assert sequences(client) == list(range(51, 101))


def test_text_and_binary_that_mean_nothing_come_between_the_ticks(broken: Broken) -> None:
    client = subscribed(broken({"kind": "text", "text": "hm?"}, {"kind": "binary", "hex": "0a0b"}))
    found = all_of(client)
    assert found[50:52] == [(ABNF.OPCODE_TEXT, b"hm?"), (ABNF.OPCODE_BINARY, b"\n\x0b")]
    assert list(map(sequence_of, found[:50] + found[52:-1])) == list(range(1, 101))


def test_repeated_ticks_are_the_last_ones(broken: Broken) -> None:
    simulator = broken({"kind": "repeat", "ticks": 3})
    assert sequences(subscribed(simulator)) == [*range(1, 51), 48, 49, 50, *range(51, 101)]
    delivered = simulator.report.deliveries()
    assert delivered["tick"][delivered["way"] == Way.REPEATED].tolist() == [48, 49, 50]


def test_reversed_ticks_come_last_one_first(broken: Broken) -> None:
    simulator = broken({"kind": "reverse", "ticks": 4})
    expected = [*range(1, 51), 54, 53, 52, 51, *range(55, 101)]
    assert sequences(subscribed(simulator)) == expected
    delivered = simulator.report.deliveries()
    assert delivered["tick"][delivered["way"] == Way.LATE].tolist() == [52, 51]


def test_one_instrument_can_be_silent(broken: Broken) -> None:
    simulator = broken({"kind": "silent", "symbol": "B", "ticks": 20})
    expected = [n for n in range(1, 101) if n <= 50 or n > 70 or n % 2]
    assert sequences(subscribed(simulator)) == expected


def test_a_fault_can_be_for_the_connections_of_one_instrument(broken: Broken) -> None:
    simulator = broken({"kind": "close", "symbol": "B"}, wait_for=2)
    first, second = simulator.client(), subscribed(simulator)
    params = {"mode": 1, "tokenList": BOTH[:1]}
    first.send(json.dumps({"correlationID": "test", "action": 1, "params": params}))
    assert first.recv_data(control_frame=True)[0] == ABNF.OPCODE_PING  # answered: it is settled
    assert all_of(second)[-1][1][:2] == struct.pack("!H", 1001)
    assert sequences(first) == list(range(1, 101, 2))


# Who connects next ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_the_next_attempts_are_refused(broken: Broken, status: int) -> None:
    simulator = broken({"kind": "http", "status": status, "attempts": 3})
    assert_broken_off(sequences(subscribed(simulator)))
    for _ in range(3):
        with pytest.raises(websocket.WebSocketBadStatusException) as caught:
            simulator.client()
        assert caught.value.status_code == status
    assert sequences(subscribed(simulator))[-1] == 100
    assert [refusal.status for refusal in simulator.report.refusals] == [status] * 3


def test_an_expired_token_is_refused_and_the_new_one_is_taken(broken: Broken) -> None:
    simulator = broken({"kind": "expiry", "token": "todays"})
    assert_broken_off(sequences(subscribed(simulator)))
    for _ in range(2):
        with pytest.raises(websocket.WebSocketBadStatusException, match="401"):
            simulator.client()
    login = auth_headers(SIMULATOR_SECRETS) | {"Authorization": "Bearer todays"}
    websocket.create_connection(simulator.url, timeout=SECONDS_MAX, header=login).close(timeout=0)


def test_nobody_listens_at_the_port_for_a_while(broken: Broken) -> None:
    simulator = broken({"kind": "unreachable", "seconds": 0.5})
    assert_broken_off(sequences(subscribed(simulator)))
    with pytest.raises(ConnectionRefusedError):
        simulator.client()
    while True:
        with suppress(ConnectionRefusedError):
            client = subscribed(simulator)
            break
    assert sequences(client)[-1] == 100


def test_a_simulator_that_is_shut_can_be_stopped(broken: Broken) -> None:
    simulator = broken({"kind": "unreachable", "seconds": 3_600.0})
    assert_broken_off(sequences(subscribed(simulator)))
    simulator.finish()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", simulator.port), timeout=SECONDS_MAX)


# Scripts and reports -------------------------------------------------------------------------


def test_faults_wait_for_each_other_until_a_client_listens_again(broken: Broken) -> None:
    simulator = broken({"kind": "reset"}, {"kind": "fin"}, {"kind": "close"}, {"kind": "text"})
    runs = [sequences(subscribed(simulator)) for _ in range(4)]
    assert_broken_off(runs[0])
    assert runs[1:] == [[49, 50], [49, 50], [49, 50, *range(51, 101)]]
    assert [fault.connections for fault in simulator.report.faults] == [(1,), (2,), (3,), (4,)]


def test_at_a_speed_the_recording_goes_on_while_a_connection_is_broken(broken: Broken) -> None:
    simulator = broken({"kind": "reset"}, {"tick": 60, "kind": "fin"}, speed=100.0)  # 1 s
    assert_broken_off(sequences(subscribed(simulator)))
    while simulator.report.played < 70:
        pass
    rest = subscribed(simulator)
    late = sequences(rest)  # the fault of tick 60 happens when somebody listens again
    assert min(late) >= 69
    assert len(simulator.report.faults) == 2
    assert simulator.report.faults[1].tick > 70


def test_a_report_has_every_delivery_with_its_connection_and_frame(broken: Broken) -> None:
    simulator = broken({"kind": "fin"})
    up_to(50, subscribed(simulator))
    assert sequences(subscribed(simulator))[-1] == 100
    simulator.wait()
    delivered = simulator.report.deliveries()
    assert delivered["tick"].tolist() == [*range(1, 51), 49, 50, *range(51, 101)]
    assert delivered["connection"].tolist() == [1] * 50 + [2] * 52
    assert delivered["frame"].tolist() == [*range(1, 51), *range(1, 53)]
    assert delivered["way"].tolist() == [0] * 50 + [1] * 2 + [0] * 50
    assert (np.diff(delivered["sent_ns"]) >= 0).all()
    first, second = simulator.report.connections
    assert first.modes == second.modes == {"A": "quote", "B": "quote"}
    assert second.proven == 52
    assert first.opened_ns < second.opened_ns < second.closed_ns


def test_the_command_plays_a_script_and_writes_the_report(
    tickpipe: Tickpipe, tmp_path: Path
) -> None:
    write_ticks(tmp_path / "day.csv", make_ticks([100.0, 101.0, 102.0]))
    (tmp_path / "faults.toml").write_text('[[faults]]\ntick = 2\nkind = "text"\ntext = "hm?"\n')
    process = tickpipe.start(
        "simulate", tmp_path / "day.csv", "--config", GUIDE, "--port", 0, "--speed", "max",
        "--faults", tmp_path / "faults.toml", "--report", tmp_path / "report.json",
    )  # fmt: skip
    assert process.stdout is not None
    line = next(line for line in process.stdout if "listening on" in line)
    url = line.split("listening on ")[1].strip()
    client = websocket.create_connection(
        url, timeout=SECONDS_MAX, header=auth_headers(SIMULATOR_SECRETS)
    )
    params = {"mode": 1, "tokenList": [{"exchangeType": 2, "tokens": ["58963"]}]}
    client.send(json.dumps({"correlationID": "test", "action": 1, "params": params}))
    opcodes = [opcode for opcode, _ in all_of(client)]
    assert opcodes == [ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT, *[ABNF.OPCODE_BINARY] * 2, 8]
    client.close(timeout=0)
    assert finish(process)[0] == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["deliveries"]["tick"] == [1, 2, 3]
    assert [fault["kind"] for fault in report["faults"]] == ["text"]


def test_a_wrong_script_is_told_before_anything_is_played(
    tickpipe: Tickpipe, tmp_path: Path
) -> None:
    write_ticks(tmp_path / "day.csv", make_ticks([100.0, 101.0]))
    (tmp_path / "faults.toml").write_text('[[faults]]\ntick = 3\nkind = "fin"\n')
    code, output = finish(
        tickpipe.start(
            "simulate", "day.csv", "--config", GUIDE, "--port", 0, "--faults", "faults.toml"
        )
    )
    assert code == 3
    assert "fault 1: tick 3 of 2" in output
