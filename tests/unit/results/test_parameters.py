"""The settings used, flat, without secrets."""

from __future__ import annotations

import pytest

from pipeline.results.parameters import bare_url, settings_rows
from tests.money import guide, two_instruments


def test_every_setting_has_a_dotted_name_and_its_value() -> None:
    rows = dict(settings_rows(two_instruments()))
    expected = {
        "run.name": "default",
        "feed.secrets_file": "unset",
        "instruments.0.lot_size": "75",
        "instruments.1.symbol": "OTHER-OPTION",
        "session.gates": "false",
        "session.start": "06:15:00",
        "capital.initial_capital": "100000.0",
        "risk.tp_percents": "0.4 0.3 0.2 0.1",
        "waiting.mode": "callback",
    }
    assert {name: rows[name] for name in expected} == expected


def test_no_name_appears_twice() -> None:
    names = [name for name, _ in settings_rows(two_instruments())]
    assert len(names) == len(set(names)) > 60


@pytest.mark.parametrize("name", ["api_key", "Secret", "my_token", "PASSWORD", "totp_seed"])
def test_a_parameter_named_like_a_secret_is_masked(name: str) -> None:
    rows = dict(settings_rows(guide(f"strategy.parameters.{name}=hunter2")))
    assert rows[f"strategy.parameters.{name}"] == "***"
    assert "hunter2" not in rows.values()


def test_any_other_parameter_is_shown() -> None:
    assert dict(settings_rows(guide("strategy.parameters.span=9")))["strategy.parameters.span"] == (
        "9"
    )


def test_the_feed_s_address_is_shown_without_user_and_query() -> None:
    url = "ws://me:hunter2@127.0.0.1:8765/smart-stream?feedToken=hunter2#hunter2"
    assert bare_url(url) == "ws://127.0.0.1:8765/smart-stream"
    settings = guide()
    leaky = settings.model_copy(update={"feed": settings.feed.model_copy(update={"url": url})})
    assert dict(settings_rows(leaky))["feed.url"] == "ws://127.0.0.1:8765/smart-stream"
