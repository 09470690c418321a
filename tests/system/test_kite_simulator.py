"""The simulator speaking Kite over real sockets, and the feed's own connection to it."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
import websocket
from aiohttp import ClientSession, web
from numpy.typing import NDArray
from pydantic import SecretStr

from pipeline.brokers.kite.session import KiteSession, login_query
from pipeline.brokers.kite.tokens import Tokens
from pipeline.brokers.kite.wire import decode
from pipeline.errors import AuthRefused
from pipeline.feed.connection import Connection
from pipeline.feed.sharing import Share
from pipeline.settings import SIMULATOR_SECRETS, FeedSettings, Secrets
from pipeline.simulator.exchange import Exchange
from pipeline.simulator.kite import KiteDialect
from pipeline.simulator.report import Report
from pipeline.testing import make_instrument, make_ticks
from tests.system.listening import receive_until
from tests.system.simulating import SECONDS_MAX, Simulate, Simulator, Simulators, receive

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"),
]

NFO, NIFTY_50 = 58963 << 8 | 2, 256265
INSTRUMENTS = [
    make_instrument(symbol="A", exchange="NFO", token=str(NFO)),
    make_instrument(symbol="B", exchange="NSE", token=str(NIFTY_50)),
]
TOKENS = Tokens(INSTRUMENTS)
BINARY, TEXT, CLOSE = (
    getattr(websocket.ABNF, f"OPCODE_{name}") for name in ("BINARY", "TEXT", "CLOSE")
)


@pytest.fixture
def simulate(simulators: Simulators) -> Simulate:
    return simulators(INSTRUMENTS)


def day(count: int, *, step_ms: int = 1_000) -> NDArray[np.void]:
    """Return ticks of both instruments in turn, each at another price than the one before."""
    ticks = np.resize(make_ticks([100 + n / 20 for n in range(1_000)]), count)
    ticks["ts_event_ns"] = ticks["ts_event_ns"][0] + np.arange(count) * step_ms * 1_000_000
    ticks["instrument"] = np.arange(count) % 2
    return ticks


def ask(client: websocket.WebSocket, action: str, value: object) -> None:
    client.send(json.dumps({"a": action, "v": value}))


def frames(client: websocket.WebSocket) -> Iterator[bytes]:
    """Yield binary frames until the server closes because the recording ended."""
    while True:
        opcode, data = receive(client)
        if opcode == CLOSE:
            assert (struct.unpack("!H", data[:2])[0], data[2:]) == (1000, b"end of recording")
            client.close(timeout=0)
            return
        assert opcode == BINARY, data
        yield data


def ticks_of(data: bytes) -> NDArray[np.void]:
    ticks, refused, _ = decode(data, TOKENS, 0)
    assert refused == 0
    return ticks


# The exchange --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["api_key", "access_token"])
@pytest.mark.parametrize("value", ["yesterdays", None])
def test_a_wrong_login_is_answered_with_403(
    simulate: Simulate, name: str, value: str | None
) -> None:
    query = {key: text for key, text in login_query(SIMULATOR_SECRETS).items() if key != name}
    if value is not None:
        query[name] = value
    url = simulate(day(10), broker="kite").url + "?" + "&".join(map("=".join, query.items()))
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        websocket.create_connection(url, timeout=SECONDS_MAX)
    assert caught.value.status_code == 403
    body = caught.value.resp_body
    assert body is not None
    assert json.loads(body)["error_type"] == "TokenException"


@pytest.mark.parametrize("mode", ["ltp", "quote", "full"])
def test_every_tick_comes_in_the_mode_that_was_set_behind_the_subscription(
    simulate: Simulate, mode: str
) -> None:
    ticks = day(2_000)
    client = simulate(ticks, broker="kite").client()
    ask(client, "subscribe", [NFO, NIFTY_50])
    ask(client, "mode", [mode, [NFO, NIFTY_50]])
    found = list(frames(client))
    assert len(found) == 1_000  # two instruments in each
    sizes = {"ltp": (8, 8), "quote": (44, 28), "full": (184, 32)}[mode]
    assert {len(data) for data in found} == {2 + 2 + sizes[0] + 2 + sizes[1]}
    played = np.concatenate([ticks_of(data) for data in found])
    assert played["price_e4"].tolist() == ticks["price_e4"].tolist()
    assert played["instrument"].tolist() == ticks["instrument"].tolist()


def test_who_comes_late_gets_a_snapshot_first(simulate: Simulate) -> None:
    simulator = simulate(day(2_000_000, step_ms=1), broker="kite", speed=1.0)
    first = simulator.client()
    ask(first, "subscribe", [NFO])
    stream = frames(first)
    seen = [int(ticks_of(next(stream))["day_volume"][0]) for _ in range(50)]
    late = simulator.client()
    ask(late, "subscribe", [NFO, NIFTY_50])
    snapshot = ticks_of(next(frames(late)))
    assert snapshot["instrument"].tolist() == [0, 1]
    assert snapshot["day_volume"][0] >= seen[0]


def test_a_wrong_request_is_answered_as_text_and_the_connection_stays(simulate: Simulate) -> None:
    client = simulate(day(10), broker="kite").client()
    for request, told in (("{", "Invalid JSON"), ('{"a":"subscribe","v":[1]}', "instruments: 1")):
        client.send(request)
        opcode, data = receive(client)
        assert opcode == TEXT
        message = json.loads(data)
        assert message["type"] == "error"
        assert told in message["data"]
    ask(client, "subscribe", [NFO])
    assert len(list(frames(client))) == 5


def test_a_heartbeat_comes_while_there_is_nothing_else(simulate: Simulate) -> None:
    client = simulate(day(2, step_ms=3_600_000), broker="kite", speed=1.0).client()
    assert receive(client) == (BINARY, b"\0")  # before anything was subscribed
    ask(client, "subscribe", [NFO])
    while len(data := receive(client)[1]) == 1:
        pass
    assert len(ticks_of(data)) == 1
    assert receive(client) == (BINARY, b"\0")


def test_an_order_postback_is_told_to_every_client() -> None:
    postback = '{"type":"order","data":{"order_id":"1"}}'

    async def hear_it_twice() -> list[str]:
        ticks = day(10)
        report = Report([row.symbol for row in INSTRUMENTS])
        exchange = Exchange(ticks, KiteDialect(ticks, INSTRUMENTS), report, speed=None)
        runner = web.AppRunner(exchange.app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
            async with ClientSession() as session:
                login = login_query(SIMULATOR_SECRETS)
                clients = [await session.ws_connect(url, params=login) for _ in range(2)]
                await exchange.tell(postback)
                return [await client.receive_str(timeout=SECONDS_MAX) for client in clients]
        finally:
            await runner.cleanup()

    assert asyncio.run(hear_it_twice()) == [postback] * 2


# The feed's connection -----------------------------------------------------------------------

SHARE = Share(0, 0, tuple(INSTRUMENTS))


def make_feed(simulator: Simulator) -> FeedSettings:
    fields = {"broker": "kite", "url": simulator.url, "mode": "full", "credentials": "simulator"}
    return FeedSettings.model_validate(fields)


def connected(simulator: Simulator, secrets: Secrets = SIMULATOR_SECRETS) -> Connection:
    feed = make_feed(simulator)
    return Connection(KiteSession(feed, INSTRUMENTS, secrets), feed, SHARE)


def test_a_frame_of_several_ticks_is_given_out_as_asked_for(simulate: Simulate) -> None:
    ticks = day(100)
    with closing(connected(simulate(ticks, broker="kite"))) as connection:
        sizes = []
        found: list[int] = []
        while not connection.ended:
            rows = connection.receive(1)
            sizes.append(len(rows))
            found += rows["price_e4"].tolist()
        assert max(sizes) == 1
        assert found == ticks["price_e4"].tolist()
        assert (connection.duplicates, connection.refused) == (0, 0)


def test_after_a_reconnect_tokens_and_modes_are_restored_and_snapshots_dropped(
    simulate: Simulate,
) -> None:
    simulator = simulate(day(10, step_ms=3_600_000), broker="kite", speed=1.0)
    feed = make_feed(simulator)
    session = KiteSession(feed, INSTRUMENTS, SIMULATOR_SECRETS)
    with closing(Connection(session, feed, SHARE)) as connection:
        while not len(connection.receive(1)):
            pass  # the first tick comes at once, the next in an hour
    with closing(Connection(session, feed, SHARE)) as connection:
        while not connection.duplicates:
            assert len(connection.receive(1)) == 0
        assert connection.refused == 1  # the snapshot in quote, before full took effect


def test_a_refused_login_is_told_without_the_login(
    simulate: Simulate, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = Secrets(api_key=SecretStr("a-secret-key"), access_token=SecretStr("a-secret-token"))
    connection = connected(simulate(day(10), broker="kite"), wrong)
    with closing(connection), pytest.raises(AuthRefused) as caught:
        receive_until(connection, lambda: False)
    assert "refused the login with HTTP 403" in str(caught.value)
    assert "a-secret" not in str(caught.value) + caplog.text


def test_an_address_that_does_not_answer_is_told_without_the_login(
    simulate: Simulate, caplog: pytest.LogCaptureFixture
) -> None:
    simulator = simulate(day(10), broker="kite")
    simulator.finish()
    with closing(connected(simulator)) as connection:
        while not caplog.records:
            connection.receive(1)
    assert "cannot connect to ws://127.0.0.1:" in caplog.text
    assert "simulator-" not in caplog.text
