"""The simulator's side of one connection whose other side leaves in the wrong moment."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import ClientSession, web

from pipeline.simulator.breaking import strike
from pipeline.simulator.client import Client
from pipeline.simulator.faults import Fin, Noise, Reset
from pipeline.simulator.report import ConnectionReport

pytestmark = pytest.mark.system


def test_a_fault_does_nothing_to_a_client_that_has_hung_up_and_does_not_listen_any_more() -> None:
    asyncio.run(_hang_up_then_strike())


async def _hang_up_then_strike() -> None:
    served: list[tuple[Client, web.Request]] = []

    async def serve(request: web.Request) -> web.WebSocketResponse:
        client = Client(ConnectionReport(1, 0), b"", 1.0, lambda: None)
        served.append((client, request))
        return await client.converse(request, _say_nothing)

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with ClientSession() as session, session.ws_connect(f"ws://127.0.0.1:{port}/"):
        ((client, request),) = served
        while not client.takes_ticks:
            await asyncio.sleep(0)
        assert isinstance(request.transport, asyncio.Transport)
        request.transport.abort()
        assert not client.takes_ticks
        await asyncio.sleep(0)  # the socket is closed, and nobody has told the client
        faults: list[Any] = [Reset(kind="reset", tick=1), Fin(kind="fin", tick=1)]
        for fault in [*faults, Noise(kind="noise", tick=1)]:
            await strike(fault, client)
    await runner.cleanup()


async def _say_nothing(client: Client, text: str) -> None:
    pass
