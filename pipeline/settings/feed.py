"""The options of [feed]: where ticks come from, and what is done when they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import model_validator

from pipeline.settings.kinds import Number, Section, Whole, option

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")

STALLED_SECONDS_MAX = 30.0  # half of risk.silent_feed_seconds_max: there is time to reconnect

_ADDRESSES = {
    "smartapi": "wss://smartapisocket.angelone.in/smart-stream",
    "kite": "wss://ws.kite.trade",
}


class FeedSettings(Section):
    """Where ticks come from."""

    broker: Literal["smartapi", "kite", "recorded"] = option("The broker, or a recorded day")
    url: str = option(
        "WebSocket address, ws:// or wss://; left out, the broker's own",
        default="",
        pattern=r"^wss?://",
    )
    credentials: Literal["environment", "file", "simulator"] = option(
        "Where the secrets are; `simulator` is the public login of `tickpipe simulate`",
        default="environment",
    )
    secrets_file: Path | None = option("TOML file of mode 0600 (credentials = file)", default=None)
    mode: Literal["ltp", "quote", "full"] = option(
        "What to subscribe to: the last price; with volume; with best bid and ask. "
        "Kite sends the time in full only",
        default="quote",
    )
    instruments_file: Path | None = option(
        "The broker's instrument dump, plain or .gz: Kite's CSV or SmartAPI's JSON. With it "
        "exchange and the broker's symbol name an instrument; what else is written must agree",
        default=None,
    )
    recording: Path | None = option("Tick file to play (recorded)", default=None)
    ticks_max: Whole | None = option(
        "End after this many ticks; unset goes on", unit="ticks", default=None, ge=1
    )
    connect_timeout_seconds: Number = option(
        "Give up one attempt after", unit="s", default=5.0, gt=0
    )
    silence_seconds_max: Number = option(
        "Reconnect when nothing at all arrived for", unit="s", default=35.0, gt=0
    )
    receive: Literal["block", "poll"] = option(
        "block sleeps until something arrives; poll looks again and again, for the lowest latency "
        "on a CPU of the feed's own (without one it yields between two looks: waiting.spin)",
        default="block",
    )
    stalled_seconds_max: Number | None = option(
        "Reconnect when bytes came but no tick of any instrument for, in the hours of [session]; "
        "doubles while that does not help. Unset: 30 s at a broker, never at a simulator",
        unit="s",
        default=None,
        gt=0,
    )
    first_tick_seconds_max: Number = option(
        "Name the instruments of which no tick came after subscribing for, in the hours of "
        "[session]",
        unit="s",
        default=30.0,
        gt=0,
    )
    instrument_stalled_seconds_max: Number | None = option(
        "Name an instrument that does not tick for, while others do, and take that for a gap in "
        "its ticks; unset, each may be quiet for as long as it likes",
        unit="s",
        default=None,
        gt=0,
    )
    connect_attempts_max: Whole = option(
        "Attempts at an address that never answered; one that did is never given up",
        default=4,
        ge=1,
    )
    reconnect_delay_seconds: Number = option(
        "First pause between attempts; doubles up to 16 times this. 20 times as long where the "
        "login is refused, 60 times at HTTP 429; up to 600 times this outside the hours of "
        "[session] (gates = true)",
        unit="s",
        default=0.5,
        gt=0,
    )
    healthy_seconds: Number = option(
        "A connection that lives this long ends the outage, and when it is lost the first attempt "
        "is made at once",
        unit="s",
        default=5.0,
        gt=0,
    )
    restarts_max: Whole = option(
        "Times in a run that a feed which was killed or hung is started again; "
        "never with a recording or in lockstep",
        default=3,
        ge=0,
    )

    @property
    def login(self) -> str:
        """Whose login the secrets are."""
        return self.broker

    @property
    def is_loopback(self) -> bool:
        """True when the ticks come from this machine."""
        return urlsplit(self.url).hostname in LOOPBACK_HOSTS

    @property
    def stalled_seconds_in_force(self) -> float | None:
        """``stalled_seconds_max``, or what it is where it is unset; None = never."""
        if self.stalled_seconds_max is None and self.credentials != "simulator":
            return STALLED_SECONDS_MAX
        return self.stalled_seconds_max

    @model_validator(mode="before")
    @classmethod
    def _brokers_have_addresses(cls, table: Any) -> Any:
        if not isinstance(table, dict) or "url" in table or "broker" not in table:
            return table
        broker = table["broker"]
        known = isinstance(broker, str) and broker in _ADDRESSES
        return {**table, "url": _ADDRESSES[broker]} if known else table

    @model_validator(mode="after")
    def _sources_are_named(self) -> Self:
        if self.broker == "recorded" and self.recording is None:
            raise ValueError('broker = "recorded" needs recording = "FILE"')
        if self.credentials == "file" and self.secrets_file is None:
            raise ValueError('credentials = "file" needs secrets_file = "FILE"')
        if self.broker == "recorded" and not self.url:
            return self
        address = urlsplit(self.url)
        host, port = address.hostname, address.port  # port: ValueError above 65535
        if not host or port == 0 or address.username is not None:
            raise ValueError("url is ws:// or wss://, a host, maybe a port, and a path")
        loopback = host in LOOPBACK_HOSTS
        if self.credentials == "simulator" and not loopback:
            raise ValueError(
                f'credentials = "simulator" is for an address on this machine, not {host}'
            )
        if self.url.startswith("ws://") and not loopback:
            raise ValueError(f"an address outside this machine must be wss://, got {self.url}")
        return self
