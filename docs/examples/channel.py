from collections import deque
from datetime import datetime, timedelta

from pipeline import Signal, Strategy, Tick
from pipeline.settings import StrategySettings


class Channel(Strategy):
    """Buy above the last `length` ticks of an instrument; give up after `minutes_max` minutes."""

    def __init__(self, settings: StrategySettings) -> None:
        super().__init__(settings)
        self._length = int(settings.parameters["length"])
        self._patience = timedelta(minutes=float(settings.parameters["minutes_max"]))
        self._prices: dict[int, deque[float]] = {}  # by instrument
        self._since: dict[int, datetime] = {}  # by position

    def on_tick(self, tick: Tick) -> Signal | None:
        prices = self._prices.setdefault(tick.instrument_index, deque(maxlen=self._length))
        above = len(prices) == self._length and tick.price > max(prices)
        prices.append(tick.price)
        if self.position.quantity:
            since = self._since.setdefault(self.position.position_id, tick.timestamp)
            late = tick.timestamp - since >= self._patience
            return Signal.close("out of patience") if late else None
        return Signal.buy("above the channel") if above and self.position.is_flat else None

    def on_position_closed(self, position_id: int, reason: str) -> None:
        self._since.pop(position_id, None)
