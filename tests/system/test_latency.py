"""Every tick and every order of a run carries its times, and the results show what they came to."""

from __future__ import annotations

import re

import pytest

from pipeline.records import Stage
from pipeline.risk.ledger import Ledger
from pipeline.risk.reasons import Reason
from tests.system.conftest import Tickpipe
from tests.system.golden import write_day

TICKS = 2_000


def samples(text: str) -> int:
    """Return how many latencies a row of the results is made of."""
    found = re.fullmatch(r"p50 .*, p99 .*, p99\.9 .*, max .* us of ([\d,]+)", text)
    assert found, text
    return int(found[1].replace(",", ""))


@pytest.mark.parametrize("mode", ["poll", "callback"])
def test_the_results_show_the_latency_of_every_stage_of_the_day(
    tickpipe: Tickpipe, mode: str
) -> None:
    day = write_day(tickpipe.folder / "day.csv", TICKS)
    code, output = tickpipe.run("replay", day, "--mode", mode)
    assert code == 0, output
    parameters, trades = tickpipe.results_file()
    shown = {stage: parameters[f"Latency {stage.title}"] for stage in Stage}
    assert shown.pop(Stage.EXCHANGE_TO_FEED) == "n/a (nothing measured)"  # the day is a recording
    counted = {stage: samples(text) for stage, text in shown.items()}
    ticks = (Stage.FEED_TO_RING, Stage.FEED_TO_STRATEGY, Stage.FEED_TO_RISK)
    assert [counted[stage] for stage in ticks] == [TICKS] * 3
    assert counted[Stage.SIGNAL_TO_RISK] == int(parameters["Signals"])
    entries = len({trade["entry_order_id"] for trade in trades})
    assert counted[Stage.SIGNAL_TO_ORDER] == entries
    exits = [trade for trade in trades if trade["exit_reason"] != Reason.SESSION_END]
    assert counted[Stage.TICK_TO_ORDER] == entries + len(exits)


def test_every_order_of_the_ledger_has_its_times_in_order(tickpipe: Tickpipe) -> None:
    day = write_day(tickpipe.folder / "day.csv", TICKS)
    code, output = tickpipe.run("replay", day)
    assert code == 0, output
    (path,) = tickpipe.results.glob("ledger_*.sqlite")
    with Ledger.open(path) as ledger:
        orders, sent_ns = [order for order, _ in ledger.orders()], ledger.times_sent()
    assert orders
    assert sent_ns.keys() == {order.order_id for order in orders}
    for order in [order for order in orders if order.reason != Reason.SESSION_END]:
        decided_ns = order.ts_signal_ns or order.ts_recv_ns  # an exit by rule has no signal
        assert 0 < order.ts_recv_ns <= decided_ns < sent_ns[order.order_id]
        assert bool(order.ts_signal_ns) == (order.side == "BUY")
