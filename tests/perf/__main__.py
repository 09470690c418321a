"""Run benchmarks and print what they measured, with the machine they ran on.

scripts/bench                      all of them
scripts/bench replay --runs 10     one of them
scripts/bench --json out.json      and keep the numbers
scripts/bench ring --publish       and write its page in docs anew, from this machine
scripts/bench wire --memory-ticks 100000000      a long day's ticks
scripts/bench ring --publish --from out.json     the same, from numbers kept
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.perf import backtest, orders, overview, receive, recording, rehearsal, replay, ring, wire
from tests.perf.machine import Disturbance, describe_machine
from tests.perf.results import Result, lines, repeated

# Each takes the number of runs; the header of its file says what its numbers mean.
BENCHMARKS: dict[str, Callable[..., Result]] = {
    "backtest": repeated(backtest.measure),
    "orders": orders.measure,
    "receive": repeated(receive.measure),
    "recording": repeated(recording.measure),
    "rehearsal": repeated(rehearsal.measure),
    "replay": repeated(replay.measure),
    "ring": ring.measure,
    "wire": wire.measure,
}
# Those with a page of their own: what is kept by --json to files of docs/performance. The others
# are in docs/performance.md.
PAGES: dict[str, Callable[[dict[str, Any]], None]] = {"ring": ring.publish, "wire": wire.publish}


def main() -> None:
    options = _arguments()
    kept = json.loads(options.kept.read_text()) if options.kept else _measure(options)
    if options.json is not None:
        options.json.write_text(json.dumps(kept, indent=1) + "\n")
    if options.publish:
        for name in options.names or BENCHMARKS:
            PAGES[name](kept) if name in PAGES else overview.publish(kept, name)


def _arguments() -> argparse.Namespace:
    usage = __doc__.splitlines()
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=usage[0],
        epilog="\n".join(usage[2:]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = f"which of {', '.join(BENCHMARKS)} (all)"
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], metavar="name", help=which)
    parser.add_argument("--runs", type=int, default=5, help="runs of each (5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--publish", action="store_true", help="write its page in docs anew")
    parser.add_argument(
        "--from", dest="kept", type=Path, metavar="FILE", help="numbers that --json has kept"
    )
    parser.add_argument(
        "--memory-ticks",
        type=int,
        default=wire.MEMORY_TICKS,
        metavar="N",
        help=f"wire: ticks over which the feed's memory is watched ({wire.MEMORY_TICKS})",
    )
    return parser.parse_args()


def _own(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that only the benchmark ``name`` has."""
    return {"memory_ticks": options.memory_ticks} if name == "wire" else {}


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmarks and print them; return everything, as JSON takes it."""
    machine, disturbance = describe_machine(), Disturbance()
    figures: dict[str, list[float]] = {}
    details: dict[str, Any] = {}
    of: dict[str, list[str]] = {}  # the names of the figures of each
    for name in options.names or BENCHMARKS:
        result = BENCHMARKS[name](options.runs, **_own(name, options))
        figures |= result.figures
        details[name], of[name] = result.details, list(result.figures)
    machine["cpu pressure meanwhile"] = f"{disturbance.part():.0%}"
    print("  ".join(f"{name}: {value}" for name, value in machine.items()))
    print("\n".join(lines(figures)))
    runs = options.runs
    return {"machine": machine, "runs": runs, "figures": figures, "of": of, "details": details}


if __name__ == "__main__":
    main()
