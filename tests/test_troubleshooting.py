"""Every message that docs/troubleshooting.md shows is one that the product says."""

from __future__ import annotations

import logging
import re
import threading
import time
import tomllib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.brokers.kite.session import KiteSession
from pipeline.channels.locks import OwnerLock
from pipeline.channels.rundir import RUN_LOCK
from pipeline.feed.connection import Connection
from pipeline.feed.sharing import Share
from pipeline.settings import FeedSettings, load_secrets
from pipeline.testing import make_instrument
from pipeline.trader import BrokerAdapter, LiveTrader
from pipeline.trader import screen as screen_module
from pipeline.trader.screen import Screen
from tests.system.golden import write_day
from tests.system.listening import Listener, Peer, Script, receive_until

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```text\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE)

Config = dict[str, Any]
Case = Callable[[Config, Path], object]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config: Config = tomllib.loads((ROOT / "configs" / "guide.toml").read_text(encoding="utf-8"))
    day = write_day(tmp_path / "day.csv", ticks=200)
    config["feed"] = {"broker": "recorded", "recording": str(day)}
    config["channels"] = {"lockstep": True, "directory": str(tmp_path / "shared")}
    config["run"] = {"results_dir": str(tmp_path / "results")}
    return config


# One case for each message -------------------------------------------------------------------


def lacks_feed_and_gates(config: Config, folder: Path) -> None:
    del config["feed"], config["session"]["gates"]
    LiveTrader(frozen_config=config)


def has_a_secret(config: Config, folder: Path) -> None:
    LiveTrader(frozen_config=config | {"live": {"api_key": "my-key"}})


def has_no_secrets(config: Config, folder: Path) -> None:
    LiveTrader(frozen_config=config | {"feed": {"broker": "smartapi"}}).start()


def has_real_orders_unconfirmed(config: Config, folder: Path) -> None:
    config["feed"] = {"broker": "kite", "mode": "full"}
    config["channels"] = {"directory": str(folder / "shared")}
    del config["run"]
    LiveTrader(frozen_config=config | {"orders": {"gateway": "kite", "live": True}}).start()


def dictionary_as_path(config: Config, folder: Path) -> None:
    LiveTrader(config)  # type: ignore[arg-type]


def names_itself(config: Config, folder: Path) -> None:
    program = folder / "program.py"
    program.write_text("from pipeline.trader import LiveTrader\nLiveTrader()\n")
    config["strategy"]["use"] = f"{program}:Mine"
    LiveTrader(frozen_config=config)


def names_a_class_of_main(config: Config, folder: Path) -> None:
    config["strategy"]["use"] = "__main__:Mine"
    LiveTrader(frozen_config=config)


def misspells_the_toggle(config: Config, folder: Path) -> None:
    LiveTrader(frozen_config=config).use_direct_callback = True  # type: ignore[attr-defined]


def asks_for_the_positions(config: Config, folder: Path) -> None:
    print(LiveTrader(frozen_config=config).position_manager)


def runs_twice(config: Config, folder: Path) -> None:
    directory = folder / "shared"
    directory.mkdir(mode=0o700)
    other = OwnerLock(directory / RUN_LOCK)
    try:
        LiveTrader(frozen_config=config).start()
    finally:
        other.close()


def has_nobody_at_the_address(config: Config, folder: Path) -> None:
    config["feed"] = {
        "broker": "smartapi",
        "credentials": "simulator",
        "url": "ws://127.0.0.1:9/nobody",
        "connect_attempts_max": 1,
    }
    LiveTrader(frozen_config=config).start()


def receives_from(script: Script, folder: Path, **more: float) -> None:
    """Connect to a server with a login in a file, until something is said."""
    secrets = folder / "secrets.toml"
    secrets.touch(mode=0o600)
    secrets.write_text('api_key = "key"\naccess_token = "token"\n')
    instruments = (make_instrument(token=str(1 << 8 | 2)),)
    with closing(Listener(script)) as listener:
        feed = FeedSettings.model_validate(
            {"broker": "kite", "url": listener.url, "credentials": "file", "secrets_file": secrets}
            | more
        )
        session = KiteSession(feed, instruments, load_secrets(feed, {}))
        with closing(Connection(session, feed, Share(0, 0, instruments))) as connection:
            receive_until(connection, lambda: connection._connecting.outage.alarmed)


def loses_the_connection(config: Config, folder: Path) -> None:
    def hang_up(peer: Peer) -> None:
        peer.upgrade()
        peer.hang_up()

    receives_from(hang_up, folder)


def gets_no_ticks(peer: Peer) -> None:
    peer.upgrade()
    while True:
        peer.send(b"\0")
        time.sleep(0.01)


def stalls(config: Config, folder: Path) -> None:
    receives_from(gets_no_ticks, folder, stalled_seconds_max=0.1)


def has_a_silent_instrument(config: Config, folder: Path) -> None:
    receives_from(gets_no_ticks, folder, stalled_seconds_max=0.5, first_tick_seconds_max=0.1)


def is_one_too_many(config: Config, folder: Path) -> None:
    receives_from(lambda peer: peer.answer("429 Too Many Requests"), folder)


def has_a_token_of_yesterday(config: Config, folder: Path) -> None:
    receives_from(lambda peer: peer.answer("403 Forbidden"), folder)


def has_a_strategy_that_fails(config: Config, folder: Path) -> None:
    strategy = folder / "fails.py"
    strategy.write_text(
        "from pipeline import Strategy\n"
        "class Fails(Strategy):\n"
        "    def on_tick(self, tick):\n"
        "        return 'BUY'\n"
    )
    config["strategy"]["use"] = f"{strategy}:Fails"
    LiveTrader(frozen_config=config).start()


def polls_too_early(config: Config, folder: Path) -> None:
    BrokerAdapter(config).get_next_tick()


def polls_beside_a_callback(config: Config, folder: Path) -> None:
    broker = BrokerAdapter(config)
    broker.on_tick_callback = print
    broker.get_next_tick()


def connects_twice(config: Config, folder: Path) -> None:
    broker = BrokerAdapter(config)
    broker.connect()
    try:
        broker.connect()
    finally:
        broker.disconnect()


def raises(*_: object) -> None:
    raise RuntimeError("made up for a test")


def has_a_callback_that_raises(config: Config, folder: Path) -> None:
    trader = LiveTrader(frozen_config=config)
    trader.broker.on_tick_callback = raises
    trader.start()


def has_a_box_that_raises(config: Config, folder: Path) -> None:
    class Box:
        append = staticmethod(raises)

    with Screen(Box(), None, None) as screen:
        screen.show("a line")


def has_a_callback_that_blocks(config: Config, folder: Path) -> None:
    blocked, called = threading.Event(), threading.Event()

    def block() -> None:
        called.set()
        blocked.wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screen_module, "monotonic", Clock().read)
        with Screen(None, block, None) as screen:
            screen.perform()
            called.wait()
            screen.look()
            blocked.set()


class Clock:
    """A clock that goes an hour further with each look."""

    def __init__(self) -> None:
        self._now = 0.0

    def read(self) -> float:
        self._now += 3_600.0
        return self._now


def has_a_box_that_blocks(config: Config, folder: Path) -> None:
    blocked = threading.Event()

    class Box:
        def append(self, line: str) -> None:
            blocked.wait()

    with Screen(Box(), None, None) as screen:
        for _ in range(screen_module.LINES_MAX + 2):
            screen.show("a line")
        blocked.set()


def asks_for_results_too_early(config: Config, folder: Path) -> None:
    LiveTrader(frozen_config=config).results()


CASES: list[Case] = [  # in the order of the page
    lacks_feed_and_gates,
    has_a_secret,
    has_no_secrets,
    has_real_orders_unconfirmed,
    dictionary_as_path,
    names_itself,
    names_a_class_of_main,
    misspells_the_toggle,
    asks_for_the_positions,
    runs_twice,
    has_nobody_at_the_address,
    loses_the_connection,
    stalls,
    has_a_silent_instrument,
    is_one_too_many,
    has_a_token_of_yesterday,
    has_a_strategy_that_fails,
    polls_too_early,
    polls_beside_a_callback,
    connects_twice,
    has_a_callback_that_raises,
    has_a_box_that_raises,
    has_a_callback_that_blocks,
    has_a_box_that_blocks,
    asks_for_results_too_early,
]


def test_every_message_has_its_case() -> None:
    assert len(BLOCKS) == len(CASES)


@pytest.mark.parametrize(
    ("block", "case"),
    [
        pytest.param(block, case, id=case.__name__)
        for block, case in zip(BLOCKS, CASES, strict=False)
    ],
)
def test_the_message_is_what_is_said(
    block: str,
    case: Case,
    config: Config,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("API_KEY", "CLIENT_CODE", "JWT", "FEED_TOKEN", "CONFIRM_LIVE"):
        monkeypatch.delenv(f"TICKPIPE_{name}", raising=False)
    raised = ""
    with caplog.at_level(logging.ERROR, "trader"), caplog.at_level(logging.INFO, "feed"):
        try:
            case(config, tmp_path)
        except Exception as error:  # noqa: BLE001 - of any kind
            raised = str(error)
    said = "\n".join([raised, *(record.getMessage() for record in caplog.records)])
    shown = re.escape(block).replace(re.escape("…"), ".*")
    assert re.search(shown, said), said
