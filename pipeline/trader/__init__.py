"""The guide's API over the pipeline: LiveTrader and BrokerAdapter.

    your program                                   a process of its own
    LiveTrader.start ── settings, stop signals ──▶ supervisor ─▶ feed, strategy, risk
      .broker, result_box, performance_callback ◀── ring and cells (shared memory)

Nothing of the pipeline runs in your program, so whatever your program does (a GUI that hangs, a
callback that raises) reaches neither the strategy nor the stop. Nothing of it is written twice:
`tickpipe run` starts the same supervisor. docs/user-guide-callbacks.md shows both at work.
"""

from pipeline.trader.broker import BrokerAdapter
from pipeline.trader.live import LiveTrader

__all__ = ["BrokerAdapter", "LiveTrader"]
