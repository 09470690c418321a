"""What tests of risk and results share: settings, ticks, signals, orders, fills, trades."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.contract import BrokerBook, Fill, Order, OrderUpdate, Side
from pipeline.brokers.paper.orders import PaperGateway
from pipeline.records import IST, SIGNAL, TICK, Action, SignalRow
from pipeline.results.trades import Trade
from pipeline.risk.charges import Rates
from pipeline.risk.desk import Desk
from pipeline.risk.ledger import MEMORY, Ledger
from pipeline.risk.positions import Book
from pipeline.risk.rulebook import NO_RULES, Rulebook
from pipeline.risk.session import RiskSession
from pipeline.risk.tariffs import tariffs_of
from pipeline.settings import Settings, load_settings

GUIDE = Path(__file__).resolve().parent.parent / "configs" / "guide.toml"
LOT = 75
GATES = "session.gates=true"
HOURS = ('session.start="09:15"', GATES)  # entries 09:20-15:10, flat from 15:10
CALENDAR = (*HOURS, "session.calendar=true")


def guide(*overrides: str) -> Settings:
    """Return the guide's settings with ``overrides`` ("section.key=value")."""
    return load_settings(GUIDE, overrides)


def two_instruments(*overrides: str) -> Settings:
    """Return the guide's settings for a second instrument of lot 50 as well."""
    settings = guide(*overrides)
    second = {"symbol": "OTHER-OPTION", "token": "2", "lot_size": 50}
    other = settings.instruments[0].model_copy(update=second)
    return settings.model_copy(update={"instruments": (*settings.instruments, other)})


def rates_of(settings: Settings) -> Rates:
    """Return the guide's rates with the percentages of ``settings``."""
    return Rates.guide(settings.risk)


def book_with(settings: Settings, cash: Decimal, rulebook: Rulebook = NO_RULES) -> Book:
    return Book(settings.instruments, cash, tariffs_of(settings, rulebook))


def instrument_of(settings: Settings, **changes: Any) -> Settings:
    """Return ``settings`` with its first instrument alone, changed."""
    changed = settings.instruments[0].model_copy(update=changes)
    return settings.model_copy(update={"instruments": (changed,)})


def at(clock: str, day: str = "2025-10-01") -> int:
    """Return the exchange time of ``clock`` (HH:MM:SS, IST) in epoch ns."""
    moment = datetime.fromisoformat(f"{day} {clock}").replace(tzinfo=IST)
    return int(moment.timestamp()) * 1_000_000_000


def e4_of(price: float | str) -> int:
    return int(Decimal(str(price)) * 10_000)


def tick(
    seq: int, price: float | str, clock: str = "10:00:00", *, instrument: int = 0, **more: Any
) -> tuple[int, ...]:
    """Return a row of records.TICK as a tuple; ``price`` in ₹."""
    values = {
        "seq": seq,
        "ts_event_ns": at(clock),
        "ts_recv_ns": seq * 1_000,
        "price_e4": e4_of(price),
        "instrument": instrument,
    } | more
    return tuple(values[name] if name in values else 0 for name in TICK.names or ())


def tick_array(*rows: tuple[int, ...]) -> NDArray[np.void]:
    return np.array(list(rows), TICK)


def signal(
    seq: int, action: Action = Action.BUY, *, tick_seq: int = 1, reason: str = "", **more: Any
) -> SignalRow:
    """Return a row of records.SIGNAL as a tuple."""
    values: dict[str, Any] = dict.fromkeys(SignalRow._fields, 0)
    values |= {"seq": seq, "tick_seq": tick_seq, "action": int(action), "reason": reason.encode()}
    return SignalRow(**(values | more))


def signal_array(*rows: SignalRow) -> NDArray[np.void]:
    return np.array(list(rows), SIGNAL)


def order(
    side: Side = Side.BUY, quantity: int = LOT, price: float | str = 100, **more: Any
) -> Order:
    values: dict[str, Any] = {
        "order_id": f"{side}{quantity}",
        "instrument": 0,
        "symbol": "NIFTY-OPTION",
        "side": side,
        "quantity": quantity,
        "price_e4": e4_of(price),
        "position_id": 1,
        "reason": "why",
        "tick_seq": 1,
        "ts_event_ns": at("10:00:00"),
    }
    return Order(**(values | more))


def fill(of: Order, quantity: int | None = None, price: float | str | None = None) -> Fill:
    """Return a fill of the order, in full and at its price unless told otherwise."""
    price_e4 = of.price_e4 if price is None else e4_of(price)
    shares = of.quantity if quantity is None else quantity
    return Fill(
        order_id=of.order_id,
        quantity=shares,
        turnover_e4=shares * price_e4,
        slippage_e4=shares * abs(price_e4 - of.price_e4),
        ts_event_ns=of.ts_event_ns,
    )


def trade(net: float | str, *, trade_id: int = 1, charges: float | str = 0, **more: Any) -> Trade:
    """Return a trade of one share bought at 100 ₹ that nets ``net`` ₹."""
    gross = Decimal(str(net)) + Decimal(str(charges))
    values: dict[str, Any] = {
        "trade_id": trade_id,
        "position_id": trade_id,
        "symbol": "NIFTY-OPTION",
        "side": "BUY",
        "product": "INTRADAY",
        "quantity": 1,
        "entry_ns": at("10:00:00"),
        "exit_ns": at("10:01:30"),
        "entry_price_e4": e4_of(100),
        "exit_price_e4": e4_of(100) + int(gross * 10_000),
        "gross_pnl": gross,
        "entry_charges": Decimal(0),
        "exit_charges": Decimal(str(charges)),
        "slippage": Decimal(0),
        "mae": Decimal(0),
        "mfe": Decimal(0),
        "exit_reason": "Take Profit 1",
        "entry_seq": 1,
        "exit_seq": 2,
        "entry_order_id": "251001N0001E0",
        "exit_order_id": "251001N0001X1",
        "tick_to_signal_ns": 0,
        "signal_to_order_ns": 0,
    }
    return Trade(**(values | more))


class Recorder:
    """A paper gateway that remembers; a ``silent`` one says nothing of an order."""

    def __init__(self, ledger: Ledger, *, silent: bool = False) -> None:
        self.orders: list[Order] = []
        self.in_ledger_when_sent: list[bool] = []
        self._ledger = ledger
        self._paper = PaperGateway(0)
        self._silent = silent
        self._told: list[OrderUpdate | BrokerBook] = []
        self.asks = 0
        self.cancelled: list[str] = []

    def send(self, order: Order) -> None:
        self.in_ledger_when_sent.append(order in [known for known, _ in self._ledger.orders()])
        self.orders.append(order)
        if not self._silent:
            self._paper.send(order)

    def fall_silent(self) -> None:
        """Say nothing of the orders from here on."""
        self._silent = True

    def tell(self, *heard: OrderUpdate | BrokerBook) -> None:
        """Have ``heard`` come with the next take."""
        self._told += heard

    def cancel(self, order_id: str, broker_id: str) -> None:
        self.cancelled.append(order_id)
        self._paper.cancel(order_id, broker_id)

    def ask(self) -> None:
        self.asks += 1
        if not self._silent:
            self._paper.ask()

    def take(self) -> Sequence[OrderUpdate | BrokerBook]:
        told, self._told = self._told, []
        return [*self._paper.take(), *told]

    def close(self) -> None:
        self._paper.close()


class Trading:
    """A desk with everything it needs, in memory."""

    def __init__(
        self, settings: Settings, *, silent: bool = False, rulebook: Rulebook = NO_RULES
    ) -> None:
        self.ledger = Ledger.open(MEMORY)
        self.gateway = Recorder(self.ledger, silent=silent)
        self.session = RiskSession(settings, rulebook)
        self.desk = Desk(self.session, self.ledger, self.gateway)

    def tick(self, seq: int, price: float | str, *args: Any, **more: Any) -> None:
        row = tick(seq, price, *args, **more)
        self.desk.on_tick(row, row[2])

    def buy(self, seq: int, price: float | str, *args: Any, **more: Any) -> None:
        """Buy on tick ``seq`` at ``price``."""
        self.ask(Action.BUY, seq, price, *args, **more)

    def ask(
        self,
        action: Action,
        seq: int,
        price: float | str,
        *args: Any,
        signal_seq: int | None = None,
        **more: Any,
    ) -> None:
        """Send a signal of tick ``seq``, and that tick."""
        row = tick(seq, price, *args, **more)
        sent = signal(
            seq if signal_seq is None else signal_seq,
            action,
            tick_seq=seq,
            ts_event_ns=row[1],
            ts_recv_ns=row[2],
            price_e4=row[3],
            instrument=row[4],
        )
        self.desk.on_signal(sent, row[2])
        self.desk.on_tick(row, row[2])

    @property
    def exits(self) -> list[tuple[str, int]]:
        """Reason and quantity of every trade so far."""
        return [(trade.exit_reason, trade.quantity) for trade in self.ledger.trades()]
