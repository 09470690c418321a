"""Settings are checked as a whole, all mistakes at once, then frozen; secrets are not settings."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Callable
from datetime import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.errors import SettingsError
from pipeline.settings import (
    LOGINS,
    SECRET_NAMES,
    SIMULATOR_SECRETS,
    FeedSettings,
    Mode,
    Settings,
    e4,
    load_secrets,
    load_settings,
    parse_settings,
)

Table = dict[str, Any]
ENVIRONMENT = {f"TICKPIPE_{name.upper()}": f"my-{name}" for name in SECRET_NAMES}


@pytest.fixture
def table(configs: Path) -> Table:
    """Return configs/guide.toml as a table that a test may spoil."""
    return tomllib.loads((configs / "guide.toml").read_text(encoding="utf-8"))


def refusal(table: Table) -> str:
    with pytest.raises(SettingsError) as caught:
        parse_settings(table, source="my.toml")
    return str(caught.value)


def mistakes(message: str) -> list[str]:
    return [line.removeprefix("  - ") for line in message.splitlines() if line.startswith("  - ")]


# The configurations that ship ----------------------------------------------------------------


CONFIGS = ("guide.toml", "paper.toml", "live.example.toml", "kite.example.toml")
EXAMPLES = {"live.example.toml": "smartapi", "kite.example.toml": "kite"}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_that_ships_loads(configs: Path, name: str) -> None:
    assert isinstance(load_settings(configs / name), Settings)


def test_no_other_configuration_ships(configs: Path) -> None:
    assert {path.name for path in configs.iterdir()} == set(CONFIGS)


def test_guide_toml_is_the_configuration_of_the_golden_day(
    configs: Path, shared_data: Path
) -> None:
    golden = json.loads((shared_data / "golden" / "config_20251001.json").read_text())
    golden["session"].pop("note")
    ours = tomllib.loads((configs / "guide.toml").read_text(encoding="utf-8"))
    assert ours["session"].pop("gates") is False
    for section in ("session", "capital", "risk", "strategy"):
        assert ours[section] == golden[section]
    instrument = ours["instruments"][0]
    assert {key: instrument[key] for key in golden["instrument"]} == golden["instrument"]


def test_paper_toml_needs_no_broker_and_no_secret(configs: Path) -> None:
    settings = load_settings(configs / "paper.toml")
    assert settings.feed.url.startswith("ws://127.0.0.1:")
    assert load_secrets(settings.feed, {}) is SIMULATOR_SECRETS


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_live_example_goes_to_its_broker_over_tls(configs: Path, name: str) -> None:
    feed = load_settings(configs / name).feed
    assert feed.broker == EXAMPLES[name]
    assert feed.url == FeedSettings.model_validate({"broker": EXAMPLES[name]}).url
    assert feed.url.startswith("wss://")
    assert feed.credentials == "environment"


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_live_example_names_every_variable_and_contains_no_secret(
    configs: Path, name: str
) -> None:
    text = (configs / name).read_text(encoding="utf-8")
    needed = LOGINS[EXAMPLES[name]]
    assert set(re.findall(r"export (TICKPIPE_\w+)=…", text)) == {
        f"TICKPIPE_{secret.upper()}" for secret in needed
    }
    assert [secret for secret in needed if f'{secret} = "…"' not in text] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_live_example_is_flat_twenty_minutes_before_the_close(configs: Path, name: str) -> None:
    session = load_settings(configs / name).session
    assert (session.gates, session.calendar) == (True, False)
    assert (session.end, session.end_buffer_minutes) == (time(15, 40), 20)


# Mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "key", "nearest"),
    [
        ("risk", "base_sl_point", "base_sl_points"),
        ("risk", "trail_activation_point", "trail_activation_points"),
        ("strategy", "enable_control_base_sl_green_ticks", "Enable_control_base_sl_green_ticks"),
        ("strategy", "fast_ma", "fast_ema"),
        ("session", "gate", "gates"),
        ("capital", "initial_capitel", "initial_capital"),
        ("waiting", "moed", "mode"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_valid_name(
    table: Table, section: str, key: str, nearest: str
) -> None:
    table[section][key] = 1
    assert mistakes(refusal(table)) == [
        f"{section}.{key}: unknown key; the nearest valid name is {nearest!r}"
    ]


def test_an_unknown_key_that_is_near_to_none_is_refused_with_all_valid_names(table: Table) -> None:
    table["waiting"]["bulk"] = 1
    assert mistakes(refusal(table)) == [
        "waiting.bulk: unknown key; valid names are mode, adaptive_spin_us, spin"
    ]


def test_an_unknown_key_of_an_instrument_names_its_place(table: Table) -> None:
    table["instruments"][0]["lotsize"] = 75
    expected = "instruments.0.lotsize: unknown key; the nearest valid name is 'lot_size'"
    assert mistakes(refusal(table))[0] == expected


def test_an_unknown_section_is_refused_with_the_nearest_valid_name(table: Table) -> None:
    table["riskk"] = {}
    assert mistakes(refusal(table)) == [
        "riskk: unknown key; the nearest valid name is 'risk'",
    ]


@pytest.mark.parametrize(
    ("section", "key"),
    [
        (section, key)
        for section, keys in {
            "feed": ["broker"],
            "session": ["gates", "start", "end", "start_buffer_minutes", "end_buffer_minutes"],
            "capital": ["initial_capital"],
            "risk": ["base_sl_points", "tp_points", "tp_percents", "stt_percent", "gst_percent"],
            "strategy": ["fast_ema", "slow_ema", "min_warmup_ticks", "noise_filter_enabled"],
            "waiting": ["mode"],
        }.items()
        for key in keys
    ],
)
def test_a_missing_key_is_refused_with_its_help(table: Table, section: str, key: str) -> None:
    del table[section][key]
    help_text = Settings.model_fields[section].annotation.model_fields[key].description  # type: ignore[union-attr]
    assert mistakes(refusal(table)) == [f"{section}.{key}: missing ({help_text})"]


@pytest.mark.parametrize("key", ["symbol", "exchange", "token", "lot_size", "tick_size"])
def test_a_missing_key_of_an_instrument_is_refused(table: Table, key: str) -> None:
    del table["instruments"][0][key]
    assert mistakes(refusal(table))[0].startswith(f"instruments.0.{key}: missing (")


@pytest.mark.parametrize("section", ["feed", "instruments", "session", "capital", "risk"])
def test_a_missing_section_is_refused(table: Table, section: str) -> None:
    del table[section]
    assert mistakes(refusal(table)) == [f"{section}: missing"]


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
    [
        ("risk", "base_sl_points", "fifteen", "valid decimal, got 'fifteen'"),
        ("risk", "base_sl_points", True, "got True"),
        ("risk", "base_sl_points", float("nan"), "finite number, got 'nan'"),
        ("risk", "base_sl_points", float("inf"), "finite number, got 'inf'"),
        ("risk", "base_sl_points", 0, "greater than 0, got 0"),
        ("risk", "commission_percent", -0.03, "greater than or equal to 0, got '-0.03'"),
        ("risk", "commission_percent", 300, "less than or equal to 100, got 300"),
        ("risk", "tp_points", 5.0, "write a list, as [1, 2], got 5.0"),
        ("risk", "use_trail_stop", "yes", "write true or false, without quotes, got 'yes'"),
        ("risk", "use_trail_stop", 1, "write true or false, without quotes, got 1"),
        ("risk", "max_positions_per_day", 0, "greater than or equal to 1, got 0"),
        ("risk", "silent_feed_seconds_max", float("nan"), "greater than 0, got nan"),
        ("strategy", "fast_ema", 18.5, "got 18.5"),
        ("strategy", "fast_ema", "quick", "write a whole number, without quotes or decimals"),
        ("strategy", "noise_filter_enabled", True, "Input should be False, got True"),
        ("strategy", "use", "Momentum", "(The class: module:Class, or path/to/file.py:Class)"),
        ("session", "start", "9:15", "write the local time, as \"09:15\", got '9:15'"),
        ("strategy", "use", 5, "write text, in quotes, got 5"),
        ("session", "end_buffer_minutes", -1, "greater than or equal to 0, got -1"),
        ("waiting", "mode", "POLL", "'poll', 'callback' or 'adaptive', got 'POLL'"),
        ("feed", "mode", "depth", "'ltp', 'quote' or 'full', got 'depth'"),
        ("feed", "broker", "icici", "'smartapi', 'kite' or 'recorded', got 'icici'"),
        ("feed", "broker", [], "'smartapi', 'kite' or 'recorded', got []"),
        (
            "feed",
            "url",
            "http://127.0.0.1:1/",
            "ws:// or wss://; left out, the broker's own), got 'http://127.0.0.1:1/'",
        ),
        ("capital", "initial_capital", [], "got []"),
    ],
)
def test_a_wrong_value_is_refused_with_place_rule_and_value(
    table: Table, section: str, key: str, value: object, said: str
) -> None:
    table[section][key] = value
    (mistake,) = mistakes(refusal(table))
    assert mistake.startswith(f"{section}.{key}: ")
    assert said in mistake


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("symbol", ""),
        ("exchange", "NYSE"),
        ("token", 58963),
        ("token", "58 963"),
        ("token", "5" * 25),
        ("product_type", "MIS"),
        ("lot_size", 0),
        ("tick_size", 0),
        ("kind", "bond"),
        ("underlying", 26000),
    ],
)
def test_a_wrong_value_of_an_instrument_is_refused(table: Table, key: str, value: object) -> None:
    table["instruments"][0][key] = value
    mistake = mistakes(refusal(table))[0]
    assert mistake.startswith(f"instruments.0.{key}: ")
    assert mistake.endswith(f", got {value!r}")


def test_all_mistakes_are_reported_at_once(table: Table) -> None:
    table["riks"] = {}
    table["risk"]["base_sl_point"] = 15.0
    del table["capital"]["initial_capital"]
    table["strategy"]["fast_ema"] = "quick"
    table["feed"]["mode"] = "depth"
    message = refusal(table)
    assert message.startswith("my.toml: 5 mistake(s)\n")
    assert {line.split(": ")[0] for line in mistakes(message)} == {
        "riks",
        "risk.base_sl_point",
        "capital.initial_capital",
        "strategy.fast_ema",
        "feed.mode",
    }


def test_a_refusal_ends_with_the_rule_and_the_cure(table: Table) -> None:
    table["risk"]["base_sl_point"] = 15.0
    assert refusal(table).splitlines()[-2:] == [
        "  rule: every key is known, present and valid (docs/settings.md)",
        "  cure: correct the lines above, then `tickpipe check-config --config my.toml`",
    ]


# Rules that join several keys ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "changes", "said"),
    [
        ("session", {"start": "15:30"}, "start 15:30:00 is not before end 15:30:00"),
        ("session", {"calendar": True}, "calendar = true needs gates = true"),
        ("strategy", {"fast_ema": 42}, "fast_ema 42 is not below slow_ema 42"),
        ("risk", {"tp_points": [5.0]}, "tp_points has 1 values, tp_percents has 4"),
        (
            "risk",
            {"tp_points": [5.0, 12.0, 12.0, 30.0]},
            "tp_points must rise from above 0, got ['5.0', '12.0', '12.0', '30.0']",
        ),
        (
            "risk",
            {"tp_points": [0.0, 12.0, 20.0, 30.0]},
            "tp_points must rise from above 0, got ['0.0', '12.0', '20.0', '30.0']",
        ),
        (
            "risk",
            {"tp_percents": [0.4, 0.3, 0.2, 0.2]},
            "tp_percents must each be above 0 and at most 1 together",
        ),
        (
            "risk",
            {"tp_percents": [0.4, 0.3, 0.3, 0.0]},
            "tp_percents must each be above 0 and at most 1 together",
        ),
        ("feed", {"broker": "recorded"}, 'broker = "recorded" needs recording = "FILE"'),
        ("feed", {"credentials": "file"}, 'credentials = "file" needs secrets_file = "FILE"'),
        (
            "feed",
            {"url": "wss://smartapisocket.angelone.in/smart-stream"},
            'credentials = "simulator" is for an address on this machine, not '
            "smartapisocket.angelone.in",
        ),
        (
            "feed",
            {"url": "ws://broker.example/", "credentials": "environment"},
            "an address outside this machine must be wss://, got ws://broker.example/",
        ),
    ],
)
def test_keys_that_contradict_each_other_are_refused(
    table: Table, section: str, changes: Table, said: str
) -> None:
    table[section].update(changes)
    (mistake,) = mistakes(refusal(table))
    assert mistake.startswith(f"{section}: {said}")


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"order_type": "limit"}, 'order_type = "limit" needs collar_points'),
        ({"cool_down_stops": 2}, "cool_down_stops and cool_down_minutes need each other"),
        ({"cool_down_minutes": 2}, "cool_down_stops and cool_down_minutes need each other"),
        (
            {"breakeven_gain_points": 5.0, "breakeven_stop_points": 5.0},
            "breakeven_stop_points 5.0 is not below breakeven_gain_points 5.0",
        ),
        (
            {"orders_per_minute_max": 9, "orders_reserved_for_exits": 9},
            "orders_reserved_for_exits 9 leaves no order of orders_per_minute_max 9",
        ),
    ],
)
def test_rules_that_cannot_hold_together_are_refused(table: Table, rules: Table, told: str) -> None:
    table["risk"] |= rules
    assert mistakes(refusal(table)) == [f"risk: {told}"]


def test_a_freeze_quantity_below_a_lot_is_refused(table: Table) -> None:
    table["instruments"][0]["freeze_quantity"] = 74
    assert mistakes(refusal(table)) == ["instruments.0: freeze_quantity 74 is below lot_size 75"]
    table["instruments"][0]["freeze_quantity"] = 75
    assert parse_settings(table).instruments[0].freeze_quantity == 75


def test_with_the_calendar_a_position_is_closed_before_the_close(table: Table) -> None:
    table["session"] |= {"gates": True, "calendar": True, "end_buffer_minutes": 0}
    (told,) = mistakes(refusal(table))
    assert told.startswith("session: calendar = true needs end_buffer_minutes of 1 or more")


def test_the_rules_that_the_guide_does_not_have_are_off(table: Table) -> None:
    risk = parse_settings(table).risk
    off = [name for name, field in type(risk).model_fields.items() if field.default is None]
    assert len(off) == 14
    assert not any(getattr(risk, name) for name in (*off, "allow_short"))


def test_the_parts_of_the_targets_are_added_exactly(table: Table) -> None:
    parts = [0.1, 0.2, 0.7]  # 1.0000000000000002 as binary floats in another order
    table["risk"].update(tp_points=[1.0, 2.0, 3.0], tp_percents=parts)
    assert sum(parse_settings(table).risk.tp_percents) == 1


def test_a_position_may_have_no_targets(table: Table) -> None:
    table["risk"].update(tp_points=[], tp_percents=[])
    assert parse_settings(table).risk.tp_points == ()


@pytest.mark.parametrize("key", ["ring_capacity", "queue_capacity"])
def test_a_capacity_that_is_no_power_of_two_is_refused_with_the_next_one(
    table: Table, key: str
) -> None:
    table["channels"] = {key: 1000}
    assert mistakes(refusal(table)) == [
        f"channels.{key}: must be a power of two, got 1000; next is 1024, got 1000"
    ]


def test_a_capacity_that_is_a_power_of_two_is_taken(table: Table) -> None:
    table["channels"] = {"ring_capacity": 4096}
    assert parse_settings(table).channels.ring_capacity == 4096


@pytest.mark.parametrize("key", ["symbol", "token"])
def test_two_instruments_with_the_same_name_are_refused(table: Table, key: str) -> None:
    second = {**table["instruments"][0], "symbol": "OTHER", "token": "1"}
    second[key] = table["instruments"][0][key]
    table["instruments"].append(second)
    assert mistakes(refusal(table))[0].startswith(
        f"instruments: {key} {second[key]} appears more than once"
    )


@pytest.mark.parametrize(
    ("exchange", "kind"),
    [("NFO", "share"), ("MCX", "share_with_derivatives"), ("NSE", "option"), ("BSE", "future")],
)
def test_an_instrument_of_a_kind_that_its_exchange_does_not_have_is_refused(
    table: Table, exchange: str, kind: str
) -> None:
    table["instruments"][0].update(exchange=exchange, kind=kind)
    (mistake,) = mistakes(refusal(table))
    assert mistake.startswith(f"instruments.0: {exchange} has no instruments of kind {kind}")


def test_a_run_without_instruments_is_refused(table: Table) -> None:
    table["instruments"] = []
    assert mistakes(refusal(table))[0].startswith("instruments: ")


@pytest.mark.parametrize("cpus", [[], [-1], [1, 1]])
def test_cpus_that_cannot_be_are_refused(table: Table, cpus: list[int]) -> None:
    table["pinning"] = {"strategy": cpus}
    assert mistakes(refusal(table)) == [
        f"pinning.strategy: name each CPU once, from 0 up, got {cpus}, got {cpus}"
    ]


# Values --------------------------------------------------------------------------------------


def test_a_decimal_is_the_one_that_was_written(table: Table) -> None:
    table["risk"]["base_sl_points"] = 0.1
    assert parse_settings(table).risk.base_sl_points == Decimal("0.1")


def test_settings_are_frozen(table: Table) -> None:
    settings = parse_settings(table)
    with pytest.raises(ValidationError, match="frozen"):
        settings.risk.base_sl_points = Decimal(1)
    with pytest.raises(ValidationError, match="frozen"):
        settings.run = settings.run
    with pytest.raises(ValidationError, match="frozen"):
        settings.instruments[0].lot_size = 1


def test_the_guides_words_arrive_unchanged(table: Table) -> None:
    settings = parse_settings(table)
    assert settings.strategy.Enable_control_base_sl_green_ticks is True
    assert settings.strategy.consecutive_green_bars == 3
    assert settings.risk.tp_points == (Decimal(5), Decimal(12), Decimal(20), Decimal(30))
    assert settings.session.start == time(6, 15)
    assert settings.waiting.mode is Mode.CALLBACK


def test_a_strategys_own_parameters_keep_their_types(table: Table) -> None:
    own = {"levels": 3, "factor": 1.5, "strict": True, "label": "x"}
    table["strategy"]["parameters"] = own
    kept = parse_settings(table).strategy.parameters
    assert kept == own
    assert [type(value) for value in kept.values()] == [int, float, bool, str]


@pytest.mark.parametrize("loopback", ["127.0.0.1", "localhost", "[::1]"])
def test_the_simulator_may_listen_on_any_loopback_address(table: Table, loopback: str) -> None:
    table["feed"]["url"] = f"ws://{loopback}:8765/smart-stream"
    assert parse_settings(table).feed.credentials == "simulator"


def test_calendar_and_dated_charges_are_off_unless_they_are_asked_for(table: Table) -> None:
    settings = parse_settings(table)
    assert (settings.session.calendar, settings.risk.charges) == (False, "guide")
    assert (settings.instruments[0].kind, settings.instruments[0].underlying) == ("unstated", None)


def test_the_run_directory_is_private_to_user_and_run(table: Table) -> None:
    table["run"] = {"name": "morning"}
    directory = parse_settings(table).run_directory
    assert directory.name == "morning"
    assert str(directory).startswith("/dev/shm/tickpipe-")


def test_the_run_directory_can_be_named(table: Table, tmp_path: Path) -> None:
    table["channels"] = {"directory": str(tmp_path)}
    assert parse_settings(table).run_directory == tmp_path


@pytest.mark.parametrize("name", ["", "a/b", "morning run", "x" * 41])
def test_a_run_name_that_is_no_file_name_is_refused(table: Table, name: str) -> None:
    table["run"] = {"name": name}
    assert mistakes(refusal(table))[0].startswith("run.name: ")


# e4 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rupees", "count"),
    [("0.05", 500), ("120.35", 1_203_500), ("0.0001", 1), ("-36", -360_000), ("0", 0)],
)
def test_e4_counts_ten_thousandths_of_a_rupee(rupees: str, count: int) -> None:
    assert e4(Decimal(rupees)) == count


@pytest.mark.parametrize("rupees", ["0.00001", "1.00005", "NaN"])
def test_e4_refuses_what_it_cannot_count_exactly(rupees: str) -> None:
    with pytest.raises(SettingsError, match=rf"{rupees} ₹ is finer than 0\.0001 ₹"):
        e4(Decimal(rupees))


# Files and overrides -------------------------------------------------------------------------


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    absent = tmp_path / "absent.toml"
    with pytest.raises(SettingsError, match=f"no configuration file {absent}") as caught:
        load_settings(absent)
    assert "cure: start from configs/paper.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"), [(b"[feed\n", "line 1"), (b"name = '\xff'", "codec can't decode")]
)
def test_a_file_that_is_not_toml_is_refused_with_the_place(
    tmp_path: Path, content: bytes, said: str
) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_bytes(content)
    with pytest.raises(SettingsError, match="rule: a configuration is valid TOML") as caught:
        load_settings(broken)
    assert str(caught.value).startswith(f"{broken}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("session.gates=true", lambda s: s.session.gates is True),
        ("waiting.mode=poll", lambda s: s.waiting.mode is Mode.POLL),
        ('waiting.mode="poll"', lambda s: s.waiting.mode is Mode.POLL),
        ("session.start=09:20", lambda s: s.session.start == time(9, 20)),
        ("risk.base_sl_points=12.5", lambda s: s.risk.base_sl_points == Decimal("12.5")),
        ("run.results_dir=/tmp/x y", lambda s: s.run.results_dir == Path("/tmp/x y")),
        ("strategy.parameters.a=1", lambda s: s.strategy.parameters == {"a": 1}),
        (" run.name = 'evening' ", lambda s: s.run.name == "evening"),
    ],
)
def test_an_override_replaces_one_value(
    configs: Path, override: str, read: Callable[[Settings], bool]
) -> None:
    assert not read(load_settings(configs / "guide.toml"))
    assert read(load_settings(configs / "guide.toml", [override]))


def test_only_the_first_equals_sign_of_an_override_separates(configs: Path) -> None:
    with pytest.raises(SettingsError, match=r"run\.name: .*got 'a=b'"):
        load_settings(configs / "guide.toml", ["run.name=a=b"])


def test_the_last_override_of_a_key_wins(configs: Path) -> None:
    overrides = ["run.name=a", "run.name=b"]
    assert load_settings(configs / "guide.toml", overrides).run.name == "b"


@pytest.mark.parametrize("override", ["gates", "gates=true", "session.gates", "=true", ""])
def test_an_override_of_another_form_is_refused_with_an_example(
    configs: Path, override: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(configs / "guide.toml", [override])
    assert str(caught.value) == (
        f"--set {override!r} is not understood\n"
        "  rule: --set section.key=value\n"
        "  cure: for example --set session.gates=true"
    )


def test_an_override_cannot_reach_into_a_repeated_section(configs: Path) -> None:
    with pytest.raises(SettingsError, match="instruments is not a section"):
        load_settings(configs / "guide.toml", ["instruments.0.lot_size=75"])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("risk.base_sl_point=1", "risk.base_sl_point: unknown key; the nearest valid name is"),
        ("risk.base_sl_points=-1", "risk.base_sl_points: Input should be greater than 0, got -1"),
        ("risk.tp_points=[1,2", "risk.tp_points: "),
        ("feed.=1", "feed.: unknown key"),
    ],
)
def test_an_override_is_checked_like_the_file(configs: Path, override: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(configs / "guide.toml", [override])
    assert mistakes(str(caught.value))[0].startswith(said)


# Brokers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broker", "url"),
    [
        ("smartapi", "wss://smartapisocket.angelone.in/smart-stream"),
        ("kite", "wss://ws.kite.trade"),
    ],
)
def test_without_an_address_the_broker_is_asked_at_its_own(broker: str, url: str) -> None:
    assert FeedSettings.model_validate({"broker": broker}).url == url


def test_a_recorded_day_needs_no_address() -> None:
    fields = {"broker": "recorded", "recording": "day.csv"}
    assert FeedSettings.model_validate(fields).url == ""


@pytest.mark.parametrize("mode", ["ltp", "quote", None])
def test_hours_need_the_mode_in_which_kite_sends_a_time(table: Table, mode: str | None) -> None:
    table["feed"] |= {"broker": "kite"} | ({"mode": mode} if mode else {})
    assert parse_settings(table).session.gates is False
    table["session"]["gates"] = True
    assert mistakes(refusal(table)) == [
        "session: gates = true needs the time of each tick, which Kite sends with "
        f'feed.mode = "full" only, not "{mode or "quote"}"'
    ]
    table["feed"]["mode"] = "full"
    assert parse_settings(table).session.gates is True


def test_depth_needs_the_mode_that_has_it(table: Table) -> None:
    table["strategy"]["depth"] = True
    for broker in ("kite", "smartapi"):
        table["feed"] = {"broker": broker, "mode": "quote"}
        assert 'strategy: depth = true needs the packets of feed.mode = "full"' in refusal(table)
        table["feed"] = {"broker": broker, "mode": "full"}
        assert parse_settings(table).strategy.depth


def test_hours_are_not_judged_by_a_feed_that_is_wrong_itself(table: Table) -> None:
    table["session"]["gates"] = True
    table["feed"] |= {"broker": "kite", "mode": "depth"}
    assert [line.split(":")[0] for line in mistakes(refusal(table))] == ["feed.mode"]


@pytest.mark.parametrize(
    "rule",
    [
        {"time_limit_minutes": 5},
        {"cool_down_stops": 2, "cool_down_minutes": 5},
        *({f"orders_per_{window}_max": 5} for window in ("second", "minute", "day")),
    ],
)
def test_a_rule_of_time_needs_the_mode_in_which_kite_sends_one(table: Table, rule: Table) -> None:
    table["feed"] |= {"broker": "kite", "mode": "ltp"}
    table["risk"] |= rule
    assert mistakes(refusal(table)) == [
        "risk: a time limit, a cool-down and limits of orders need the time of each tick, which "
        'Kite sends with feed.mode = "full" only, not "ltp"'
    ]
    table["feed"]["mode"] = "full"
    assert parse_settings(table).risk.needs_clock


# Secrets -------------------------------------------------------------------------------------


BROKER_AND_SECRET = [(broker, name) for broker, names in LOGINS.items() for name in names]


def feed(**changes: object) -> FeedSettings:
    return FeedSettings.model_validate({"broker": "smartapi", **changes})


def secrets_file(folder: Path, mode: int = 0o600, leave_out: str = "") -> Path:
    path = folder / "secrets.toml"
    lines = [f'{name} = "my-{name}"' for name in SECRET_NAMES if name != leave_out]
    path.write_text("\n".join(lines), encoding="utf-8")
    path.chmod(mode)
    return path


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_secret_in_the_configuration_is_refused_and_not_shown(table: Table, name: str) -> None:
    table["feed"][name] = "hunter2"
    message = refusal(table)
    assert message.startswith(f"my.toml: feed.{name} is a secret (value not shown)")
    assert f"export TICKPIPE_{name.upper()}=…" in message
    assert "hunter2" not in message


def test_a_secret_on_the_command_line_is_refused_and_not_shown(configs: Path) -> None:
    with pytest.raises(SettingsError, match=r"feed\.jwt is a secret") as caught:
        load_settings(configs / "guide.toml", ["feed.jwt=hunter2"])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("section", ["run", "risk", "waiting"])
def test_a_secret_in_another_section_is_not_shown_either(table: Table, section: str) -> None:
    table.setdefault(section, {})["api_key"] = "hunter2"
    message = refusal(table)
    assert f"{section}.api_key: unknown key" in message
    assert "hunter2" not in message


@pytest.mark.parametrize("broker", LOGINS)
def test_secrets_come_from_the_environment_and_only_the_brokers_own(broker: str) -> None:
    secrets = load_secrets(feed(broker=broker), ENVIRONMENT)
    found = {name: getattr(secrets, name).get_secret_value() for name in SECRET_NAMES}
    own = LOGINS[broker]
    assert found == {name: f"my-{name}" if name in own else "" for name in SECRET_NAMES}


@pytest.mark.parametrize(("broker", "name"), BROKER_AND_SECRET)
@pytest.mark.parametrize("absence", ["unset", "empty"])
def test_a_variable_that_is_missing_is_named(broker: str, name: str, absence: str) -> None:
    environment = copy.copy(ENVIRONMENT)
    if absence == "unset":
        del environment[f"TICKPIPE_{name.upper()}"]
    else:
        environment[f"TICKPIPE_{name.upper()}"] = ""
    with pytest.raises(SettingsError, match=f"the environment lacks {name}\n") as caught:
        load_secrets(feed(broker=broker), environment)
    assert f"cure: export TICKPIPE_{name.upper()}=…" in str(caught.value)
    assert "my-" not in str(caught.value)


@pytest.mark.parametrize("broker", LOGINS)
def test_all_missing_variables_are_named_at_once(broker: str) -> None:
    with pytest.raises(SettingsError, match=f"lacks {', '.join(LOGINS[broker])}\n"):
        load_secrets(feed(broker=broker), {})


def test_secrets_come_from_a_file_that_only_its_owner_may_read(tmp_path: Path) -> None:
    path = secrets_file(tmp_path, mode=0o600)
    secrets = load_secrets(feed(credentials="file", secrets_file=path), {})
    assert secrets.jwt.get_secret_value() == "my-jwt"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601, 0o777])
def test_a_secrets_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = secrets_file(tmp_path, mode)
    with pytest.raises(SettingsError) as caught:
        load_secrets(feed(credentials="file", secrets_file=path), {})
    assert str(caught.value) == (
        f"{path} has mode {mode:04o}\n"
        "  rule: only its owner may read a secrets file (0600)\n"
        f"  cure: chmod 600 {path}"
    )


def test_the_environment_does_not_fill_what_the_secrets_file_lacks(tmp_path: Path) -> None:
    path = secrets_file(tmp_path, leave_out="jwt")
    with pytest.raises(SettingsError, match=f"{path} lacks jwt\n") as caught:
        load_secrets(feed(credentials="file", secrets_file=path), ENVIRONMENT)
    assert "my-" not in str(caught.value)


def test_an_absent_secrets_file_is_refused(tmp_path: Path) -> None:
    absent = tmp_path / "absent.toml"
    with pytest.raises(SettingsError, match=f"{absent}: No such file or directory"):
        load_secrets(feed(credentials="file", secrets_file=absent), {})


def test_a_broken_secrets_file_is_refused_without_its_content(tmp_path: Path) -> None:
    path = tmp_path / "secrets.toml"
    path.write_text("jwt = hunter2", encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="TOMLDecodeError") as caught:
        load_secrets(feed(credentials="file", secrets_file=path), {})
    assert "hunter2" not in str(caught.value)


def test_secrets_are_masked_when_shown() -> None:
    secrets = load_secrets(feed(), ENVIRONMENT)
    for shown in (repr(secrets), str(secrets), f"{secrets.jwt}", secrets.model_dump_json()):
        assert "my-" not in shown
        assert "***" in shown


# What cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["75", True, 75.0])
def test_a_whole_number_is_not_guessed_from_something_else(table: Table, value: object) -> None:
    table["instruments"][0]["lot_size"] = value
    assert mistakes(refusal(table)) == [
        f"instruments.0.lot_size: write a whole number, without quotes or decimals, got {value!r}"
    ]


@pytest.mark.parametrize("value", ["60", True])
def test_a_number_is_not_guessed_from_something_else(table: Table, value: object) -> None:
    table["risk"]["silent_feed_seconds_max"] = value
    assert mistakes(refusal(table)) == [
        f"risk.silent_feed_seconds_max: write a number, without quotes, got {value!r}"
    ]


def test_a_limit_in_seconds_is_finite(table: Table) -> None:
    table["risk"]["silent_feed_seconds_max"] = float("inf")
    assert "finite number, got inf" in refusal(table)


@pytest.mark.parametrize("price", [0.00001, 1e15])
def test_a_price_that_cannot_be_counted_is_refused(table: Table, price: float) -> None:
    table["risk"]["base_sl_points"] = price
    assert "prices are whole 1/10 000 ₹, at most 100000000000000 ₹, got" in refusal(table)


@pytest.mark.parametrize("start", ["09:15Z", "09:15+05:30", 555, "quarter past nine"])
def test_a_time_is_a_local_time_of_day(table: Table, start: object) -> None:
    table["session"]["start"] = start
    (mistake,) = mistakes(refusal(table))
    assert mistake.startswith("session.start: ")


@pytest.mark.parametrize("key", ["end_buffer_minutes", "no_trade_end_minutes"])
def test_buffers_that_leave_no_time_to_enter_are_refused(table: Table, key: str) -> None:
    table["session"].update({"start": "09:15", "end": "09:30", key: 600})
    assert mistakes(refusal(table)) == [
        "session: the buffers leave no minute of 09:15:00 to 09:30:00 to enter"
    ]


@pytest.mark.parametrize("name", [".", "..", ".hidden"])
def test_a_run_name_cannot_leave_its_directory(table: Table, name: str) -> None:
    table["run"] = {"name": name}
    assert mistakes(refusal(table))[0].startswith("run.name: ")


@pytest.mark.parametrize(
    "url",
    [
        "ws://127.0.0.1:80@broker.example/",
        "ws://localhost@broker.example/",
        "ws://127.0.0.1:0/",
        "ws://127.0.0.1:70000/",
        "ws:///smart-stream",
    ],
)
def test_an_address_that_only_looks_like_this_machine_is_refused(table: Table, url: str) -> None:
    table["feed"]["url"] = url
    assert mistakes(refusal(table))[0].startswith("feed: ")


def test_the_loopback_address_of_ipv6_needs_no_port(table: Table) -> None:
    table["feed"]["url"] = "ws://[::1]/smart-stream"
    assert parse_settings(table).feed.credentials == "simulator"


def test_one_wrong_instrument_is_one_mistake(table: Table) -> None:
    table["instruments"][0]["token"] = "NIFTY"
    assert len(mistakes(refusal(table))) == 1


def test_one_wrong_parameter_is_one_mistake(table: Table) -> None:
    table["strategy"]["parameters"] = {"levels": [1, 2]}
    assert mistakes(refusal(table)) == [
        "strategy.parameters.levels: a parameter is text, a number, true or false, got [1, 2]"
    ]


def test_a_section_of_the_wrong_shape_is_not_shown(table: Table) -> None:
    table["feed"] = [{"api_key": "hunter2"}]
    assert "hunter2" not in refusal(table)


@pytest.mark.parametrize("key", ["ring_capacity", "queue_capacity"])
def test_a_capacity_that_no_machine_has_is_refused(table: Table, key: str) -> None:
    table["channels"] = {key: 1 << 60}
    assert mistakes(refusal(table))[0].startswith(f"channels.{key}: Input should be less than")


def test_e4_refuses_infinity() -> None:
    with pytest.raises(SettingsError, match="Infinity ₹ is finer"):
        e4(Decimal("Infinity"))


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"{tmp_path}: Is a directory"):
        load_settings(tmp_path)


def test_a_secrets_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = secrets_file(tmp_path)
    path.write_bytes(b"jwt = '\xff'")
    with pytest.raises(SettingsError, match=f"{path}: UnicodeDecodeError"):
        load_secrets(feed(credentials="file", secrets_file=path), {})


def test_what_a_secrets_file_lacks_is_added_to_it_and_not_exported(tmp_path: Path) -> None:
    path = secrets_file(tmp_path, leave_out="jwt")
    with pytest.raises(SettingsError, match=f"cure: add them to {path}"):
        load_secrets(feed(credentials="file", secrets_file=path), {})
