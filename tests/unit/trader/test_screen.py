"""The user's result_box and performance_callback cannot do harm, and what they do is told once."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator

import pytest

from pipeline.errors import UsageError
from pipeline.trader import screen as module
from pipeline.trader.screen import PERFORMANCE, RESULT_BOX, Screen


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(module, "GOODBYE_SECONDS", 0.2)


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Return what a call may block on; it is released after the test."""
    event = threading.Event()
    yield event
    event.set()


class Text:
    """What a tkinter Text has, disabled as the guide's program keeps it."""

    def __init__(self) -> None:
        self.text, self.state, self.seen = "", "disabled", ""

    def config(self, state: str) -> None:
        self.state = state

    def cget(self, option: str) -> str:
        assert option == "state"
        return self.state

    def insert(self, index: str, text: str) -> None:
        assert index == "end"
        if self.state == "normal":  # a disabled Text ignores it
            self.text += text

    def see(self, index: str) -> None:
        self.seen = index


class Inserted:
    """A box of the user's own with nothing but insert."""

    def __init__(self) -> None:
        self.text = ""

    def insert(self, index: str, text: str) -> None:
        self.text += text


def shown_in(box: object, *lines: str) -> None:
    with Screen(box, None, None) as screen:
        for line in lines:
            screen.show(line)


def told(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.getMessage().startswith(name)]


def test_a_list_and_a_queue_get_lines() -> None:
    lines: list[str] = []
    shown_in(lines, "one", "two")
    waiting: queue.Queue[str] = queue.Queue()
    shown_in(waiting, "one", "two")
    assert lines == [waiting.get(), waiting.get()] == ["one", "two"]


def test_a_disabled_text_is_written_and_left_disabled() -> None:
    text = Text()
    shown_in(text, "one", "two")
    assert (text.text, text.state, text.seen) == ("one\ntwo\n", "disabled", "end")


def test_whatever_can_insert_is_a_box() -> None:
    box = Inserted()
    shown_in(box, "one")
    assert box.text == "one\n"


def test_a_callback_gets_the_trader_if_it_takes_an_argument() -> None:
    seen: list[object] = []
    for callback in (seen.append, lambda: seen.append("none"), lambda one=1: seen.append(one)):
        with Screen(None, callback, "the trader") as screen:
            screen.perform()
    assert seen == ["the trader", "none", "the trader"]


@pytest.mark.parametrize("box", [7, "text", object()])
def test_what_is_no_box_is_refused(box: object) -> None:
    with pytest.raises(UsageError, match=r"result_box is .*\n  rule: .*\n  cure: pass a list"):
        Screen(box, None, None)


@pytest.mark.parametrize("callback", [7, lambda a, b: None])
def test_what_is_no_callback_is_refused(callback: object) -> None:
    with pytest.raises(UsageError, match="it is a function of no argument, or of one"):
        Screen(None, callback, None)


def test_one_that_raises_is_told_once_and_called_again(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []

    def insert(line: str) -> None:
        calls.append(line)
        raise RuntimeError("made up for a test")

    class Broken:
        append = staticmethod(insert)

    with caplog.at_level(logging.ERROR, "trader"):
        shown_in(Broken(), "one", "two", "three")
    assert calls == ["one", "two", "three"]
    assert told(caplog, RESULT_BOX) == ["result_box raised; the run goes on (told once)"]
    assert "made up for a test" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_not_even_what_ends_a_program_ends_the_thread(error: type[BaseException]) -> None:
    lines: list[str] = []

    def perform() -> None:
        raise error

    with Screen(lines, perform, None) as screen:
        screen.perform()
        screen.show("after")
    assert lines == ["after"]


def test_one_that_blocks_is_told_once_and_waited_for_a_moment_only(
    caplog: pytest.LogCaptureFixture, released: threading.Event
) -> None:
    called = threading.Event()

    def block() -> None:
        called.set()
        released.wait()

    with caplog.at_level(logging.ERROR, "trader"), Screen(None, block, None) as screen:
        screen.perform()
        called.wait()
        for _ in range(5):
            screen.perform()  # not called again while it has not returned
            screen.look()
    blocked = "performance_callback has not returned for"
    assert [line.startswith(blocked) for line in told(caplog, PERFORMANCE)] == [True]


def test_lines_for_a_box_that_blocks_are_dropped_and_that_is_told_once(
    caplog: pytest.LogCaptureFixture, released: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINES_MAX", 3)
    called = threading.Event()

    class Blocks:
        def append(self, line: str) -> None:
            called.set()
            released.wait()

    with caplog.at_level(logging.ERROR, "trader"), Screen(Blocks(), None, None) as screen:
        screen.show("blocks")
        called.wait()
        for _ in range(10):
            screen.show("dropped")
    behind = [line for line in told(caplog, RESULT_BOX) if "behind" in line]
    assert behind == ["result_box is 3 lines behind: lines are dropped (told once)"]


def test_without_box_and_callback_there_is_no_thread() -> None:
    before = threading.active_count()
    with Screen(None, None, None) as screen:
        screen.show("nobody")
        screen.perform()
        assert threading.active_count() == before
