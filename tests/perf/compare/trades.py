"""The same day in every way, in lockstep: are the trades the same?"""

from __future__ import annotations

import csv
import io
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.backtest import backtest
from pipeline.results.files import COLUMNS
from pipeline.settings import load_settings
from tests.perf.compare.ways import GUIDE_CONFIG, WAYS, Way, running

# The guide's queue holds 1 000 and drops the oldest. No way may lose a tick here, so the sender
# stays this close to the strategy; in lockstep tickpipe's feed waits anyhow.
WINDOW = 400
TIMED = {"tick_to_signal_us", "signal_to_order_us"}  # all other columns follow from the ticks
COMPARED = [name for name in COLUMNS if name not in TIMED]


def compare_trades(day: NDArray[np.void], names: list[str]) -> dict[str, Any]:
    """Return how many trades each way made, and whether all are those of a backtest."""
    settings = load_settings(GUIDE_CONFIG)
    expected = [
        {name: str(show(trade)) for name, show in COLUMNS.items()}
        for trade in backtest(settings, day).trades
    ]
    found = {name: trades_of(WAYS[name], day) for name in names}
    return {
        "ticks": len(day),
        "trades": len(expected),
        "sha256": _digest(expected),
        "ways": {
            name: {"trades": len(trades), "identical": compared(trades) == compared(expected)}
            for name, trades in found.items()
        },
        "identical": all(compared(trades) == compared(expected) for trades in found.values()),
    }


def trades_of(way: Way, day: NDArray[np.void]) -> list[dict[str, str]]:
    """Play the day in lockstep and return the trades as the results show them."""
    with running(way, day, ["channels.lockstep=true"]) as run:
        run.sender.start("within", WINDOW, run.stamps)
        run.sender.finish()
        run.end()
        return run.parameters_and_trades()[1]


def compared(trades: list[dict[str, str]]) -> list[list[str]]:
    return [[trade[name] for name in COMPARED] for trade in trades]


def _digest(trades: list[dict[str, str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COMPARED, *compared(trades)])
    return sha256(text.getvalue().encode()).hexdigest()
