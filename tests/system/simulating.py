"""A simulator for tests: in a thread, with clients that do not outlive it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

import numpy as np
import websocket
from numpy.typing import NDArray

from pipeline.brokers.kite.session import login_query
from pipeline.brokers.smartapi.session import auth_headers
from pipeline.runtime.stopping import STOP_REQUESTED, Stop
from pipeline.settings import SIMULATOR_SECRETS, Instrument
from pipeline.simulator.process import DIALECTS, run_simulator
from pipeline.simulator.report import Report

SECONDS_MAX = 20.0


class Simulator:
    """``run_simulator`` in a thread; with ``every_tick`` its report has every delivery."""

    def __init__(
        self, ticks: NDArray[np.void], instruments: Sequence[Instrument], **options: object
    ) -> None:
        self.stop = Stop()
        self.frames_sent = 0
        every_tick = bool(options.pop("every_tick", False))
        self.report = Report([row.symbol for row in instruments], every_tick=every_tick)
        defaults = {"port": 0, "speed": None, "stop": self.stop, "report": self.report}
        self._arguments = defaults | options
        self._broker = str(options["broker"]) if "broker" in options else "smartapi"
        self._ports: queue.Queue[int] = queue.Queue()
        self._clients: list[websocket.WebSocket] = []
        self._thread = threading.Thread(target=self._run, args=(ticks, instruments))
        self._thread.start()
        self.port = self._ports.get(timeout=SECONDS_MAX)
        self.url = f"ws://127.0.0.1:{self.port}{DIALECTS[self._broker].path}"

    def _run(self, ticks: NDArray[np.void], instruments: Sequence[Instrument]) -> None:
        run: Callable[..., int] = run_simulator
        self.frames_sent = run(ticks, instruments, ready=self._ports.put, **self._arguments)

    def ends_within(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def wait(self) -> None:
        """Wait until it ended by itself."""
        assert self.ends_within(SECONDS_MAX)

    def finish(self) -> None:
        self.stop.request(STOP_REQUESTED)
        self.wait()

    def client(self) -> websocket.WebSocket:
        """Return a connection with the simulator's login."""
        query, headers = "", {}
        if self._broker == "kite":
            query = "?" + "&".join(
                f"{name}={value}" for name, value in login_query(SIMULATOR_SECRETS).items()
            )
        else:
            headers = auth_headers(SIMULATOR_SECRETS)
        client = websocket.create_connection(self.url + query, timeout=SECONDS_MAX, header=headers)
        self._clients.append(client)
        return client

    def drop_clients(self) -> None:
        for client in self._clients:
            client.shutdown()  # type: ignore[no-untyped-call]


Simulate = Callable[..., Simulator]
Simulators = Callable[[Sequence[Instrument]], Simulate]


def receive(client: websocket.WebSocket) -> tuple[int, bytes]:
    """Return the next frame that is not a ping; pings are answered by the library."""
    while True:
        opcode, data = client.recv_data(control_frame=True)
        if opcode != websocket.ABNF.OPCODE_PING:
            return opcode, data
