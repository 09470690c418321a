"""A connection over sockets that die in every way, beside a server that the test plays."""

from __future__ import annotations

import logging
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from websocket import ABNF

from pipeline.brokers.kite import wire
from pipeline.brokers.kite.session import KiteSession
from pipeline.brokers.kite.tokens import Tokens
from pipeline.errors import AuthRefused, FeedLost
from pipeline.feed.connection import Connection
from pipeline.feed.frames import Opcode
from pipeline.feed.sharing import Share
from pipeline.records import AFTER_GAP
from pipeline.settings import FeedSettings, load_secrets
from pipeline.testing import make_instrument, make_ticks
from tests.system.listening import SECONDS_MAX, Listener, Peer, Script, receive_until

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"),
]

INSTRUMENTS = [make_instrument(symbol="A", token=str(58963 << 8 | 2))]
SHARE = Share(0, 0, tuple(INSTRUMENTS))
TICK = wire.frame(wire.encode("full", make_ticks([100.0]), Tokens(INSTRUMENTS)))
Listen = Callable[..., Listener]
BUFFER = 4_096  # bytes that a kernel may hold, where it has to be full soon


@pytest.fixture
def listen() -> Iterator[Listen]:
    opened: list[Listener] = []

    def start(*scripts: Script, tls: ssl.SSLContext | None = None) -> Listener:
        opened.append(Listener(*scripts, tls=tls))
        return opened[-1]

    yield start
    for listener in opened:
        listener.close()


def settings(url: str, **more: object) -> FeedSettings:
    quick = {"reconnect_delay_seconds": 0.01, "healthy_seconds": 0.05}
    fields = {"broker": "kite", "url": url, "mode": "full", "credentials": "simulator"}
    return FeedSettings.model_validate(fields | quick | more)


def connect(url: str, **more: object) -> Connection:
    feed = settings(url, **more)
    return Connection(KiteSession(feed, INSTRUMENTS, load_secrets(feed, {})), feed, SHARE)


def serve(peer: Peer) -> None:
    """Be a broker with one tick."""
    peer.upgrade()
    peer.send(TICK)
    peer.wait_until_gone()


def lines(caplog: pytest.LogCaptureFixture, start: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.getMessage().startswith(start)]


# Outages -------------------------------------------------------------------------------------


def drop(peer: Peer) -> None:
    peer.upgrade()
    peer.send(TICK)
    peer.hang_up()


def close_in_order(peer: Peer) -> None:
    peer.upgrade()
    peer.send((1001).to_bytes(2, "big") + b"restarting", Opcode.CLOSE)
    peer.wait_until_gone()


def send_garbage(peer: Peer) -> None:
    peer.upgrade()
    peer.raw.sendall(b"\xff" * 100)
    peer.wait_until_gone()


def half_a_frame(peer: Peer) -> None:
    peer.upgrade()
    peer.raw.sendall(b"\x82\x7e\xff")
    peer.hang_up()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (drop, "ConnectionResetError"),
        (close_in_order, "closed by the other side with 1001 restarting"),
        (send_garbage, "FrameError"),
        (half_a_frame, "ConnectionResetError"),
    ],
)
def test_whatever_ends_a_connection_it_is_opened_again(
    listen: Listen, caplog: pytest.LogCaptureFixture, script: Script, why: str
) -> None:
    with closing(connect(listen(script, serve).url)) as connection:
        caplog.set_level(logging.INFO)
        receive_until(connection, lambda: connection.outages > 0)
        ticks = receive_until(connection, lambda: bool(lines(caplog, "connected again")))
        assert ticks["price_e4"].tolist() in ([1_000_000], [])
        (alarm,) = lines(caplog, "connection lost")
        assert why in alarm.getMessage()
        assert alarm.levelno == logging.ERROR


def test_silence_ends_a_connection(listen: Listen, caplog: pytest.LogCaptureFixture) -> None:
    def say_nothing(peer: Peer) -> None:
        peer.upgrade()
        peer.wait_until_gone()

    listener = listen(say_nothing, serve)
    with closing(connect(listener.url, silence_seconds_max=0.3)) as connection:
        assert len(receive_until(connection, lambda: listener.accepted == 2)) == 0
        assert "nothing arrived for" in caplog.text


def test_a_server_that_hangs_up_again_and_again_is_one_outage(
    listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen(*[drop] * 4, serve)
    with closing(connect(listener.url, healthy_seconds=0.4)) as connection:
        receive_until(connection, lambda: bool(lines(caplog, "connected again")))
        assert connection.outages == 4
        assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1
        assert len(lines(caplog, "connected again")) == 1


def test_in_the_day_nobody_at_the_address_is_an_outage_and_not_the_end(
    listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen(drop)
    more = {"connect_attempts_max": 1, "connect_timeout_seconds": 0.5}
    with closing(connect(listener.url, **more)) as connection:
        receive_until(connection, lambda: connection.outages == 1)
        listener.close()
        receive_until(connection, lambda: connection._connecting.outage.failures >= 6)
        assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1


def test_an_address_where_nobody_ever_answered_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"ws://127.0.0.1:{server.getsockname()[1]}/"
    with (
        closing(connect(url, connect_attempts_max=2)) as connection,
        pytest.raises(FeedLost, match="gave up after 2 attempts"),
    ):
        receive_until(connection, lambda: False)


# Gaps ----------------------------------------------------------------------------------------


def test_an_outage_is_a_gap_that_ends_with_the_next_tick(listen: Listen) -> None:
    another = wire.frame(wire.encode("full", make_ticks([101.0]), Tokens(INSTRUMENTS)))

    def come_back(peer: Peer) -> None:
        peer.upgrade()
        peer.send(another)
        peer.wait_until_gone()

    with closing(connect(listen(drop, come_back).url)) as connection:
        ticks = receive_until(connection, lambda: bool(connection.ended_gaps))
        assert ticks["flags"].tolist() == [0, AFTER_GAP]
        ((gap,),) = connection.ended_gaps
        assert gap["reason"] == b"disconnected"
        assert gap["began_ns"] >= ticks["ts_recv_ns"][0]
        assert gap["ended_ns"] == ticks["ts_recv_ns"][1]
        assert abs(gap["ended_epoch_ns"] - time.time_ns()) < 60 * 10**9
        assert (gap["first_instrument"], gap["instrument_count"]) == (0, 1)


def test_bytes_without_ticks_are_a_stall_and_cured_by_opening_anew(
    listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    def heartbeats_only(peer: Peer) -> None:
        peer.upgrade()
        peer.send(TICK)
        with suppress(OSError):
            while True:
                peer.send(b"\0")
                time.sleep(0.01)

    another = wire.frame(wire.encode("full", make_ticks([101.0]), Tokens(INSTRUMENTS)))

    def come_back(peer: Peer) -> None:
        peer.upgrade()
        peer.send(another)
        peer.wait_until_gone()

    listener = listen(heartbeats_only, come_back)
    with closing(connect(listener.url, stalled_seconds_max=0.3)) as connection:
        ticks = receive_until(connection, lambda: bool(connection.ended_gaps))
        ((gap,),) = connection.ended_gaps
        assert gap["reason"] == b"stalled"
        assert gap["began_ns"] == ticks["ts_recv_ns"][0]
        assert "though bytes came" in caplog.text


def test_a_stall_that_opening_anew_does_not_cure_is_one_alarm(
    listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    def heartbeats_only(peer: Peer) -> None:
        peer.upgrade()
        while True:
            peer.send(b"\0")
            time.sleep(0.01)

    listener = listen(*[heartbeats_only] * 3, serve)
    quick = {"stalled_seconds_max": 0.15, "healthy_seconds": 0.01}
    with closing(connect(listener.url, **quick)) as connection:
        ticks = receive_until(connection, lambda: bool(lines(caplog, "connected again")))
        assert len(ticks) == 1
        assert connection.outages == 3
        assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1


def test_a_process_that_stood_still_reads_what_came_before_it_blames_the_connection(
    listen: Listen,
) -> None:
    stands_still, stood_still = threading.Event(), threading.Event()

    def send_meanwhile(peer: Peer) -> None:
        peer.upgrade()
        peer.send(TICK)
        stands_still.wait()
        peer.send(b"\0")
        peer.send(TICK)
        stood_still.set()
        peer.wait_until_gone()

    seconds = {"stalled_seconds_max": 0.5, "silence_seconds_max": 0.5}
    with closing(connect(listen(send_meanwhile).url, **seconds)) as connection:
        ticked = 0
        while not ticked:
            ticked += len(connection.receive(256))
        stands_still.set()
        assert stood_still.wait(SECONDS_MAX)
        time.sleep(0.6)
        while ticked < 2 and not connection.outages:
            ticked += len(connection.receive(256))
        assert (connection.outages, connection.connected) == (0, 1)


def test_what_is_missing_when_the_feed_stops_is_a_gap_too(listen: Listen) -> None:
    with closing(connect(listen(drop, Peer.wait_until_gone).url)) as connection:
        receive_until(connection, lambda: connection.outages == 1)
        assert connection.missing()["reason"].tolist() == [b"disconnected"]


def test_an_instrument_that_never_ticks_is_named_once(
    listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    def say_nothing(peer: Peer) -> None:
        peer.upgrade()
        peer.wait_until_gone()

    with closing(connect(listen(say_nothing).url, first_tick_seconds_max=0.05)) as connection:
        receive_until(connection, lambda: connection.silent == 1)
        assert len(lines(caplog, "subscribed, and no tick yet, of 1: A")) == 1


# Logins --------------------------------------------------------------------------------------


@pytest.fixture
def secrets_file(tmp_path: Path) -> Path:
    path = tmp_path / "secrets.toml"
    path.touch(mode=0o600)
    write_token(path, "yesterday")
    return path


def write_token(path: Path, token: str) -> None:
    path.write_text(f'api_key = "key"\naccess_token = "{token}"\n')


def only_today(peer: Peer) -> None:
    if b"access_token=today" in peer.request:
        serve(peer)
    else:
        peer.answer("403 Forbidden")


def from_file(path: Path) -> dict[str, object]:
    return {"credentials": "file", "secrets_file": path}


def test_a_refused_login_waits_for_another_one_in_the_file(
    listen: Listen, secrets_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen(only_today)
    slow = {"reconnect_delay_seconds": 1_000.0}  # only another login brings the next attempt
    with closing(connect(listener.url, **from_file(secrets_file), **slow)) as connection:
        receive_until(connection, lambda: bool(caplog.records))
        (alarm,) = caplog.records
        assert alarm.levelno == logging.ERROR
        assert f"put the token into {secrets_file}" in alarm.getMessage()
        write_token(secrets_file, "today")
        receive_until(connection, lambda: connection._connecting.outage.ever_connected)
        assert listener.accepted == 2
        assert "yesterday" not in caplog.text


def test_a_file_that_is_half_written_is_told_once_and_read_again(
    listen: Listen, secrets_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(connect(listen(only_today).url, **from_file(secrets_file))) as connection:
        receive_until(connection, lambda: bool(caplog.records))
        secrets_file.write_text('access_token = "to')
        receive_until(connection, lambda: bool(lines(caplog, str(secrets_file))))
        write_token(secrets_file, "today")
        receive_until(connection, lambda: connection._connecting.outage.ever_connected)
        assert len(lines(caplog, str(secrets_file))) == 1


def test_a_login_that_cannot_change_is_the_end_at_first_and_an_outage_in_the_day(
    listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(peer: Peer) -> None:
        peer.answer("401 Unauthorized")

    with (
        closing(connect(listen(refuse).url)) as connection,
        pytest.raises(AuthRefused, match="HTTP 401"),
    ):
        receive_until(connection, lambda: False)
    with closing(connect(listen(drop, refuse, serve).url)) as connection:
        receive_until(connection, lambda: bool(lines(caplog, "connected again")))
        assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1


def test_too_many_connections_are_waited_for_as_long_as_the_server_asks(listen: Listen) -> None:
    def refuse(peer: Peer) -> None:
        peer.answer("429 Too Many Requests", "Retry-After: 500")

    with closing(connect(listen(refuse).url)) as connection:
        receive_until(connection, lambda: connection._connecting.outage.failures == 1)
        wait_ns = connection._connecting.outage.retry_at_ns - time.monotonic_ns()
        assert 400 * 10**9 < wait_ns <= 500 * 10**9


# Receiving -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a certificate of this machine's address, with its key."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    made = subprocess.run([*command, "-keyout", "-"], capture_output=True, check=True, text=True)
    path.write_text(made.stdout)
    return path


@pytest.mark.parametrize("receive", ["block", "poll"])
@pytest.mark.parametrize("frame_count", [1, 3_000])
def test_every_frame_comes_over_tls_and_without_in_both_ways_of_receiving(
    listen: Listen,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    receive: str,
    frame_count: int,
) -> None:
    prices = [100 + n / 20 for n in range(frame_count)]
    sent = [wire.frame(wire.encode("full", make_ticks([p]), Tokens(INSTRUMENTS))) for p in prices]

    def flood(peer: Peer) -> None:
        peer.upgrade()
        for frame in sent:
            peer.send(frame)
        peer.send(b"still there?", Opcode.PING)
        peer.wait_until_gone()

    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    for tls in (None, context):
        listener = listen(flood, tls=tls)
        with closing(connect(listener.url, receive=receive)) as connection:
            found: list[int] = []
            while len(found) < frame_count:
                found += connection.receive(256)["price_e4"].tolist()
            assert found == [round(price * 10_000) for price in prices]
            assert connection.outages == 0


def test_nothing_is_kept_of_a_frame_that_went_through(listen: Listen) -> None:
    thousand = bytes(ABNF(1, 0, 0, 0, Opcode.BINARY, 0, TICK).format()) * 1_000

    def flood(peer: Peer) -> None:
        peer.upgrade()
        while True:
            peer.raw.sendall(thousand)

    with closing(connect(listen(flood).url)) as connection:

        def carry(count: int) -> int:
            while count > 0:
                count -= len(connection.receive(256))
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before = carry(5_000)
            assert carry(20_000) - before < 20_000
        finally:
            tracemalloc.stop()


# Stopping ------------------------------------------------------------------------------------


def in_time(stop: Callable[[], None]) -> bool:
    """Tell whether ``stop`` comes back at all, with a generous bound."""
    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    thread.join(20.0)
    return not thread.is_alive()


def fill(raw: socket.socket) -> None:
    """Send until nothing more goes into the socket."""
    with suppress(TimeoutError):
        while True:
            raw.sendall(bytes(2**20))


def test_a_stop_does_not_wait_for_a_handshake_that_nobody_answers(listen: Listen) -> None:
    listener = listen(Peer.wait_until_gone)
    connection = connect(listener.url, connect_timeout_seconds=3_600.0)
    receive_until(connection, lambda: listener.accepted == 1)
    assert in_time(connection.close)


def test_a_stop_does_not_wait_for_a_peer_that_never_reads(listen: Listen) -> None:
    over = threading.Event()

    def never_read(peer: Peer) -> None:
        peer.upgrade()
        peer.send(TICK)
        over.wait(60.0)

    with closing(connect(listen(never_read).url)) as connection:
        assert len(receive_until(connection, lambda: connection._received_ns > 0)) <= 1
        raw = connection._socket
        assert raw is not None
        fill(raw)
        assert in_time(connection.close)
    over.set()


def test_a_ping_to_a_peer_that_never_reads_ends_the_connection(listen: Listen) -> None:
    def ping(peer: Peer) -> None:
        peer.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        peer.upgrade()
        while True:
            peer.send(b"?" * 125, Opcode.PING)  # the longest: its pongs fill the buffers soonest

    with closing(connect(listen(ping, serve).url)) as connection:
        receive_until(connection, lambda: connection._socket is not None)
        assert connection._socket is not None
        connection._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        receive_until(connection, lambda: connection.outages > 0)


def test_a_socket_of_an_attempt_that_nobody_wants_any_more_is_closed(listen: Listen) -> None:
    gone, may_answer = threading.Event(), threading.Event()

    def answer_late(peer: Peer) -> None:
        may_answer.wait(60.0)
        peer.upgrade()
        peer.wait_until_gone()
        gone.set()

    listener = listen(answer_late)
    connection = connect(listener.url)
    receive_until(connection, lambda: listener.accepted == 1)
    connection.close()
    may_answer.set()
    assert gone.wait(20.0)
