"""Run a stress test for as long as you like; it prints its seed and figures, and fails on a loss.

scripts/stress chaos --rounds 1000 --seed 7     kills and stops on one ring
scripts/stress wakes --handoffs 10_000_000      wake-ups between two processes that park
scripts/stress throughput --json out.json       the offered rate climbs until something gives way
scripts/stress kills --kills 1000               risk dies with open orders; the broker misbehaves
scripts/stress soak --hours 4                   the whole pipeline, broken now and then
scripts/stress fuzz --seed 7                     10 million bent frames of both brokers
"""

from __future__ import annotations

import argparse
from types import ModuleType

from tests.stress import chaos, fuzz, kills, soak, throughput, wakes

COMMANDS: dict[str, ModuleType] = {  # each has add_arguments() and main()
    "chaos": chaos,
    "wakes": wakes,
    "throughput": throughput,
    "kills": kills,
    "soak": soak,
    "fuzz": fuzz,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/stress",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").splitlines()[0]
        module.add_arguments(commands.add_parser(name, help=summary, description=summary))
    options = parser.parse_args()
    COMMANDS[options.command].main(options)


if __name__ == "__main__":
    main()
