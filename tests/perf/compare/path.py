"""What one tick costs step by step, from the frame in hand to the strategy's answer.

    python -m tests.perf.compare.path

Best of seven rounds in one process, caches warm: the profile behind "feed to strategy". What the
table of latencies shows beyond the sum is waiting: to be woken, to be given a CPU, for memory
that the other CPU has written.
"""

from __future__ import annotations

import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.brokers.smartapi.session import SmartApiSession
from pipeline.brokers.smartapi.wire import encode, instrument_key
from pipeline.channels import choose
from pipeline.records import TICK, positions_dtype
from pipeline.settings import SIMULATOR_SECRETS
from pipeline.strategies.momentum import Momentum
from pipeline.strategy.session import StrategySession
from tests.perf.compare.guide import parse_binary_data
from tests.perf.day import guide_settings

CALLS, ROUNDS = 2_000, 7


def ns(call: Callable[[], object]) -> float:
    return min(timeit.repeat(call, number=CALLS, repeat=ROUNDS)) / CALLS * 1e9


def measure() -> dict[str, float]:
    settings = guide_settings()
    rows = np.zeros(CALLS * ROUNDS + 1, TICK)
    rows["price_e4"], rows["ts_event_ns"] = 2_500_000, np.arange(len(rows)) * 10**9
    one = rows[:1].copy()
    packets = encode("quote", rows, [instrument_key(each) for each in settings.instruments], 1)
    frames = [packet.tobytes() for packet in packets]
    unseen = iter(frames)
    market = SmartApiSession(settings.feed, settings.instruments, SIMULATOR_SECRETS)
    strategy = StrategySession(Momentum(settings.strategy), settings.instruments, 7)
    found = {
        "guide's SDK: a frame to a dictionary": ns(lambda: parse_binary_data(frames[0])),
        "feed: a frame to a TICK row": ns(lambda: market.on_binary(next(unseen), 5)),
        "strategy: a row to on_tick's answer": ns(lambda: strategy.on_ticks(one)),
    }
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        return found | _channel_steps(Path(name), one)


def _channel_steps(folder: Path, one: np.ndarray) -> dict[str, float]:
    channels = choose("auto")
    readers = channels.Readers.create(folder, ["strategy", "risk"])
    bells = readers.bells("strategy", "risk")
    writer = channels.RingWriter(folder / "ticks.ring", TICK, 65_536, bells)
    reader = channels.RingReader(folder / "ticks.ring", TICK, readers.slot("strategy"))
    cell = channels.CellWriter(folder / "positions.cell", positions_dtype(1))
    positions = channels.CellReader(folder / "positions.cell", positions_dtype(1))
    cell.publish(np.zeros(1, positions_dtype(1)))
    positions.latest()
    publish = ns(lambda: writer.publish(one))

    def publish_and_read() -> None:
        writer.publish(one)
        reader.read(256)

    reader.read(65_536)
    found = {
        "feed: publish, nobody parked": publish,
        "strategy: read it": ns(publish_and_read) - publish,
        "strategy: look for new positions": ns(positions.latest),
    }
    for each in (reader, positions, writer, cell, readers):
        each.close()
    return found


def main() -> None:
    for what, value in measure().items():
        print(f"{what:44} {value:>8,.0f}")


if __name__ == "__main__":
    main()
