"""Others that hand a number on between threads or processes, each as its documentation has it.

Each is a context manager: it takes ``note``, which the receiver's own code calls with each number
that arrives, and yields the function that hands one on. ImportError or Skipped when it is not here.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import queue
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

READY_SECONDS_MAX = 20.0
LAST = -1  # the number that ends a receiver
_FORK = multiprocessing.get_context("fork")
_PR_SET_PDEATHSIG = 1

Note = Callable[[int], None]  # called with each number that arrives
Put = Callable[[int], object]


class Skipped(Exception):
    """A peer that cannot be measured here, and why."""


# Between threads -----------------------------------------------------------------------------


@contextmanager
def thread_queue(note: Note) -> Iterator[Put]:
    waiting: queue.Queue[int] = queue.Queue()
    thread = threading.Thread(target=_take_all, args=(waiting.get, note))
    thread.start()
    yield waiting.put
    waiting.put(LAST)
    thread.join()


def _take_all(get: Callable[[], int], note: Note) -> None:
    while (number := get()) != LAST:
        note(number)


@contextmanager
def asyncio_queue(note: Note) -> Iterator[Put]:
    loop, waiting = asyncio.new_event_loop(), asyncio.Queue[int]()

    async def take_all() -> None:
        while (number := await waiting.get()) != LAST:
            note(number)

    def put(number: int) -> None:
        loop.call_soon_threadsafe(waiting.put_nowait, number)

    thread = threading.Thread(target=loop.run_until_complete, args=(take_all(),))
    thread.start()
    yield put
    put(LAST)
    thread.join()
    loop.close()


@contextmanager
def event_engine(note: Note) -> Iterator[Put]:
    from vnpy.event import Event, EventEngine

    engine = EventEngine()
    engine.register("tick", lambda event: note(event.data))
    engine.start()
    yield lambda number: engine.put(Event("tick", number))
    engine.stop()


# Between processes ---------------------------------------------------------------------------


@contextmanager
def receiving(receive: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """Run ``receive(ready, *arguments)`` in a process; the body runs once ``ready`` was set."""
    ready = _FORK.Event()
    child = _FORK.Process(target=_be_receiver, args=(receive, ready, *arguments))
    child.start()
    try:
        if not ready.wait(READY_SECONDS_MAX):
            raise Skipped("its receiver did not come up")
        yield
    finally:
        child.kill()
        child.join()


def _be_receiver(receive: Callable[..., None], *arguments: Any) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    receive(*arguments)


@contextmanager
def process_queue(note: Note) -> Iterator[Put]:
    waiting: Any = _FORK.Queue()

    def receive(ready: Any) -> None:
        ready.set()
        _take_all(waiting.get, note)

    with receiving(receive):
        yield waiting.put


@contextmanager
def zmq_ipc(note: Note) -> Iterator[Put]:
    import zmq

    with tempfile.TemporaryDirectory() as folder:
        address = f"ipc://{folder}/ticks"

        def receive(ready: Any) -> None:
            socket = zmq.Context().socket(zmq.PULL)
            socket.connect(address)
            ready.set()
            _take_all(lambda: int(socket.recv()), note)

        with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
            socket.bind(address)
            with receiving(receive):
                yield lambda number: socket.send(b"%d" % number)
            socket.setsockopt(zmq.LINGER, 0)


def _redis() -> Any:
    import redis

    server = redis.Redis()  # at its usual address
    try:
        server.ping()
    except redis.exceptions.ConnectionError as error:
        raise Skipped(f"no Redis server: {error}") from None
    return server


@contextmanager
def redis_channel(note: Note) -> Iterator[Put]:
    server = _redis()
    key = f"tickpipe-compare-{time.time_ns()}"

    def receive(ready: Any) -> None:
        channel = _redis().pubsub(ignore_subscribe_messages=True)
        channel.subscribe(key)
        channel.get_message(timeout=1.0)  # the answer to that
        ready.set()
        for message in channel.listen():
            note(int(message["data"]))

    with receiving(receive):
        yield lambda number: server.publish(key, number)


@contextmanager
def redis_stream(note: Note) -> Iterator[Put]:
    server = _redis()
    key = f"tickpipe-compare-{time.time_ns()}"

    def receive(ready: Any) -> None:
        reader, newest = _redis(), "0"
        ready.set()
        while True:
            for _, entries in reader.xread({key: newest}, block=1_000):
                for _, fields in entries:
                    note(int(fields[b"n"]))
                newest = entries[-1][0]

    try:
        with receiving(receive):
            yield lambda number: server.xadd(key, {"n": number})
    finally:
        server.delete(key)


HAND_OVERS = {
    "queue.Queue": ("threads", thread_queue),
    "asyncio.Queue": ("threads", asyncio_queue),
    "vn.py's EventEngine": ("threads", event_engine),
    "multiprocessing.Queue": ("processes", process_queue),
    "pyzmq, ipc": ("processes", zmq_ipc),
    "Redis pub/sub": ("processes", redis_channel),
    "Redis Streams": ("processes", redis_stream),
}
