"""The user's result_box and performance_callback, on a thread of their own.

Either may raise, block or be gone: the first time is told, and the run hears nothing of it.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import queue
import threading
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Any, Self

from pipeline.errors import UsageError, explain

log = logging.getLogger("trader")

LINES_MAX = 1_000
PATIENCE_SECONDS = 5.0  # then a call is said to block
GOODBYE_SECONDS = 2.0  # what the last calls may take at the end of a run

RESULT_BOX, PERFORMANCE = "result_box", "performance_callback"


class Screen:
    """Use it as a context manager; call ``look`` at every heartbeat."""

    def __init__(self, result_box: object, performance_callback: object, subject: object) -> None:
        self._insert = _writer(result_box)
        self._perform = _caller(performance_callback, subject)
        self._jobs: queue.Queue[tuple[str, Callable[[], object]] | None] = queue.Queue(LINES_MAX)
        self._performing = threading.Event()  # one call is waiting or going on
        self._busy: tuple[str, float] | None = None  # what is called now, and since when
        self._told: set[tuple[str, str]] = set()
        self._closing = False  # no more jobs will come
        self._over = False  # those that are left are not wanted any more
        self._thread = threading.Thread(target=self._work, name="screen", daemon=True)

    def __enter__(self) -> Self:
        if self._insert or self._perform:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing = True
        with contextlib.suppress(queue.Full):
            self._jobs.put_nowait(None)  # it may wait for one
        if self._thread.is_alive():
            self._thread.join(GOODBYE_SECONDS)
        self._over = True
        if self._thread.is_alive():
            self._tell_blocked(GOODBYE_SECONDS)

    def show(self, line: str) -> None:
        """Put ``line`` into the result_box; a full queue drops it and says so once."""
        if self._insert is None:
            return
        insert = self._insert
        try:
            self._jobs.put_nowait((RESULT_BOX, lambda: insert(line)))
        except queue.Full:
            self._tell_once(RESULT_BOX, "is %d lines behind: lines are dropped", LINES_MAX)

    def perform(self) -> None:
        """Have performance_callback called, unless the call before is not over yet."""
        if self._perform is None or self._performing.is_set():
            return
        self._performing.set()
        with contextlib.suppress(queue.Full):
            self._jobs.put_nowait((PERFORMANCE, self._perform))
            return
        self._performing.clear()

    def look(self) -> None:
        """Say once when a call does not return."""
        self._tell_blocked(PATIENCE_SECONDS)

    def _tell_blocked(self, patience: float) -> None:
        busy = self._busy
        if busy is not None and monotonic() - busy[1] >= patience:
            self._tell_once(busy[0], "has not returned for %g s; the run goes on", patience)

    def _work(self) -> None:
        while not (self._over or (self._closing and self._jobs.empty())):
            job = self._jobs.get()
            if job is None:
                return
            name, call = job
            self._busy = (name, monotonic())
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - user's code: told
                self._tell_once(name, "raised; the run goes on", exc_info=error)
            self._busy = None
            if name == PERFORMANCE:
                self._performing.clear()

    def _tell_once(self, name: str, what: str, *values: object, exc_info: Any = None) -> None:
        if (name, what) not in self._told:
            self._told.add((name, what))
            log.error(f"{name} {what} (told once)", *values, exc_info=exc_info)


def _writer(box: Any) -> Callable[[str], object] | None:
    """Return what puts a line into ``box``: a list, a queue, or a Tk Text."""
    if box is None:
        return None
    for name in ("append", "put"):
        if hasattr(box, name):
            method: Callable[[str], object] = getattr(box, name)
            return method
    if hasattr(box, "insert"):
        return lambda line: _insert(box, line)
    raise UsageError(
        explain(
            f"result_box is {box!r}",
            rule="a result_box has append(text), put(text) or insert(index, text)",
            cure="pass a list, a queue.Queue or a tkinter Text",
        )
    )


def _insert(box: Any, line: str) -> None:
    """Insert into a Tk Text, which the guide's program keeps disabled between two lines."""
    if not hasattr(box, "config"):
        box.insert("end", f"{line}\n")
        return
    before = box.cget("state")
    box.config(state="normal")
    box.insert("end", f"{line}\n")
    box.see("end")
    box.config(state=before)


def _caller(callback: Any, subject: object) -> Callable[[], object] | None:
    """Return a call of ``callback``, with ``subject`` if it takes an argument."""
    if callback is None:
        return None
    if callable(callback):
        for arguments in ((subject,), ()):
            if _takes(callback, *arguments):
                return lambda: callback(*arguments)
    raise UsageError(
        explain(
            f"performance_callback is {callback!r}",
            rule="it is a function of no argument, or of one: the trader",
            cure="for example performance_callback=lambda trader: print(trader)",
        )
    )


def _takes(callback: Callable[..., object], *arguments: object) -> bool:
    try:
        inspect.signature(callback).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return not arguments
    return True
