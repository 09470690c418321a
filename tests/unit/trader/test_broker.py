"""A BrokerAdapter without a connection: what it refuses, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import SettingsError, UsageError
from pipeline.trader import BrokerAdapter

Config = dict[str, Any]


def test_ticks_come_after_connect_only(config: Config) -> None:
    broker = BrokerAdapter(config)
    with pytest.raises(UsageError, match="call connect\\(\\) first"):
        broker.get_next_tick()
    assert broker.ended
    broker.disconnect()  # without a connection nothing happens
    assert repr(broker) == "<BrokerAdapter not connected, polled, last_price=0.0, lost=0>"


def test_a_tick_goes_to_the_callback_or_to_get_next_tick(config: Config) -> None:
    broker = BrokerAdapter(config)
    broker.on_tick_callback = print
    assert broker.on_tick_callback is print
    with pytest.raises(UsageError, match="set on_tick_callback = None to poll"):
        broker.get_next_tick()


def test_a_called_function_is_no_callback(config: Config) -> None:
    broker = BrokerAdapter(config)
    with pytest.raises(UsageError, match="set the function itself"):
        broker.on_tick_callback = "a called function's answer"  # type: ignore[assignment]


def test_a_misspelt_callback_is_no_silent_new_name(config: Config) -> None:
    with pytest.raises(AttributeError, match="on_tick_callbak"):
        BrokerAdapter(config).on_tick_callbak = print  # type: ignore[attr-defined]


def test_a_wrong_configuration_is_told(config: Config) -> None:
    del config["feed"]
    with pytest.raises(SettingsError, match="config: 1 mistake"):
        BrokerAdapter(config)
