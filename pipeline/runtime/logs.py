"""Logs: every process logs to its own queue, the supervisor alone writes lines.

    feed      root ─ ChildHandler ══ queue ══▶ receive thread ─┐
    strategy  root ─ ChildHandler ══ queue ══▶ receive thread ─┼─ LineHandler ─▶ stderr
    risk      root ─ ChildHandler ══ queue ══▶ receive thread ─┘   ▲
    supervisor  root ──────────────────────────────────────────────┘

Facts about multiprocessing_logging and multiprocessing.Queue that shape this file
(docs/decisions/0003-one-log-handler-per-child.md):
- A queue's write lock is shared by all who log to it and stays taken when its owner is killed.
  So one queue per child.
- fork copies both pipe ends of every queue into every child. As long as one write end is open
  anywhere the receive thread cannot see the end of the pipe, and a child killed in the middle of
  a record leaves the thread waiting for the rest of it. So each process closes the ends that are
  not its own: end of file then means "everything that was sent has been written".
- The same for the read end: when the supervisor is gone a child gets EPIPE instead of waiting
  for ever on a full pipe, at its exit most of all.
- A queue's put() only fills a buffer in the child; its feeder thread writes. A supervisor that
  stands still never blocks a child that logs.
- fork while a receive thread is inside the stream would copy the stream's lock taken. So
  ``forking`` holds the LineHandler's lock.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TextIO

from multiprocessing_logging import MultiProcessingHandler

from pipeline.records import IST

_TEXT = logging.Formatter("%(message)s")
_FORMAT = "%(asctime)s %(processName)s %(levelname)s %(message)s"


class LineFormatter(logging.Formatter):
    """HH:MM:SS.mmm (IST), process, level, message; a traceback on the lines below."""

    def __init__(self) -> None:
        super().__init__(_FORMAT)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return datetime.fromtimestamp(record.created, IST).isoformat(" ", "milliseconds")[11:23]


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes records as lines; used by every receive thread at once."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.setFormatter(LineFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.acquire()  # the receive threads call emit itself, without the lock of handle()
        try:
            super().emit(record)
        finally:
            self.release()


class ChildHandler(MultiProcessingHandler):  # type: ignore[misc]
    """One child's way to the supervisor's stream: made before the fork, used on both sides."""

    def __init__(self, name: str, lines: LineHandler) -> None:
        super().__init__(name, sub_handler=lines)
        self._supervisor_pid = os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        if os.getppid() == self._supervisor_pid:
            super().emit(record)
        else:
            self.sub_handler.emit(record)  # nobody reads the queue any more

    def _receive(self) -> None:
        """Write what comes until the child's end is closed. The package's own loop wakes five
        times a second to see whether it was closed here."""
        with suppress(EOFError, OSError):
            while True:
                self.sub_handler.emit(self.queue.get())
        self.queue.close()

    def _format_record(self, record: logging.LogRecord) -> logging.LogRecord:
        return _as_text(record)

    def keep_write_end(self) -> None:
        """In the child: a write to the pipe now fails, quietly, once the supervisor is gone."""
        self.queue._ignore_epipe = True
        self.queue._reader.close()

    def keep_read_end(self) -> None:
        """In the supervisor, after the fork: end of file now comes with the child's end."""
        self.queue._writer.close()

    def drain(self, deadline: float) -> bool:
        """Wait until all that the child sent is written; False when ``deadline`` came first."""
        self._receive_thread.join(max(0.0, deadline - time.monotonic()))
        return not self._receive_thread.is_alive()

    def close(self) -> None:
        """Forget the queue. Never waits; logging.shutdown calls it too."""
        self._is_closed = True
        logging.Handler.close(self)


class ChildLogs:
    """The logs of the supervisor's children, one queue each, written to one stream.

    with logs.forking("feed"):            # supervisor
        process.start()
    logs.install("feed", "INFO")          # first thing in the child
    logs.child_ended("feed")              # supervisor, once the child is reaped
    logs.close()                          # supervisor, at the end
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.lines = LineHandler(sys.stderr if stream is None else stream)
        self._handlers: dict[str, ChildHandler] = {}

    @contextmanager
    def forking(self, name: str) -> Iterator[None]:
        """Make the handler of the child ``name``; the body starts it with multiprocessing.

        A child of this name from before must have ended.
        """
        self.child_ended(name)
        handler = self._handlers[name] = ChildHandler(name, self.lines)
        self.lines.acquire()
        try:
            yield
        finally:
            self.lines.release()
            handler.keep_read_end()

    def install(self, name: str, level: str) -> None:
        """In the child: log to its own queue and nowhere else. The child must leave through
        multiprocessing (return or sys.exit), which sends the last records."""
        for other, handler in self._handlers.items():
            if other != name:
                handler.queue._reader.close()
                handler.queue._writer.close()
        own = self._handlers[name]
        self._handlers = {name: own}
        own.keep_write_end()
        log_only_to(own, name, level)

    def child_ended(self, name: str, seconds_max: float = 1.0) -> bool:
        """Write the rest of an ended child's records; False when they did not end in time,
        because the child lives or has left a process of its own behind."""
        handler = self._handlers.pop(name, None)
        if handler is None:
            return True
        drained = handler.drain(time.monotonic() + seconds_max)
        handler.close()
        return drained

    def close(self, seconds_max: float = 2.0) -> bool:
        """Write what every child has sent, within ``seconds_max`` together."""
        deadline = time.monotonic() + seconds_max
        return all([self.child_ended(n, deadline - time.monotonic()) for n in [*self._handlers]])


def log_only_to(handler: logging.Handler, name: str, level: str) -> None:
    """Make ``handler`` the root logger's only one and ``name`` the process's name in its lines."""
    multiprocessing.current_process().name = name
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def _as_text(record: logging.LogRecord) -> logging.LogRecord:
    """Return ``record`` with nothing but text in it: what only the child has imported, such as
    an exception of the user's strategy, cannot be unpickled and would end the receive thread."""
    return logging.makeLogRecord(
        {
            "created": record.created,
            "processName": record.processName,
            "levelno": record.levelno,
            "levelname": record.levelname,
            "msg": _TEXT.format(record),
        }
    )
