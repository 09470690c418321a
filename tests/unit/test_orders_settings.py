"""What [orders] accepts: an order leaves this machine only where the settings say so."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from pipeline.brokers.confirming import CONFIRMATION, refuse_unconfirmed
from pipeline.errors import SettingsError
from pipeline.settings import LOGINS, OrdersSettings, Settings, load_secrets, parse_settings

ROOT = Path(__file__).resolve().parent.parent.parent
REAL = {"gateway": "kite", "live": True}
HERE = {"url": "http://127.0.0.1:1", "updates_url": "ws://127.0.0.1:1/"}
LIVE_TICKS = {"broker": "kite", "mode": "full"}


def settings_with(broker: dict[str, Any], **sections: dict[str, Any]) -> Settings:
    table = tomllib.loads((ROOT / "configs" / "paper.toml").read_text(encoding="utf-8"))
    table |= {"feed": LIVE_TICKS, "orders": broker}
    for name, section in sections.items():
        table[name] = section
    return parse_settings(table, source="my.toml")


def test_paper_is_the_default() -> None:
    assert (OrdersSettings().gateway, OrdersSettings().live) == ("paper", False)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda p: p.name)
def test_every_configuration_that_ships_is_paper(path: Path) -> None:
    broker = parse_settings(tomllib.loads(path.read_text(encoding="utf-8"))).orders
    assert (broker.gateway, broker.live) == ("paper", False)


@pytest.mark.parametrize("gateway", LOGINS)
def test_live_goes_to_the_brokers_own_addresses(gateway: str) -> None:
    broker = settings_with({"gateway": gateway, "live": True}).orders
    assert broker.url.startswith("https://")
    assert broker.updates_url.startswith("wss://")


@pytest.mark.parametrize(
    ("broker", "mistake"),
    [
        ({"gateway": "kite"}, "url api.kite.trade is a real broker, which takes orders with live"),
        ({"gateway": "paper", "live": True}, 'live = true needs gateway = "kite" or "smartapi"'),
        (REAL | HERE, "live = true is for a real broker, and url is this machine"),
        ({"gateway": "kite", **HERE, "updates_url": "wss://ws.kite.trade"}, "updates_url ws.kite"),
        (REAL | {"url": "http://api.kite.trade"}, "must be https:// or wss://"),
        (REAL | {"url": "https://me:pw@api.kite.trade"}, "is a scheme, a host"),
        (REAL | {"credentials": "simulator"}, 'credentials = "simulator" is for the simulator'),
        (REAL | {"credentials": "file"}, 'credentials = "file" needs secrets_file'),
        (REAL | {"market_protection": 0}, "without it orders are refused"),
        (REAL | {"market_protection": -0.5}, "without it orders are refused"),
        (REAL | {"orders_per_second_max": 11}, "less than or equal to 10"),
        (REAL | {"orders_per_second_max": 2}, "leaves no entry"),
        (REAL | {"live": "yes"}, "write true or false"),
        (REAL | {"algo_id": "a b"}, "algo_id"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_write(broker: dict[str, Any], mistake: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_with(broker)
    assert mistake in str(caught.value)


@pytest.mark.parametrize(
    "sections",
    [
        {"feed": {"broker": "recorded", "recording": "day.csv"}},
        {"feed": LIVE_TICKS | {"url": "ws://127.0.0.1:8765/", "credentials": "simulator"}},
    ],
    ids=["recorded", "simulator"],
)
def test_real_orders_need_live_ticks(sections: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="live = true needs live ticks"):
        settings_with(REAL, **sections)


@pytest.mark.parametrize("exchange", ["MCX", "CDS"])
def test_there_are_no_real_orders_where_brokers_count_lots(exchange: str) -> None:
    table = tomllib.loads((ROOT / "configs" / "paper.toml").read_text(encoding="utf-8"))
    (first, *_) = table["instruments"]
    other = [{**first, "exchange": exchange, "kind": "future"}]
    with pytest.raises(SettingsError, match=f"count the orders of {exchange} in lots"):
        settings_with(REAL, instruments=other)  # type: ignore[arg-type]
    assert settings_with({}, instruments=other).orders.gateway == "paper"  # type: ignore[arg-type]


def test_lockstep_has_paper_orders_only() -> None:
    with pytest.raises(SettingsError, match="kite needs lockstep = false"):
        settings_with({"gateway": "kite", **HERE}, channels={"lockstep": True})


@pytest.mark.parametrize("secret", ["api_key", "access_token"])
def test_a_secret_in_the_section_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(SettingsError, match=f"orders.{secret} is a secret") as caught:
        settings_with({secret: "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_the_login_of_orders_is_read_as_that_of_ticks_is() -> None:
    broker = settings_with(REAL).orders
    secrets = load_secrets(broker, {"TICKPIPE_API_KEY": "k", "TICKPIPE_ACCESS_TOKEN": "t"})
    assert secrets.access_token.get_secret_value() == "t"
    with pytest.raises(SettingsError, match="the environment lacks api_key, access_token"):
        load_secrets(broker, {})


@pytest.mark.parametrize("typed", ["mine", "LIVE"])
def test_typed_words_confirm_real_orders(typed: str) -> None:
    refuse_unconfirmed(settings_with(REAL, run={"name": "mine"}), {CONFIRMATION: typed})


@pytest.mark.parametrize("environment", [{}, {CONFIRMATION: ""}, {CONFIRMATION: "live"}])
def test_other_words_do_not(environment: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="were not confirmed") as caught:
        refuse_unconfirmed(settings_with(REAL, run={"name": "mine"}), environment)
    assert "somebody types mine or LIVE" in str(caught.value)
    assert f"export {CONFIRMATION}=mine" in str(caught.value)


def test_paper_asks_for_no_words() -> None:
    refuse_unconfirmed(settings_with({}), {})
