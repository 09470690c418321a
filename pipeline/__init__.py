"""tickpipe: a live-trading tick pipeline for one trading box.

    broker ══ws══▶ FEED ══▶ [ring] ══▶ STRATEGY ══▶ [queue] ══▶ RISK ══▶ broker
                             ║                                  ▲ ║
                             ╚════════ the same ticks ══════════╝ ╠══▶ ledger ══▶ results
                   STRATEGY ◀── [cell] positions ─────────────────╝
                   SUPERVISOR ◀── [cell] one heartbeat per process

A strategy author needs the names exported here; docs/writing-a-strategy.md shows them at work.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.records import Action, Gap
    from pipeline.strategy.contract import Depth, Position, Signal, Strategy, Tick

__all__ = ["Action", "Depth", "Gap", "Position", "Signal", "Strategy", "Tick", "__version__"]

__version__ = "0.1.0"

_HOMES = {
    "pipeline.records": ("Action", "Gap"),
    "pipeline.strategy.contract": ("Depth", "Position", "Signal", "Strategy", "Tick"),
}


def __getattr__(name: str) -> object:
    """Import a public name when it is asked for.

    What stands behind the names takes long to import, and the command must answer Ctrl-C before.
    """
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
