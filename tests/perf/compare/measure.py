"""One load through one way: latencies from the intended time, losses, and what it cost.

    wire to feed        intended -> the frame in hand
    feed to strategy    in hand -> on_tick is called
    wire to strategy    intended -> on_tick is called
    wire to order       intended -> the order that the tick caused is handed to the gateway
    signal to order     the strategy had decided -> the same
    signal to risk      the strategy had decided -> risk has the signal
    feed to risk        in hand -> risk is done with the tick

The first five are exact, from raw nanoseconds of every tick and order after the warm-up. The last
two are what the way measured itself (``Stage``), warm-up included, at most 0.8 % too high. A tick
that the strategy never saw is lost and in no latency.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.records import Stage
from pipeline.risk.ledger import Ledger
from tests.perf.compare.loads import WARM_UP_NS, Load
from tests.perf.compare.sender import Sent
from tests.perf.compare.stamps import SEEN, read_stamps
from tests.perf.compare.usage import sample, used
from tests.perf.compare.ways import Run, Way, running, settle

DRAIN_SECONDS_MAX = 10.0
CURVE_PERCENTS = [0, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.98, 99.99, 100]
# So many round trips must not end for want of money or by a limit that says nothing here.
PLENTY = [
    "capital.initial_capital=10000000.0",
    "risk.max_positions_per_day=1000000",
    *(f"risk.{name}_percent=0.0" for name in ("commission", "stt", "exchange_charges", "gst")),
]

Figures = dict[str, Any]


def measure(way: Way, load: Load, ticks: NDArray[np.void], results: Path | None = None) -> Figures:
    """Return what ``way`` did with ``load``; latencies in ns."""
    count = len(WARM_UP_NS) + load.ticks_max
    with running(
        way,
        ticks[:count],
        PLENTY,
        order_every=load.order_every,
        work_us=load.work_us,
        results=results,
    ) as run:
        settle()
        run.sender.start("at_times", WARM_UP_NS)
        run.sender.finish()
        settle()
        before = sample(run.pids())
        sent = _send(run, load)
        after = sample(run.pids())
        _drain(run, sent)
        run.end()
        figures = _figures(run, sent, flat_out=not len(load.offsets_ns))
    usage = {name: each.as_dict() for name, each in used(before, after).items()}
    return {"way": way.name, "load": load.name, **figures, "usage": usage}


def _send(run: Run, load: Load) -> Sent:
    if len(load.offsets_ns):
        run.sender.start("at_times", load.offsets_ns)
    else:
        run.sender.start("flat_out", load.seconds)
    return run.sender.finish()


def _drain(run: Run, sent: Sent) -> None:
    """Give the strategy time for what is on its way."""
    last = sent.first + len(sent.sent_ns) - 1
    deadline = time.monotonic() + DRAIN_SECONDS_MAX
    while not read_stamps(run.stamps)[SEEN, last] and time.monotonic() < deadline:
        time.sleep(0.02)


def _figures(run: Run, sent: Sent, *, flat_out: bool) -> Figures:
    count = len(sent.sent_ns)
    received, seen = read_stamps(run.stamps)[:, sent.first : sent.first + count]
    handled = seen > 0
    parameters, _ = run.parameters_and_trades()
    duration_s = (seen.max() - sent.intended_ns[0]) / 1e9
    figures: Figures = {
        "sent": count,
        "handled": int(handled.sum()),
        "lost": int(count - handled.sum()),
        "offered_per_second": count / ((sent.sent_ns[-1] - sent.intended_ns[0]) / 1e9),
        "handled_per_second": int(handled.sum()) / duration_s,
    }
    stages = {
        "feed to strategy": (seen - received)[handled],
        "signal to order": _signal_to_order(run, sent.intended_ns[0]),
    }
    if not flat_out:  # where nothing is intended, only the stages behind the wire mean something
        stages |= {
            "sender late": sent.sent_ns - sent.intended_ns,
            "wire to feed": (received - sent.intended_ns)[handled],
            "wire to strategy": (seen - sent.intended_ns)[handled],
            "wire to order": _wire_to_order(run, sent, received, handled),
        }
    figures["latency"] = {name: percentiles(values) for name, values in stages.items()}
    for name, stage in (
        ("signal to risk", Stage.SIGNAL_TO_RISK),
        ("feed to risk", Stage.FEED_TO_RISK),
    ):
        figures["latency"][name] = parsed(parameters[f"Latency {stage.title}"])
    figures["curves"] = {
        name: _curve(stages[name])
        for name in ("feed to strategy", "wire to strategy")
        if name in stages
    }
    return figures


def _signal_to_order(run: Run, from_ns: int) -> NDArray[np.int64]:
    return np.array(
        [
            sent_ns - order.ts_signal_ns
            for order, sent_ns in _orders(run, from_ns)
            if order.ts_signal_ns
        ],
        np.int64,
    )


def _wire_to_order(
    run: Run, sent: Sent, received: NDArray[np.int64], handled: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return for each order how long after the intended time of its tick it was handed over."""
    at = np.flatnonzero(handled)
    orders = [(o.ts_recv_ns, ns) for o, ns in _orders(run, int(sent.intended_ns[0]))]
    caused_ns, sent_ns = np.array(orders, np.int64).reshape(-1, 2).T
    place = np.searchsorted(received[at], caused_ns)
    exact = (place < len(at)) & (received[at[np.minimum(place, len(at) - 1)]] == caused_ns)
    taken: NDArray[np.int64] = sent_ns[exact] - sent.intended_ns[at[place[exact]]]
    return taken


def _orders(run: Run, from_ns: int) -> list[Any]:
    """Return the orders after the warm-up that a tick caused, with the time of handing over."""
    with Ledger.open(run.ledger) as ledger:
        times = ledger.times_sent()
        return [
            (order, times[order.order_id])
            for order, _ in ledger.orders()
            if order.ts_recv_ns >= from_ns
        ]


def percentiles(values: NDArray[np.int64]) -> dict[str, int]:
    if not len(values):
        return {"samples": 0}
    p50, p90, p99, p999 = np.percentile(values, (50, 90, 99, 99.9), method="higher").tolist()
    highest = int(values.max())
    return {
        "samples": len(values),
        "p50": p50,
        "p90": p90,
        "p99": p99,
        "p99.9": p999,
        "max": highest,
    }


def _curve(values: NDArray[np.int64]) -> list[tuple[float, int]]:
    """Return (percent, ns) as far as the number of values carries, and the maximum."""
    if not len(values):
        return []
    carried = [p for p in CURVE_PERCENTS if (100 - p) / 100 * len(values) >= 1 or p == 100]
    found = np.percentile(values, carried, method="higher").tolist()
    return list(zip(carried, found, strict=True))


def parsed(text: str) -> dict[str, int]:
    """Return a latency of the results file as numbers."""
    found = re.findall(r"(p50|p90|p99\.9|p99|max) ([\d,]+\.\d)", text)
    samples = re.search(r"of ([\d,]+)$", text)
    if samples is None:
        return {"samples": 0}
    figures = {name: round(float(us.replace(",", "")) * 1_000) for name, us in found}
    return {"samples": int(samples[1].replace(",", ""))} | figures
