"""Compare the guide's two loops with tickpipe's modes, on this machine, now.

    scripts/compare-modes                     everything, under ten minutes on two CPUs
    scripts/compare-modes --quick             a slice in half a minute; checks the trades
    scripts/compare-modes --publish --runs 3  everything three times, into docs/performance/
    scripts/compare-modes --pages             docs/performance/ anew from the numbers stored there

The trades must be the same in every way: that is an error if it does not hold. Nothing else here
is judged. Results: modes.json, .csv, .html, .md and .png in --out.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.brokers.recorded.files import read_ticks
from tests.perf.compare import loads, machine, path, peers, stamping
from tests.perf.compare.measure import measure
from tests.perf.compare.report import as_json, console_text, write_all
from tests.perf.compare.throughput import carry
from tests.perf.compare.trades import compare_trades
from tests.perf.compare.ways import ROOT, WAYS
from tests.perf.day import RECORDED, day_file, guide_settings

PUBLISHED = ROOT / "docs" / "performance"
SLOW_RATE, SLOW_WORK_US = 400, 5_000  # 2 s of work in every second
WAKE_UPS = {"20/s": 20, "100/s": 100, "1,000/s": 1_000}
SUSTAINED_RATES = (100_000, 250_000, 500_000, 750_000, 1_000_000)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/compare-modes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("results/compare"), metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--quick", action="store_true", help="a slice: trades and one load")
    parser.add_argument("--runs", type=int, default=1, help="runs of every load (1)")
    parser.add_argument("--publish", action="store_true", help="write into docs/performance")
    parser.add_argument("--pages", action="store_true", help="measure nothing, write the pages")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    if options.publish or options.pages:
        options.out = PUBLISHED
    if options.pages:
        report = json.loads((PUBLISHED / "modes.json").read_text(encoding="utf-8"))
    else:
        report = compare(quick=options.quick, runs=options.runs, say=_say)
    written = write_all(report, options.out)
    if options.json is not None:
        options.json.write_text(as_json(report), encoding="utf-8")
        written.append(options.json)
    print(console_text(report))
    print("\n".join(f"written: {path}" for path in written))
    if not report["trades"]["identical"]:
        print("THE TRADES DIFFER", file=sys.stderr)
        return 1
    return 0


def compare(*, quick: bool, runs: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure and return everything."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        settings = guide_settings()
        day = read_ticks(day_file(Path(name)), settings.instruments)
        report: dict[str, Any] = {
            "machine": machine.describe_machine(),
            "day": "recorded" if RECORDED.exists() else "generated",
            "runs": runs,
            "ways": {way.name: way.meaning for way in WAYS.values()},
        }
        say("the machine alone")
        report["hiccups"] = machine.hiccups(0.2 if quick else 3.0)
        report["wake up"] = {
            load: machine.bare_wake_up(rate, 10 if quick else max(60, rate))
            for load, rate in WAKE_UPS.items()
        }
        say("trades, in lockstep")
        report["trades"] = compare_trades(day[:3_000] if quick else day, list(WAYS))
        report["loads"] = _loads(day, quick=quick, runs=runs, say=say)
        if not quick:
            report |= _apart(day, Path(name), say)
    report["seconds"] = round(time.monotonic() - started)
    return report


def _loads(day: Any, *, quick: bool, runs: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    if quick:
        wanted = [loads.steady(500, 0.5)]
    else:
        wanted = [
            loads.steady(10, 8),
            loads.steady(20, 10, orders=False),
            loads.steady(100, 8),
            loads.steady(1_000, 6),
            loads.steady(10_000, 5),
            loads.market_open(4),
            loads.flat_out(3),
        ]
    ticks = loads.repeated(day, max(load.ticks_max for load in wanted) + len(loads.WARM_UP_NS))
    found = []
    for run in range(1, runs + 1):
        for load in wanted:
            for way in WAYS.values():
                say(f"{load.name}, {way.name}" + (f", run {run} of {runs}" if runs > 1 else ""))
                found.append({"run": run, **measure(way, load, ticks)})
    return found


def _apart(day: Any, disk: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure what stands beside the table: a slow strategy, the ledger on disk, no WebSocket."""
    slow = []
    ticks = loads.repeated(day, SUSTAINED_RATES[-1] * 3)
    for work_us in (0, SLOW_WORK_US):
        load = loads.steady(SLOW_RATE, 4, work_us=work_us)
        for name in ("guide, callback", "callback", "poll"):
            say(f"{load.name}, {name}")
            slow.append(measure(WAYS[name], load, ticks))
    say("the ledger on a disk")
    on_disk = measure(WAYS["callback"], loads.steady(100, 5), ticks, results=disk / "on disk")
    sustained = []
    for mode in ("callback", "poll"):
        for rate in SUSTAINED_RATES:
            say(f"without the WebSocket, {rate:,}/s, {mode}")
            sustained.append(carry(mode, rate, 2.0, ticks))
    say("others, beside")
    beside = peers.measure(day, guide_settings().instruments)
    say("steps")
    return {
        "slow strategy": slow,
        "ledger on disk": on_disk,
        "without websocket": sustained,
        "peers": beside,
        "stamping": stamping.measure(),
        "path": path.measure(),
    }


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
