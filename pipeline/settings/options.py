"""Every option of the product, once: name, type, unit, default and help.

Checked as a whole, then frozen. What a trade is made of (prices, charges, capital) has no default:
it is written in the file or the file is refused. docs/settings.md is generated from this module.
"""

from __future__ import annotations

import os
from datetime import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from pipeline.records import INSTRUMENTS_MAX, WhenLapped
from pipeline.settings.feed import FeedSettings
from pipeline.settings.gateway import OrdersSettings
from pipeline.settings.kinds import (
    COUNTED_IN_LOTS,
    SHARES,
    Exchange,
    Kind,
    LocalTime,
    Number,
    Parameter,
    Price,
    Section,
    Switch,
    Whole,
    option,
    strict_bool,
)
from pipeline.settings.recording import RecorderSettings
from pipeline.settings.recovery import PaperSettings, RecoverySettings
from pipeline.settings.risk import RiskSettings


class Mode(StrEnum):
    """How a reader waits for the next tick."""

    POLL = "poll"
    CALLBACK = "callback"
    ADAPTIVE = "adaptive"


class Instrument(Section):
    """One instrument that is traded; repeat the section for more.

    With `feed.instruments_file`, token, lot_size, tick_size, kind and underlying may be left out:
    they come from the broker's dump.
    """

    symbol: str = option("Name in results and logs", min_length=1)
    exchange: Exchange = option("Exchange segment")
    token: str = option("The broker's token for it, digits", pattern=r"^[0-9]{1,24}$")
    product_type: Literal["INTRADAY", "DELIVERY", "CARRYFORWARD"] = option("Product of its orders")
    lot_size: Whole = option("Shares in a lot", unit="shares", gt=0)
    tick_size: Price = option("Smallest price step", unit="₹", gt=0)
    kind: Kind = option(
        "What it is, for `session.calendar` and `risk.charges`; shares with listed derivatives "
        "have hours of their own",
        default="unstated",
    )
    underlying: str | None = option(
        "Index of a future or option, as NIFTY: with `session.calendar` its lot is checked, and "
        "its freeze quantity holds",
        default=None,
    )
    freeze_quantity: Whole | None = option(
        "Largest order; a larger one is sent in slices of whole lots. Unset: that of `underlying` "
        "in the calendar, else any",
        unit="shares",
        default=None,
        gt=0,
    )

    @model_validator(mode="after")
    def _kind_fits_the_exchange(self) -> Self:
        shares = self.kind in ("share", "share_with_derivatives")
        if self.kind != "unstated" and shares != (self.exchange in SHARES):
            raise ValueError(f"{self.exchange} has no instruments of kind {self.kind}")
        return self

    @model_validator(mode="after")
    def _a_lot_fits_the_freeze(self) -> Self:
        if self.freeze_quantity is not None and self.freeze_quantity < self.lot_size:
            raise ValueError(
                f"freeze_quantity {self.freeze_quantity} is below lot_size {self.lot_size}"
            )
        return self


class SessionSettings(Section):
    """The hours in which the strategy may enter; the clock is the time of the tick."""

    gates: Switch = option(
        "false plays a recording without looking at the hours; true enforces everything below"
    )
    start: LocalTime = option("Session start", unit="IST")
    end: LocalTime = option("Session end", unit="IST")
    calendar: Switch = option(
        "Start and end come from the calendar of the instrument's exchange; on a holiday, and on a "
        "date that the calendar does not have, entries are refused",
        default=False,
    )
    start_buffer_minutes: Whole = option("No entry before start + this", unit="min", ge=0, le=600)
    end_buffer_minutes: Whole = option(
        "No entry after end − this, and every position is closed then", unit="min", ge=0, le=600
    )
    no_trade_start_minutes: Whole = option("No entry before start + this", unit="min", ge=0, le=600)
    no_trade_end_minutes: Whole = option("No entry after end − this", unit="min", ge=0, le=600)

    @model_validator(mode="after")
    def _calendar_is_a_gate(self) -> Self:
        if self.calendar and not self.gates:
            raise ValueError("calendar = true needs gates = true")
        if self.calendar and not self.end_buffer_minutes:
            raise ValueError(
                "calendar = true needs end_buffer_minutes of 1 or more: behind the close of its "
                "exchange nothing can be closed"
            )
        return self

    @model_validator(mode="after")
    def _start_before_end(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"start {self.start} is not before end {self.end}")
        first = _minute(self.start) + max(self.start_buffer_minutes, self.no_trade_start_minutes)
        last = _minute(self.end) - max(self.end_buffer_minutes, self.no_trade_end_minutes)
        if first >= last:
            raise ValueError(f"the buffers leave no minute of {self.start} to {self.end} to enter")
        return self


class CapitalSettings(Section):
    """The money the run starts with."""

    initial_capital: Price = option("Cash at the start", unit="₹", gt=0)


class StrategySettings(Section):
    """Which strategy runs, and the momentum strategy's parameters in the guide's words."""

    use: str = option(
        "The class: module:Class, or path/to/file.py:Class",
        default="pipeline.strategies.momentum:Momentum",
        pattern=r"^[^:]+:[A-Za-z_][A-Za-z0-9_]*$",
    )
    use_ema_crossover: Switch = option("Enter only with the fast EMA above the slow one")
    fast_ema: Whole = option("Span of the fast EMA", unit="ticks", ge=1)
    slow_ema: Whole = option("Span of the slow EMA", unit="ticks", ge=2)
    consecutive_green_bars: Whole = option("Rising ticks in a row before an entry", ge=1)
    Enable_control_base_sl_green_ticks: Switch = option(
        "Ask for more rising ticks after an exit by the base stop-loss"
    )
    control_base_sl_green_ticks: Whole = option("How many then", ge=1)
    min_warmup_ticks: Whole = option("No signal before this tick", unit="ticks", ge=1)
    noise_filter_enabled: Annotated[Literal[False], BeforeValidator(strict_bool)] = option(
        "Not available; accepted for the guide's sake"
    )
    parameters: dict[str, Parameter] = option(
        "Parameters of your own strategy, under [strategy.parameters]", default={}
    )
    depth: Switch = option(
        'Call on_depth with the best five prices of both sides; needs `feed.mode` = "full"',
        default=False,
    )
    when_lapped: WhenLapped = option(
        "If the strategy is so late that the feed overwrote ticks it had not read: latest goes on "
        "with the newest tick, oldest with the oldest there is, raise stops the strategy",
        default=WhenLapped.LATEST,
    )
    batch_max: Whole = option("Ticks read at once", unit="ticks", default=256, ge=1, le=65_536)
    failures_max: Whole = option(
        "Consecutive failures of on_tick that close the position and stop", default=7, ge=1
    )

    @model_validator(mode="after")
    def _fast_is_faster(self) -> Self:
        if self.fast_ema >= self.slow_ema:
            raise ValueError(f"fast_ema {self.fast_ema} is not below slow_ema {self.slow_ema}")
        return self


class WaitingSettings(Section):
    """How strategy and risk wait for ticks."""

    mode: Mode = option("poll spins, callback parks until woken, adaptive spins then parks")
    adaptive_spin_us: Whole = option("Spin this long before parking", unit="µs", default=50, ge=1)
    spin: Literal["auto", "bare", "yield"] = option(
        "bare never leaves the CPU, needs one of its own and rehearses between ticks; yield lets "
        "others run; auto is bare where there are cores enough",
        default="auto",
    )


class PinningSettings(Section):
    """CPUs of each process; unset means a plan from the machine's cores."""

    feed: tuple[Whole, ...] | None = option("CPUs of the feed", default=None)
    strategy: tuple[Whole, ...] | None = option("CPUs of the strategy", default=None)
    risk: tuple[Whole, ...] | None = option("CPUs of risk", default=None)

    @field_validator("feed", "strategy", "risk")
    @classmethod
    def _cpus_are_numbers(cls, cpus: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if cpus is not None and (not cpus or min(cpus) < 0 or len(set(cpus)) != len(cpus)):
            raise ValueError(f"name each CPU once, from 0 up, got {list(cpus)}")
        return cpus


class ChannelSettings(Section):
    """Shared memory."""

    directory: Path | None = option(
        "Run directory; unset means /dev/shm/tickpipe-UID/NAME", default=None
    )
    ring_capacity: Whole = option(
        "Ticks on the ring, a power of two", default=65_536, ge=64, le=2**24
    )
    queue_capacity: Whole = option(
        "Signals in the queue, a power of two", default=1_024, ge=4, le=2**20
    )
    implementation: Literal["auto", "native", "reference"] = option(
        "native is C, reference is Python; auto is native where the extension was built",
        default="auto",
    )
    lockstep: Switch = option(
        "Publish a tick only when strategy and risk are done with the one before", default=False
    )

    @field_validator("ring_capacity", "queue_capacity")
    @classmethod
    def _power_of_two(cls, capacity: int) -> int:
        if capacity & (capacity - 1):
            raise ValueError(
                f"must be a power of two, got {capacity}; next is {1 << capacity.bit_length()}"
            )
        return capacity


class RunSettings(Section):
    """The run as a whole."""

    name: str = option(
        "Name of the run, up to 40 of A-Z a-z 0-9 . _ -; one run of a name at a time",
        default="default",
        pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,39}$",
    )
    recover: Switch = option(
        "Go on with the ledger of this name and day: what a run before did counts. false begins "
        "anew, as replay and demo do",
        default=True,
    )
    results_dir: Path = option("Where results and the ledger go", default=Path("results"))
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = option("Log level", default="INFO")
    stop_seconds_max: Number = option(
        "Patience with a process that was asked to stop, then SIGKILL", unit="s", default=15, gt=0
    )
    hang_seconds_max: Number = option(
        "A process without a heartbeat for this long is hung and is killed",
        unit="s",
        default=30,
        gt=0,
    )


class Settings(Section):
    """The whole configuration file."""

    run: RunSettings = RunSettings()
    feed: FeedSettings
    instruments: tuple[Instrument, ...] = Field(max_length=INSTRUMENTS_MAX)
    session: SessionSettings
    capital: CapitalSettings
    risk: RiskSettings
    strategy: StrategySettings
    waiting: WaitingSettings
    pinning: PinningSettings = PinningSettings()
    channels: ChannelSettings = ChannelSettings()
    recorder: RecorderSettings = RecorderSettings()
    orders: OrdersSettings = OrdersSettings()
    paper: PaperSettings = PaperSettings()
    recovery: RecoverySettings = RecoverySettings()

    @field_validator("instruments")
    @classmethod
    def _instruments_are_distinct(cls, rows: tuple[Instrument, ...]) -> tuple[Instrument, ...]:
        if not rows:
            raise ValueError("name at least one instrument")
        for name in ("symbol", "token"):
            values = [getattr(row, name) for row in rows]
            twice = sorted({v for v in values if values.count(v) > 1})
            if twice:
                raise ValueError(f"{name} {', '.join(twice)} appears more than once")
        return rows

    @field_validator("session")
    @classmethod
    def _hours_have_a_clock(cls, session: SessionSettings, info: ValidationInfo) -> SessionSettings:
        if session.gates:
            _need_a_clock("gates = true needs", info)
        return session

    @field_validator("risk")
    @classmethod
    def _rules_have_a_clock(cls, risk: RiskSettings, info: ValidationInfo) -> RiskSettings:
        if risk.needs_clock:
            _need_a_clock("a time limit, a cool-down and limits of orders need", info)
        return risk

    @field_validator("orders")
    @classmethod
    def _real_orders_have_live_ticks(
        cls, orders: OrdersSettings, info: ValidationInfo
    ) -> OrdersSettings:
        feed = info.data["feed"] if "feed" in info.data else None
        channels = info.data["channels"] if "channels" in info.data else None
        if orders.gateway == "paper" or feed is None or channels is None:
            return orders
        if channels.lockstep:
            raise ValueError(
                f"lockstep waits for no broker: {orders.gateway} needs lockstep = false"
            )
        if orders.live and (feed.broker == "recorded" or feed.is_loopback):
            raise ValueError("live = true needs live ticks: no recording and no simulator")
        return orders

    @field_validator("orders")
    @classmethod
    def _real_orders_are_counted_in_shares(
        cls, orders: OrdersSettings, info: ValidationInfo
    ) -> OrdersSettings:
        instruments = info.data["instruments"] if "instruments" in info.data else ()
        in_lots = sorted({i.exchange for i in instruments} & {*COUNTED_IN_LOTS})
        if orders.live and in_lots:
            raise ValueError(
                f"brokers count the orders of {', '.join(in_lots)} in lots: one of its units would "
                "be one lot, so there are no real orders there"
            )
        return orders

    @field_validator("strategy")
    @classmethod
    def _depth_is_sent(cls, strategy: StrategySettings, info: ValidationInfo) -> StrategySettings:
        feed = info.data["feed"] if "feed" in info.data else None
        if strategy.depth and feed and feed.broker != "recorded" and feed.mode != "full":
            raise ValueError(
                'depth = true needs the packets of feed.mode = "full", the only ones with depth, '
                f'not "{feed.mode}"'
            )
        return strategy

    @property
    def run_directory(self) -> Path:
        """The directory of this run's shared memory."""
        if self.channels.directory is not None:
            return self.channels.directory
        return Path(f"/dev/shm/tickpipe-{os.getuid()}") / self.run.name

    @property
    def feed_restarts_max(self) -> int:
        """How often the feed may be started again; a recording would begin anew."""
        live = self.feed.broker != "recorded" and not self.channels.lockstep
        return self.feed.restarts_max if live else 0

    @property
    def recovers(self) -> bool:
        """True when the run goes on with the ledger of its name and day; who plays a recorded
        day plays it anew."""
        recorded = self.feed.broker == "recorded" or self.channels.lockstep
        return self.run.recover and not recorded

    @property
    def risk_restarts_max(self) -> int:
        """How often risk may be started again within the run."""
        return self.recovery.restarts_max if self.recovers else 0


def _need_a_clock(who: str, info: ValidationInfo) -> None:
    feed = info.data["feed"] if "feed" in info.data else None
    if feed and feed.broker == "kite" and feed.mode != "full":
        raise ValueError(
            f"{who} the time of each tick, which Kite sends with "
            f'feed.mode = "full" only, not "{feed.mode}"'
        )


def _minute(moment: time) -> int:
    return moment.hour * 60 + moment.minute
