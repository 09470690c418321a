"""The options of [orders]: where orders go, and how carefully.

Paper is the default. An order leaves this machine only where ``live = true`` says so.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import model_validator

from pipeline.settings.feed import LOOPBACK_HOSTS
from pipeline.settings.kinds import Exact, Number, Section, Switch, Whole, option

_ADDRESSES = {
    "kite": ("https://api.kite.trade", "wss://ws.kite.trade"),
    "smartapi": ("https://apiconnect.angelone.in", "wss://tns.angelone.in/smart-order-update"),
}
_NAMES = ("url", "updates_url")


class OrdersSettings(Section):
    """Where orders go. Paper orders leave no machine; see `[paper]` for what they go through."""

    gateway: Literal["paper", "kite", "smartapi"] = option("Who takes the orders", default="paper")
    live: Switch = option(
        "Real orders: needed for an address outside this machine, and confirmed by typing the "
        "run's name or LIVE when `tickpipe run` starts",
        default=False,
    )
    url: str = option(
        "Address of the broker's order API, https:// or http://; left out, the broker's own",
        default="",
        pattern=r"^https?://",
    )
    updates_url: str = option(
        "WebSocket address of order updates, ws:// or wss://; left out, the broker's own",
        default="",
        pattern=r"^wss?://",
    )
    credentials: Literal["environment", "file", "simulator"] = option(
        "Where the secrets are; `simulator` is the public login of `tickpipe simulate`",
        default="environment",
    )
    secrets_file: Path | None = option("TOML file of mode 0600 (credentials = file)", default=None)
    connect_timeout_seconds: Number = option(
        "Give up connecting after; nothing was sent then, and the order is refused",
        unit="s",
        default=3.0,
        gt=0,
    )
    answer_timeout_seconds: Number = option(
        "Give up waiting for an answer after; the order is UNKNOWN then, and the broker is asked",
        unit="s",
        default=7.0,
        gt=0,
    )
    poll_seconds: Number = option(
        "While an order is open, ask for the order book this often, beside the updates",
        unit="s",
        default=2.0,
        gt=0,
    )
    updates_silence_seconds_max: Number = option(
        "Reconnect the updates' WebSocket when nothing at all arrived for",
        unit="s",
        default=35.0,
        gt=0,
    )
    orders_per_second_max: Whole = option(
        "Requests to place or cancel in any second; more of them wait. The exchanges' rule is 10 "
        "without registration",
        default=10,
        ge=2,
        le=10,
    )
    orders_per_minute_max: Whole = option("The same in any minute", default=400, ge=2, le=400)
    reserved_for_exits: Whole = option(
        "Requests of these that no entry takes: cancels and exits always find room",
        default=2,
        ge=1,
    )
    market_protection: Exact = option(
        "How far from the last price a market order may fill; −1 is the broker's own choice (Kite)",
        unit="%",
        default=Decimal(-1),
        ge=-1,
        le=100,
    )
    algo_id: str = option(
        "Id of the registered algo, where the exchange gave one (Kite)",
        default="",
        pattern=r"^[A-Za-z0-9_-]{0,64}$",
    )
    local_ip: str = option("This machine's address, told to SmartAPI", default="127.0.0.1")
    public_ip: str = option(
        "The static address that is registered with SmartAPI", default="127.0.0.1"
    )
    mac_address: str = option(
        "This machine's MAC address, told to SmartAPI", default="00:00:00:00:00:00"
    )

    @property
    def login(self) -> str:
        """Whose login the secrets are."""
        return self.gateway

    @model_validator(mode="before")
    @classmethod
    def _brokers_have_addresses(cls, table: Any) -> Any:
        if not isinstance(table, dict) or "gateway" not in table:
            return table
        gateway = table["gateway"]
        if not isinstance(gateway, str) or gateway not in _ADDRESSES:
            return table
        return dict(zip(_NAMES, _ADDRESSES[gateway], strict=True)) | table

    @model_validator(mode="after")
    def _live_is_said(self) -> Self:
        if self.gateway == "paper":
            if self.live:
                raise ValueError('live = true needs gateway = "kite" or "smartapi", not "paper"')
            return self
        for name in _NAMES:
            self._check_address(name, getattr(self, name))
        if self.credentials == "file" and self.secrets_file is None:
            raise ValueError('credentials = "file" needs secrets_file = "FILE"')
        if self.credentials == "simulator" and self.live:
            raise ValueError('credentials = "simulator" is for the simulator, not for live = true')
        return self

    def _check_address(self, name: str, url: str) -> None:
        address = urlsplit(url)
        host, port = address.hostname, address.port  # port: ValueError above 65535
        if not host or port == 0 or address.username is not None:
            raise ValueError(f"{name} is a scheme, a host, maybe a port, and a path")
        loopback = host in LOOPBACK_HOSTS
        if not loopback and not self.live:
            raise ValueError(
                f"{name} {host} is a real broker, which takes orders with live = true only"
            )
        if loopback and self.live:
            raise ValueError(f"live = true is for a real broker, and {name} is this machine")
        if not loopback and not url.startswith(("https://", "wss://")):
            raise ValueError(f"{name} outside this machine must be https:// or wss://, got {url}")

    @model_validator(mode="after")
    def _entries_have_room(self) -> Self:
        if self.reserved_for_exits >= self.orders_per_second_max:
            raise ValueError(
                f"reserved_for_exits {self.reserved_for_exits} leaves no entry of "
                f"orders_per_second_max {self.orders_per_second_max}"
            )
        if not self.market_protection == -1 and self.market_protection <= 0:
            raise ValueError("market_protection is −1 or above 0: without it orders are refused")
        return self
