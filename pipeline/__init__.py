"""tickpipe: a live-trading tick pipeline for one trading box.

    broker ══ws══▶ FEED ══▶ [ring] ══▶ STRATEGY ══▶ [queue] ══▶ RISK ══▶ broker
                             ║                                  ▲ ║
                             ╚════════ the same ticks ══════════╝ ╠══▶ ledger ══▶ results
                   STRATEGY ◀── [cell] positions ─────────────────╝
                   SUPERVISOR ◀── [cell] one heartbeat per process

A strategy author needs the names exported here; docs/writing-a-strategy.md shows them at work.
"""

from pipeline.records import Action, Gap
from pipeline.strategy.contract import Depth, Position, Signal, Strategy, Tick

__all__ = ["Action", "Depth", "Gap", "Position", "Signal", "Strategy", "Tick", "__version__"]

__version__ = "0.1.0"
