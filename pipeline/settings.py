"""Every option of the product, once: name, type, unit, default and help.

Read from TOML, checked as a whole, then frozen. Unknown keys are refused with the nearest
valid name and all mistakes are reported together. What concerns money has no default: it is
written in the file or the file is refused. docs/settings.md is generated from this module.

Secrets are not settings: no file that may be shared can contain one. They come from the
environment (TICKPIPE_API_KEY, …) or from a file of mode 0600, see ``load_secrets``.
"""

from __future__ import annotations

import difflib
import os
import stat
import tomllib
from collections.abc import Mapping, Sequence
from datetime import time
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from pipeline.errors import SettingsError, explain
from pipeline.records import INSTRUMENTS_MAX, PRICE_SCALE

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
SECRET_NAMES = ("api_key", "client_code", "jwt", "feed_token")
SECRETS_PREFIX = "TICKPIPE_"


def _exact(value: object) -> object:
    """Read a TOML float as the decimal that was written: 0.05 is not 0.05000000000000000277."""
    return str(value) if isinstance(value, float) else value


Exact = Annotated[Decimal, BeforeValidator(_exact)]


def _strict_bool(value: object) -> object:
    if not isinstance(value, bool):
        raise ValueError("write true or false, without quotes")
    return value


Switch = Annotated[bool, BeforeValidator(_strict_bool)]


class Mode(StrEnum):
    """How a reader waits for the next tick."""

    POLL = "poll"
    CALLBACK = "callback"
    ADAPTIVE = "adaptive"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def option(help: str, *, default: Any = ..., unit: str = "", **limits: Any) -> Any:
    """Declare one setting. Without ``default`` the file must contain it."""
    return Field(default, description=help, json_schema_extra={"unit": unit}, **limits)


class Instrument(Section):
    """One instrument that is traded; repeat the section for more."""

    symbol: str = option("Name in results and logs", min_length=1)
    exchange: Literal["NSE", "NFO", "BSE", "BFO", "MCX", "CDS"] = option("Exchange segment")
    token: str = option("The broker's token for it", pattern=r"^[0-9]{1,24}$")
    product_type: Literal["INTRADAY", "DELIVERY", "CARRYFORWARD"] = option("Product of its orders")
    lot_size: int = option("Shares in a lot", unit="shares", gt=0)
    tick_size: Exact = option("Smallest price step", unit="₹", gt=0)


class SessionSettings(Section):
    """The hours in which the strategy may enter; the clock is the time of the tick."""

    gates: Switch = option(
        "false plays a recording without looking at the hours; true enforces everything below"
    )
    start: time = option("Session start", unit="IST")
    end: time = option("Session end", unit="IST")
    start_buffer_minutes: int = option("No entry before start + this", unit="min", ge=0, le=600)
    end_buffer_minutes: int = option(
        "No entry after end − this, and every position is closed then", unit="min", ge=0, le=600
    )
    no_trade_start_minutes: int = option("No entry before start + this", unit="min", ge=0, le=600)
    no_trade_end_minutes: int = option("No entry after end − this", unit="min", ge=0, le=600)

    @model_validator(mode="after")
    def _start_before_end(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"start {self.start} is not before end {self.end}")
        return self


class CapitalSettings(Section):
    """The money the run starts with."""

    initial_capital: Exact = option("Cash at the start", unit="₹", gt=0)


class RiskSettings(Section):
    """Position rules and charges, in the guide's words."""

    max_positions_per_day: int = option("Entries allowed in a day", ge=1)
    base_sl_points: Exact = option("Stop-loss below the entry price", unit="₹", gt=0)
    tp_points: tuple[Exact, ...] = option("Profit targets above the entry price", unit="₹")
    tp_percents: tuple[Exact, ...] = option(
        "Part of the initial lots sold at each target; the last target sells the rest", unit="of 1"
    )
    use_trail_stop: Switch = option("Arm a trailing stop")
    trail_activation_points: Exact = option("Gain that arms it", unit="₹", ge=0)
    trail_distance_points: Exact = option("Its distance below the high", unit="₹", gt=0)
    commission_percent: Exact = option("Brokerage, part of turnover", unit="%", ge=0)
    commission_per_trade: Exact = option("Brokerage, at least", unit="₹ an order", ge=0)
    stt_percent: Exact = option("Securities transaction tax, sells only", unit="%", ge=0)
    exchange_charges_percent: Exact = option("Exchange charges, part of turnover", unit="%", ge=0)
    gst_percent: Exact = option("GST on brokerage + exchange charges", unit="%", ge=0)
    slippage_points: Exact = option(
        "Paper fills are worse than the last price by this", unit="₹", ge=0
    )
    entry_price_max: Exact = option("Refuse entries above", unit="₹", default=Decimal(10_000), gt=0)
    signal_ttl_ms: int = option(
        "Refuse a signal whose tick is older than this", unit="ms", default=1_000, ge=1
    )
    silent_feed_seconds_max: float = option(
        "With the feed silent or dead for this long, close every position (stale_feed)",
        unit="s",
        default=60.0,
        gt=0,
    )

    @model_validator(mode="after")
    def _targets_match(self) -> Self:
        points, parts = self.tp_points, self.tp_percents
        if len(points) != len(parts):
            raise ValueError(f"tp_points has {len(points)} values, tp_percents has {len(parts)}")
        if list(points) != sorted(set(points)) or any(p <= 0 for p in points):
            raise ValueError(f"tp_points must rise from above 0, got {[str(p) for p in points]}")
        if any(p <= 0 for p in parts) or (parts and sum(parts) > 1):
            raise ValueError(
                f"tp_percents must each be above 0 and at most 1 together, "
                f"got {[str(p) for p in parts]}"
            )
        return self


class StrategySettings(Section):
    """Which strategy runs, and the momentum strategy's parameters in the guide's words."""

    use: str = option(
        "The class: module:Class, or path/to/file.py:Class",
        default="pipeline.strategies.momentum:Momentum",
        pattern=r"^[^:]+:[A-Za-z_][A-Za-z0-9_]*$",
    )
    use_ema_crossover: Switch = option("Enter only with the fast EMA above the slow one")
    fast_ema: int = option("Span of the fast EMA", unit="ticks", ge=1)
    slow_ema: int = option("Span of the slow EMA", unit="ticks", ge=2)
    consecutive_green_bars: int = option("Rising ticks in a row before an entry", ge=1)
    Enable_control_base_sl_green_ticks: Switch = option(
        "Ask for more rising ticks after an exit by the base stop-loss"
    )
    control_base_sl_green_ticks: int = option("How many then", ge=1)
    min_warmup_ticks: int = option("No signal before this tick", unit="ticks", ge=1)
    noise_filter_enabled: Literal[False] = option("Not available; accepted for the guide's sake")
    parameters: dict[str, str | int | float | bool] = option(
        "Parameters of your own strategy, under [strategy.parameters]", default={}
    )
    batch_max: int = option("Ticks read at once", unit="ticks", default=256, ge=1, le=65_536)
    failures_max: int = option(
        "Consecutive failures of on_tick that close the position and stop", default=7, ge=1
    )

    @model_validator(mode="after")
    def _fast_is_faster(self) -> Self:
        if self.fast_ema >= self.slow_ema:
            raise ValueError(f"fast_ema {self.fast_ema} is not below slow_ema {self.slow_ema}")
        return self


class FeedSettings(Section):
    """Where ticks come from."""

    broker: Literal["smartapi", "recorded"] = option("The broker, or a recorded day")
    url: str = option(
        "WebSocket address (smartapi)",
        default="wss://smartapisocket.angelone.in/smart-stream",
        pattern=r"^wss?://",
    )
    credentials: Literal["environment", "file", "simulator"] = option(
        "Where the secrets are; `simulator` is the public login of `tickpipe simulate`",
        default="environment",
    )
    secrets_file: Path | None = option("TOML file of mode 0600 (credentials = file)", default=None)
    mode: Literal["ltp", "quote"] = option("What to subscribe to", default="quote")
    recording: Path | None = option("Tick file to play (recorded)", default=None)
    connect_timeout_seconds: float = option(
        "Give up one attempt after", unit="s", default=5.0, gt=0
    )
    silence_seconds_max: float = option(
        "Reconnect when nothing at all arrived for", unit="s", default=35.0, gt=0
    )
    reconnect_attempts_max: int = option(
        "Attempts in a row before the feed gives up", default=8, ge=0
    )
    reconnect_delay_seconds: float = option(
        "First pause between attempts; doubles up to 16 times this", unit="s", default=0.5, gt=0
    )

    @model_validator(mode="after")
    def _sources_are_named(self) -> Self:
        if self.broker == "recorded" and self.recording is None:
            raise ValueError('broker = "recorded" needs recording = "FILE"')
        if self.credentials == "file" and self.secrets_file is None:
            raise ValueError('credentials = "file" needs secrets_file = "FILE"')
        host = self.url.split("//", 1)[1].split("/", 1)[0].rsplit(":", 1)[0]
        loopback = host in LOOPBACK_HOSTS
        if self.credentials == "simulator" and not loopback:
            raise ValueError(
                f'credentials = "simulator" is for an address on this machine, not {host}'
            )
        if self.url.startswith("ws://") and not loopback:
            raise ValueError(f"an address outside this machine must be wss://, got {self.url}")
        return self


class WaitingSettings(Section):
    """How strategy and risk wait for ticks."""

    mode: Mode = option("poll spins, callback parks until woken, adaptive spins then parks")
    adaptive_spin_us: int = option("Spin this long before parking", unit="µs", default=50, ge=1)
    spin: Literal["auto", "bare", "yield"] = option(
        "bare never leaves the CPU and needs one of its own; yield lets others run; "
        "auto is bare where there are cores enough",
        default="auto",
    )


class PinningSettings(Section):
    """CPUs of each process; unset means a plan from the machine's cores."""

    feed: tuple[int, ...] | None = option("CPUs of the feed", default=None)
    strategy: tuple[int, ...] | None = option("CPUs of the strategy", default=None)
    risk: tuple[int, ...] | None = option("CPUs of risk", default=None)

    @field_validator("feed", "strategy", "risk")
    @classmethod
    def _cpus_are_numbers(cls, cpus: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if cpus is not None and (not cpus or min(cpus) < 0 or len(set(cpus)) != len(cpus)):
            raise ValueError(f"name each CPU once, from 0 up, got {list(cpus)}")
        return cpus


class ChannelSettings(Section):
    """Shared memory."""

    directory: Path | None = option(
        "Run directory; unset means /dev/shm/tickpipe-<uid>/<run name>", default=None
    )
    ring_capacity: int = option("Ticks on the ring, a power of two", default=65_536, ge=64)
    queue_capacity: int = option("Signals in the queue, a power of two", default=1_024, ge=4)
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
        "Name of the run; one run of a name at a time",
        default="default",
        pattern=r"^[A-Za-z0-9._-]{1,40}$",
    )
    results_dir: Path = option("Where results and the ledger go", default=Path("results"))
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = option("Log level", default="INFO")
    stop_seconds_max: float = option(
        "Patience with a process that was asked to stop, then SIGKILL", unit="s", default=5, gt=0
    )
    hang_seconds_max: float = option(
        "A process without a heartbeat for this long is hung and is killed",
        unit="s",
        default=10,
        gt=0,
    )


class Settings(Section):
    """The whole configuration file."""

    run: RunSettings = RunSettings()
    feed: FeedSettings
    instruments: tuple[Instrument, ...] = Field(min_length=1, max_length=INSTRUMENTS_MAX)
    session: SessionSettings
    capital: CapitalSettings
    risk: RiskSettings
    strategy: StrategySettings
    waiting: WaitingSettings
    pinning: PinningSettings = PinningSettings()
    channels: ChannelSettings = ChannelSettings()

    @field_validator("instruments")
    @classmethod
    def _instruments_are_distinct(cls, rows: tuple[Instrument, ...]) -> tuple[Instrument, ...]:
        for name in ("symbol", "token"):
            values = [getattr(row, name) for row in rows]
            twice = sorted({v for v in values if values.count(v) > 1})
            if twice:
                raise ValueError(f"{name} {', '.join(twice)} appears more than once")
        return rows

    @property
    def run_directory(self) -> Path:
        """The directory of this run's shared memory."""
        if self.channels.directory is not None:
            return self.channels.directory
        return Path(f"/dev/shm/tickpipe-{os.getuid()}") / self.run.name

    @property
    def flat_time(self) -> time | None:
        """Time of day (IST) from which every position is closed; None with the gates off."""
        if not self.session.gates:
            return None
        return _minus_minutes(self.session.end, self.session.end_buffer_minutes)


def _minus_minutes(moment: time, minutes: int) -> time:
    total = moment.hour * 60 + moment.minute - minutes
    return time(total // 60, total % 60, moment.second)


def e4(rupees: Decimal) -> int:
    """Return ``rupees`` as an integer count of 1/10 000 ₹; finer parts are an error."""
    scaled = rupees * PRICE_SCALE
    if scaled != scaled.to_integral_value():
        raise SettingsError(
            explain(
                f"{rupees} ₹ is finer than 0.0001 ₹",
                rule="prices are whole 1/10 000 ₹",
                cure="round it",
            )
        )
    return int(scaled)


# Loading -------------------------------------------------------------------------------------


def load_settings(path: Path, overrides: Sequence[str] = ()) -> Settings:
    """Read the TOML file ``path``, apply ``overrides`` ("section.key=value") and check it all.

    Raises SettingsError that lists every mistake with the rule, the value and the cure.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            explain(
                f"no configuration file {path}",
                rule="--config names an existing TOML file",
                cure="start from configs/paper.toml",
            )
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            explain(
                f"{path}: {error}",
                rule="a configuration is valid TOML in UTF-8",
                cure="correct the line named above",
            )
        ) from None
    for override in overrides:
        _apply_override(table, override)
    return parse_settings(table, source=str(path))


def parse_settings(table: Mapping[str, Any], source: str = "settings") -> Settings:
    """Check ``table`` (the shape of the TOML file) and return it frozen."""
    _refuse_secrets(table, source)
    try:
        return Settings.model_validate(table)
    except ValidationError as error:
        mistakes = [_describe(problem) for problem in error.errors(include_url=False)]
        raise SettingsError(
            explain(
                f"{source}: {len(mistakes)} mistake(s)\n" + "\n".join(f"  - {m}" for m in mistakes),
                rule="every key is known, present and valid (docs/settings.md)",
                cure=f"correct the lines above, then `tickpipe check-config --config {source}`",
            )
        ) from None


def _apply_override(table: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not equals or len(keys) < 2:
        raise SettingsError(
            explain(
                f"--set {override!r} is not understood",
                rule="--set section.key=value",
                cure="for example --set session.gates=true",
            )
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise SettingsError(
                explain(
                    f"--set {override!r}: {key} is not a section",
                    rule="--set section.key=value",
                    cure="put repeated sections in the configuration file",
                )
            )
    table[keys[-1]] = value


def _refuse_secrets(table: Mapping[str, Any], source: str) -> None:
    feed = table.get("feed")
    found = sorted(set(SECRET_NAMES) & set(feed)) if isinstance(feed, Mapping) else []
    if found:
        raise SettingsError(
            explain(
                f"{source}: feed.{', feed.'.join(found)} is a secret (value not shown)",
                rule="secrets never stand in a configuration file",
                cure=f"export {SECRETS_PREFIX}{found[0].upper()}=…, or name a 0600 secrets_file",
            )
        )


def _describe(problem: ErrorDetails) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    kind = problem["type"]
    if kind == "extra_forbidden":
        return f"{where}: unknown key{_nearest(problem)}"
    if kind == "missing":
        return f"{where}: missing{_help_of(problem)}"
    message = problem["msg"].removeprefix("Value error, ")
    shown = problem["input"]
    value = "" if isinstance(shown, dict | BaseModel) else f", got {shown!r}"
    return f"{where}: {message}{value}"


def _section_at(loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Return the section class that holds the key at ``loc``."""
    model: Any = Settings
    for part in loc[:-1]:
        if isinstance(part, int):
            continue
        if part == "instruments":
            model = Instrument
            continue
        field = model.model_fields.get(part)
        model = field.annotation if field else None
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return None
    return model  # type: ignore[no-any-return]


def _nearest(problem: ErrorDetails) -> str:
    section = _section_at(problem["loc"])
    names = list(section.model_fields) if section else []
    near = difflib.get_close_matches(str(problem["loc"][-1]), names, n=1, cutoff=0.5)
    if near:
        return f"; the nearest valid name is {near[0]!r}"
    return f"; valid names are {', '.join(names)}" if names else ""


def _help_of(problem: ErrorDetails) -> str:
    section = _section_at(problem["loc"])
    field = section.model_fields.get(str(problem["loc"][-1])) if section else None
    return f" ({field.description})" if field and field.description else ""


# Secrets -------------------------------------------------------------------------------------


class Secrets(Section):
    """What the broker's login gave. Its repr is masked; read one with ``.get_secret_value()``."""

    api_key: SecretStr
    client_code: SecretStr
    jwt: SecretStr
    feed_token: SecretStr


SIMULATOR_SECRETS = Secrets(
    api_key=SecretStr("simulator-key"),
    client_code=SecretStr("SIM0001"),
    jwt=SecretStr("simulator-jwt"),
    feed_token=SecretStr("simulator-feed-token"),
)


def load_secrets(feed: FeedSettings, environment: Mapping[str, str]) -> Secrets:
    """Return the credentials that ``feed`` names. Raises SettingsError without showing a value."""
    if feed.credentials == "simulator":
        return SIMULATOR_SECRETS
    if feed.credentials == "file":
        assert feed.secrets_file is not None, "checked when the settings were"
        found = _read_secrets_file(feed.secrets_file)
        place = str(feed.secrets_file)
    else:
        found = {name: environment.get(SECRETS_PREFIX + name.upper(), "") for name in SECRET_NAMES}
        place = "the environment"
    missing = [name for name in SECRET_NAMES if not found.get(name)]
    if missing:
        raise SettingsError(
            explain(
                f"{place} lacks {', '.join(missing)}",
                rule=f"the broker's login needs {', '.join(SECRET_NAMES)}",
                cure="export " + " ".join(f"{SECRETS_PREFIX}{name.upper()}=…" for name in missing),
            )
        )
    return Secrets(**{name: SecretStr(str(found[name])) for name in SECRET_NAMES})


def _read_secrets_file(path: Path) -> dict[str, Any]:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise SettingsError(
                explain(
                    f"{path} has mode {mode:04o}",
                    rule="only its owner may read a secrets file (0600)",
                    cure=f"chmod 600 {path}",
                )
            )
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            explain(
                f"{path}: {type(error).__name__}",
                rule="a secrets file is readable TOML",
                cure="see configs/live.example.toml",
            )
        ) from None


def settings_page() -> str:
    """Return docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Generated from `pipeline/settings.py` by `scripts/settings-page`; do not edit.",
        "A setting without a default must stand in the file. Override one for a run with",
        "`--set section.key=value`.",
        "",
    ]
    for name, field in Settings.model_fields.items():
        section: Any = Instrument if name == "instruments" else field.annotation
        heading = f"[[{name}]]" if name == "instruments" else f"[{name}]"
        lines += [f"## `{heading}`", "", (section.__doc__ or "").strip(), ""]
        lines += ["| key | type | unit | default | meaning |", "|---|---|---|---|---|"]
        lines += [_settings_row(key, spec) for key, spec in section.model_fields.items()]
        lines.append("")
    return "\n".join(lines)


def _settings_row(key: str, spec: Any) -> str:
    extra = spec.json_schema_extra or {}
    default = "**required**" if spec.is_required() else f"`{_toml(spec.default)}`"
    kind = _type_name(spec.annotation)
    return f"| `{key}` | {kind} | {extra.get('unit', '')} | {default} | {spec.description} |"


def _toml(value: object) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return f'"{value}"' if isinstance(value, str | Path | time) else str(value)


def _type_name(annotation: Any) -> str:
    text = getattr(annotation, "__name__", None) or str(annotation)
    if "Literal" in str(annotation):
        return " \\| ".join(_toml(v) for v in annotation.__args__)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " \\| ".join(f'"{member.value}"' for member in annotation)
    for needle, name in (
        ("tuple[int", "list of integers"),
        ("tuple", "list of numbers"),
        ("dict", "table"),
        ("Path", "path"),
        ("Decimal", "number"),
        ("bool", "true \\| false"),
        ("time", "time"),
        ("float", "number"),
        ("int", "integer"),
        ("str", "text"),
    ):
        if needle in text or needle in str(annotation):
            return name
    return text
