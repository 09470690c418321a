"""Run benchmarks and print what they measured, with the machine they ran on.

scripts/bench                      all of them
scripts/bench replay --runs 5      one of them
scripts/bench --json out.json      and keep the numbers
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.perf import backtest, replay, ring

# Each returns one number per run; the header of its file says what the number means.
BENCHMARKS: dict[str, Callable[[], dict[str, float]]] = {
    "backtest": backtest.measure,
    "replay": replay.measure,
    "ring": ring.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], help="which (all)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each (3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    options = parser.parse_args()
    machine = describe_machine()
    print("  ".join(f"{name}: {value}" for name, value in machine.items()))
    figures: dict[str, list[float]] = {}
    for name in options.names or BENCHMARKS:
        for _ in range(options.runs):
            for figure, value in BENCHMARKS[name]().items():
                figures.setdefault(figure, []).append(value)
    for figure, values in figures.items():
        median, low, high = statistics.median(values), min(values), max(values)
        print(f"{figure:<58} median {median:>12,.1f}   from {low:,.1f} to {high:,.1f}")
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine, "figures": figures}, indent=2))


def describe_machine() -> dict[str, str]:
    """Return what a number is worthless without."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit or "unknown",
    }


if __name__ == "__main__":
    main()
