"""The simulator process: an exchange on loopback that plays a recorded day.

It accepts a login that is public, so it listens on this machine only.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from pipeline.errors import PortInUse, UsageError, explain
from pipeline.runtime import boundary
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.stopping import KEYBOARD_INTERRUPT, Stop, stop_on_signals
from pipeline.settings import LOOPBACK_HOSTS, Instrument
from pipeline.simulator import DEFAULT_PORT
from pipeline.simulator.broker import Broker
from pipeline.simulator.door import Door
from pipeline.simulator.exchange import Exchange
from pipeline.simulator.kite import KiteDialect
from pipeline.simulator.order_faults import OrderFaults
from pipeline.simulator.report import Report
from pipeline.simulator.script import Script, bind
from pipeline.simulator.smartapi import SmartApiDialect

log = logging.getLogger("simulator")

DIALECTS: dict[str, type[SmartApiDialect | KiteDialect]] = {
    "smartapi": SmartApiDialect,
    "kite": KiteDialect,
}

# What the kernel holds for a client is lost when its connection breaks, and at full speed runs
# ahead of what the client has read, so it is kept small.
_SEND_BUFFER_BYTES = 64 * 1024
_STOP_POLL_SECONDS = 0.05  # a signal handler only notes; asyncio does not wake up by it
_STOP_CLOSE_SECONDS_MAX = 0.5
_CLEANUP_SECONDS_MAX = 0.1


def run(
    ticks: NDArray[np.void],
    instruments: Sequence[Instrument],
    *,
    broker: str = "smartapi",
    port: int = DEFAULT_PORT,
    speed: float | None = 1.0,
    wait_for: int = 1,
    keep: bool = False,
    faults: Script | None = None,
    order_faults: OrderFaults | None = None,
    report: Path | None = None,
    ready: Callable[[int], None] | None = None,
) -> ExitCode:
    """Play until the recording or a signal ends it; see ``run_simulator``.

    What was done is then written to the file ``report``.
    """
    done = Report([row.symbol for row in instruments], every_tick=report is not None)
    with stop_on_signals(boundary.supervisor_pid()) as stop:
        run_simulator(
            ticks,
            instruments,
            broker=broker,
            port=port,
            speed=speed,
            wait_for=wait_for,
            keep=keep,
            faults=faults,
            order_faults=order_faults,
            report=done,
            ready=ready,
            stop=stop,
        )
    if report is not None:
        done.write(report)
    return ExitCode.INTERRUPTED if stop.reason == KEYBOARD_INTERRUPT else ExitCode.OK


def run_simulator(
    ticks: NDArray[np.void],
    instruments: Sequence[Instrument],
    *,
    broker: str = "smartapi",
    host: str = "127.0.0.1",
    port: int,
    speed: float | None,
    wait_for: int = 1,
    keep: bool = False,
    faults: Script | None = None,
    order_faults: OrderFaults | None = None,
    report: Report | None = None,
    heartbeat_seconds: float = 1.0,
    ready: Callable[[int], None] | None = None,
    stop: Stop,
) -> int:
    """Play ``ticks`` over a WebSocket and return how many frames were sent.

    ``broker`` is whose protocol is spoken. ``port`` 0 takes a free one; ``ready`` is told which,
    once clients can connect. ``speed`` is times real time, None as fast as the clients take it.
    Playing starts when ``wait_for`` clients have subscribed. With ``keep`` the end of the
    recording does not end the simulator: who subscribes then is told that the recording ended.
    ``faults`` and, with orders, ``order_faults`` are what goes wrong on the way;
    ``report`` is filled with what was done.
    Raises PortInUse, UsageError for an address that cannot be listened on, TickFileError for what
    the broker's packets cannot hold, SettingsError for instruments that the broker cannot have and
    for faults that the recording cannot have.
    """
    _check(host, port, speed)
    dialect = DIALECTS[broker](ticks, instruments)
    exchange = Exchange(
        ticks,
        dialect,
        report or Report([row.symbol for row in instruments]),
        speed=speed,
        wait_for=wait_for,
        faults=bind(faults, ticks, instruments) if faults else (),
        heartbeat_seconds=heartbeat_seconds,
    )
    orders = Broker(exchange, ticks, instruments, broker, order_faults or {})
    asyncio.run(_serve(exchange, orders, host, port, keep, ready, stop))
    return exchange.frames_sent


async def _serve(
    exchange: Exchange,
    orders: Broker,
    host: str,
    port: int,
    keep: bool,
    ready: Callable[[int], None] | None,
    stop: Stop,
) -> None:
    runner = web.AppRunner(exchange.app, access_log=None, shutdown_timeout=_CLEANUP_SECONDS_MAX)
    await runner.setup()
    try:
        async with aclosing(Door(runner, partial(_bound, host), port)) as door:
            await door.open()
            log.info("listening on ws://%s:%d%s", host, door.port, exchange.path)
            if ready is not None:
                ready(door.port)
            await _play(exchange, orders, door, keep, stop)
            await exchange.leave(_STOP_CLOSE_SECONDS_MAX)
    finally:
        await runner.cleanup()


async def _play(exchange: Exchange, orders: Broker, door: Door, keep: bool, stop: Stop) -> None:
    """Play until the recording ends and nobody orders any more, or a stop is requested; with
    ``keep`` only the latter."""
    playing = asyncio.create_task(exchange.play(door))
    try:
        while not stop.requested:
            if playing.done():
                await playing  # raises what it raised
                if not keep and orders.is_quiet:
                    return
            await asyncio.sleep(_STOP_POLL_SECONDS)
            stop.check_parent()
    finally:
        playing.cancel()
        await asyncio.wait({playing})


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if host == "[::1]" else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    try:
        listener.bind((host.strip("[]"), port))
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from None
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> PortInUse | UsageError:
    if error.errno == errno.EADDRINUSE:
        return PortInUse(
            explain(
                f"something else listens on {host}:{port}",
                rule="the simulator needs a port of its own",
                cure="stop the other program, or choose another port with --port and in feed.url",
            )
        )
    return UsageError(
        explain(
            f"cannot listen on {host}:{port}: {error.strerror}",
            rule="the simulator listens on a port that its user may open",
            cure="choose another port with --port, above 1023",
        )
    )


def _check(host: str, port: int, speed: float | None) -> None:
    if host not in LOOPBACK_HOSTS:
        raise UsageError(
            explain(
                f"host {host} is not this machine",
                rule=f"the simulator's login is public: it listens on {', '.join(LOOPBACK_HOSTS)}",
                cure="leave the host out",
            )
        )
    if not 0 <= port <= 65_535:
        raise UsageError(
            explain(
                f"port {port}", rule="a port is 0 to 65535, 0 takes a free one", cure="correct it"
            )
        )
    if speed is not None and not 0 < speed <= 1e6:
        raise UsageError(
            explain(f"speed {speed}", rule="a speed is above 0, at most 1 000 000", cure="use max")
        )
