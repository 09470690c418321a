"""The guide's two loops, rebuilt from its text: what tickpipe is compared with.

    python -m tests.perf.compare.guide polling|callback --config FILE --results DIR --set …

The structure is the guide's ("Direct Callback Implementation Guide"): an adapter whose WebSocket
thread puts dictionaries into a bounded queue.Queue or calls ``on_tick_callback``, and a trader
that polls the queue with a sleep of 50 ms when it is empty, or sleeps 100 ms at a time while the
callback does the work. Names are the guide's.

What is not the guide's, so that the ways can be compared: the strategy and the risk rules are
tickpipe's own sessions, called in this process, with the paper gateway. What the guide's program
did besides and the text does not show (pandas rows, GUI updates, log lines on the tick path) is
left out, and the ledger is in memory while the day lasts: all in the guide's favour.
"""

from __future__ import annotations

import argparse
import logging
import queue
import struct
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from time import monotonic_ns
from typing import Any

import numpy as np
import websocket

from pipeline.brokers.paper.orders import PaperGateway
from pipeline.brokers.smartapi.session import SmartApiSession
from pipeline.records import IST, PRICE_SCALE, TICK, Stage
from pipeline.results.files import write_results
from pipeline.results.statistics import summarise
from pipeline.risk.desk import Desk
from pipeline.risk.ledger import MEMORY, Ledger
from pipeline.risk.process import StampingGateway
from pipeline.risk.reasons import Reason
from pipeline.risk.session import RiskSession
from pipeline.runtime.latency import Stages
from pipeline.settings import SIMULATOR_SECRETS, Settings, e4, load_settings
from pipeline.strategy.loading import load_strategy
from pipeline.strategy.session import StrategySession

logger = logging.getLogger("guide")

QUEUE_MAX = 1_000
EMPTY_SLEEP_SECONDS = 0.05  # "Sleep" in the guide's picture of the polling mode
HEARTBEAT_SECONDS = 0.1  # _run_callback_loop: "Minimal sleep - just checking stop flag"

GuideTick = dict[str, Any]


class BrokerAdapter:
    """Step 2, "broker_adapter.py is already ready": "`on_tick_callback` support added",
    "`_handle_websocket_tick()` calls callback if registered", "Queue still works"."""

    def __init__(self, settings: Settings) -> None:
        self._session = SmartApiSession(settings.feed, settings.instruments, SIMULATOR_SECRETS)
        self._symbol = settings.instruments[0].symbol
        self._exchange = settings.instruments[0].exchange
        self.on_tick_callback: Callable[[GuideTick, str], None] | None = None
        self.tick_buffer: queue.Queue[GuideTick] = queue.Queue(maxsize=QUEUE_MAX)
        self.last_price = 0.0
        self.dropped = 0
        self.on_close: Callable[[], None] = lambda: None
        self.ended = threading.Event()

    def connect(self) -> None:
        """Start the WebSocket on a thread of its own, as the broker's SDK does."""
        app = websocket.WebSocketApp(
            self._session.url,
            header=list(self._session.headers),
            on_open=self._on_open,
            on_data=self._on_data,
            on_error=lambda app, error: logger.warning("%s", error),
            on_close=self._on_close,
        )
        threading.Thread(target=app.run_forever, kwargs={"ping_interval": 10}, daemon=True).start()

    def _on_open(self, app: websocket.WebSocketApp) -> None:
        for text in self._session.on_open():
            app.send(text)

    def _on_close(self, *_: object) -> None:
        self.on_close()
        self.ended.set()

    def _on_data(self, app: websocket.WebSocketApp, data: Any, kind: int, is_last: bool) -> None:
        received_ns = monotonic_ns()  # the frame is in hand: where tickpipe stamps it too
        if kind != websocket.ABNF.OPCODE_BINARY:
            return
        message = parse_binary_data(data)
        tick = {
            "timestamp": datetime.now(IST),
            "price": message["last_traded_price"] / 100.0,
            "volume": message["last_traded_quantity"],
            "symbol": self._symbol,
            "exchange": self._exchange,
            "received_ns": received_ns,
            "raw": message,
        }
        self._handle_websocket_tick(tick, self._symbol)

    def _handle_websocket_tick(self, tick: GuideTick, symbol: str) -> None:
        self.last_price = tick["price"]
        if self.on_tick_callback:
            self.on_tick_callback(tick, symbol)
        try:  # "Queue still works for backwards compatibility": it is filled in both modes
            self.tick_buffer.put_nowait(tick)
        except queue.Full:
            self.tick_buffer.get_nowait()  # the oldest goes
            self.tick_buffer.put_nowait(tick)
            self.dropped += 1

    def get_next_tick(self) -> GuideTick | None:
        try:
            return self.tick_buffer.get_nowait()
        except queue.Empty:
            return None


def parse_binary_data(data: bytes) -> dict[str, Any]:
    """Return a Quote packet as the SDK does: field by field, into a dictionary."""
    parsed: dict[str, Any] = {
        "subscription_mode": struct.unpack("<B", data[0:1])[0],
        "exchange_type": struct.unpack("<B", data[1:2])[0],
        "token": data[2:27].partition(b"\0")[0].decode(),
        "sequence_number": struct.unpack("<q", data[27:35])[0],
        "exchange_timestamp": struct.unpack("<q", data[35:43])[0],
        "last_traded_price": struct.unpack("<q", data[43:51])[0],
    }
    for at, name in enumerate(_QUOTE_NAMES):
        kind = "<d" if name.startswith("total") else "<q"
        parsed[name] = struct.unpack(kind, data[51 + 8 * at : 59 + 8 * at])[0]
    return parsed


_QUOTE_NAMES = (
    "last_traded_quantity",
    "average_traded_price",
    "volume_trade_for_the_day",
    "total_buy_quantity",
    "total_sell_quantity",
    "open_price_of_the_day",
    "high_price_of_the_day",
    "low_price_of_the_day",
    "closed_price",
)


class LiveTrader:
    """Step 1, "Modify broker initialization in trader.py"."""

    def __init__(self, settings: Settings, results: Path, use_direct_callbacks: bool) -> None:
        self.use_direct_callbacks = use_direct_callbacks
        self.broker = BrokerAdapter(settings)
        self._settings = settings
        self._results = results
        self._book: Book | None = None

    @property
    def book(self) -> Book:
        """What trades; made by the thread that uses it, as SQLite asks."""
        if self._book is None:
            self._book = Book(self._settings)
        return self._book

    def start(self) -> None:
        """Option 1: "Register callback before connecting", then one loop or the other."""
        if self.use_direct_callbacks:
            self.broker.on_tick_callback = self._on_tick_direct
            self.broker.on_close = self._finish
        self.broker.connect()
        if self.use_direct_callbacks:
            self._run_callback_loop()
        else:
            self._run_polling_loop()

    def _on_tick_direct(self, tick: GuideTick, symbol: str) -> None:
        """ "Process tick immediately (no queue, no waiting)", on the WebSocket thread."""
        self.book.process(tick)

    def _run_callback_loop(self) -> None:
        """ "Minimal loop for callback mode - just wait for stop signal"."""
        while not self.broker.ended.is_set():
            time.sleep(HEARTBEAT_SECONDS)

    def _run_polling_loop(self) -> None:
        """ "Tick → Queue → Sleep → Get → Proc → Done"."""
        while True:
            tick = self.broker.get_next_tick()
            if tick is None:
                if self.broker.ended.is_set():
                    self._finish()
                    return
                time.sleep(EMPTY_SLEEP_SECONDS)
                continue
            self.book.process(tick)

    def _finish(self) -> None:
        self.book.desk.flatten(Reason.SESSION_END)
        self.book.write(self._results, self.broker.dropped)


class Book:
    """What the guide's strategy.on_tick, open_long and process_positions do, by our sessions."""

    def __init__(self, settings: Settings) -> None:
        self._in_lockstep = settings.channels.lockstep
        self.ledger = Ledger.open(MEMORY)
        self.stages = Stages(
            Stage.FEED_TO_STRATEGY,
            Stage.FEED_TO_RISK,
            Stage.SIGNAL_TO_RISK,
            Stage.SIGNAL_TO_ORDER,
            Stage.TICK_TO_ORDER,
        )
        self._strategy = StrategySession(
            load_strategy(settings.strategy), settings.instruments, settings.strategy.failures_max
        )
        paper = PaperGateway(e4(settings.risk.slippage_points))
        self._risk = RiskSession(settings)
        self.desk = Desk(self._risk, self.ledger, StampingGateway(paper, self.ledger, self.stages))
        self._answered = self.stages[Stage.FEED_TO_STRATEGY]
        self._handled = self.stages[Stage.FEED_TO_RISK]
        self._arrived = self.stages[Stage.SIGNAL_TO_RISK]
        self.ticks = self.signals = 0
        self._row = np.zeros(1, TICK)
        self._shown_version = self._risk.version

    def process(self, tick: GuideTick) -> None:
        """Handle one tick as a backtest does: strategy, its signals, then the exits."""
        row, raw, received_ns = self._row, tick["raw"], tick["received_ns"]
        row["seq"] = raw["sequence_number"]
        row["ts_event_ns"] = raw["exchange_timestamp"] * 1_000_000
        row["ts_recv_ns"] = received_ns
        row["price_e4"] = round(tick["price"] * PRICE_SCALE)
        row["quantity"] = tick["volume"]
        row["day_volume"] = raw["volume_trade_for_the_day"]
        signals = self._strategy.on_ticks(row)
        decided_ns = monotonic_ns()
        self._answered.add_one(decided_ns - received_ns)
        if len(signals):
            self._send(signals, decided_ns, received_ns)
        fields: tuple[int, ...] = row[0].item()
        self.desk.on_tick(fields, received_ns if self._in_lockstep else decided_ns)
        if self._risk.version != self._shown_version:
            self._shown_version = self._risk.version
            self._strategy.on_positions(self._risk.positions_row())
        self.ticks += 1
        self._handled.add_one(monotonic_ns() - received_ns)

    def _send(self, signals: Any, decided_ns: int, received_ns: int) -> None:
        signals["ts_signal_ns"] = decided_ns
        signals["seq"] = range(self.signals + 1, self.signals + len(signals) + 1)
        self.signals += len(signals)
        now_ns = monotonic_ns()
        self._arrived.add_one(now_ns - decided_ns)
        self.desk.on_signals(signals, received_ns if self._in_lockstep else now_ns)

    def write(self, results: Path, dropped: int) -> None:
        """Write the results as risk does, and the ledger to a file."""
        now = datetime.now(IST)
        trades = self.ledger.trades()
        latencies = self.stages.latencies()
        write_results(
            results,
            trades=trades,
            figures=summarise(trades, self._risk.book.cash).figures(),
            parameters=[
                ("Ticks", str(self.ticks)),
                ("Ticks Dropped By The Queue", str(dropped)),
                *((f"Latency {stage.title}", str(latencies[stage])) for stage in latencies),
            ],
            stamp=now,
        )
        times_sent = self.ledger.times_sent()
        with Ledger.open(results / "ledger_guide.sqlite") as kept:
            for order, _ in self.ledger.orders():
                kept.put(order)
                kept.handed_over(order.order_id, times_sent[order.order_id])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("loop", choices=("polling", "callback"))
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    settings = load_settings(options.config, options.set)
    LiveTrader(settings, options.results, options.loop == "callback").start()


if __name__ == "__main__":
    main()
