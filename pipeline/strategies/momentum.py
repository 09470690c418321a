"""The guide's momentum strategy: buy after rising ticks while the fast EMA is above the slow one.

    1. Two EMAs, α = 2 / (span + 1), seeded with the first price: ema += α·(price − ema).
       A price above the one before adds a green tick; any other price sets the count to 0.
    2. No signal before tick ``min_warmup_ticks``. ``consecutive_green_bars`` green ticks are
       needed; ``control_base_sl_green_ticks`` after an exit by the base stop-loss, until the next
       entry or the next exit of another kind.
    3. Flat, enough green ticks, fast above slow: BUY at the tick's price.

Risk owns what else the guide asks of an entry: hours, entries a day, size, money. A BUY that risk
refuses is therefore no entry, and leaves the number of green ticks needed as it was.

The EMAs are floats of ``price_e4``: both sides of every comparison carry the same factor.
"""

from __future__ import annotations

from pipeline.settings import StrategySettings
from pipeline.strategy.contract import FLAT, Position, Signal, Strategy, Tick

STOP_LOSS = "Stop Loss"


class Momentum(Strategy):
    """The guide's strategy, for any number of instruments."""

    def __init__(self, settings: StrategySettings) -> None:
        super().__init__(settings)
        self._alpha_fast = 2.0 / (settings.fast_ema + 1)
        self._alpha_slow = 2.0 / (settings.slow_ema + 1)
        self._crossover = settings.use_ema_crossover
        self._warmup_ticks = settings.min_warmup_ticks
        self._green_min = settings.consecutive_green_bars
        self._green_min_after_stop = (
            settings.control_base_sl_green_ticks
            if settings.Enable_control_base_sl_green_ticks
            else settings.consecutive_green_bars
        )
        self._series: dict[int, _Series] = {}

    def on_tick(self, tick: Tick) -> Signal | None:
        """Return a BUY when rule 3 holds, else None."""
        price_e4 = tick.price_e4
        try:
            series = self._series[tick.instrument_index]
        except KeyError:
            series = self._begin(tick)
        position = self.position
        if position is not series.seen:
            self._look(series, position)

        series.ticks += 1
        series.fast = fast = series.fast + self._alpha_fast * (price_e4 - series.fast)
        series.slow = slow = series.slow + self._alpha_slow * (price_e4 - series.slow)
        series.green = green = series.green + 1 if price_e4 > series.previous_e4 else 0
        series.previous_e4 = price_e4

        if green < series.green_min or (fast <= slow and self._crossover):
            return None
        if series.ticks < self._warmup_ticks or not position.is_flat:
            return None
        return Signal.buy(f"{'ema crossover, ' if self._crossover else ''}{green} green ticks")

    def on_position_closed(self, position_id: int, reason: str) -> None:
        """Set how many green ticks the next entry in that instrument needs."""
        series = self._series.get(self.position.instrument_index)
        if series is not None:
            after_stop = reason == STOP_LOSS
            series.green_min = self._green_min_after_stop if after_stop else self._green_min

    def _begin(self, tick: Tick) -> _Series:
        series = self._series[tick.instrument_index] = _Series(tick.price_e4, self._green_min)
        return series

    def _look(self, series: _Series, position: Position) -> None:
        """Take note of a changed position; a new one that is really open is the entry of rule 2."""
        series.seen = position
        if position.quantity and position.position_id != series.position_id:
            series.position_id = position.position_id
            series.green_min = self._green_min


class _Series:
    """What the rules remember of one instrument."""

    __slots__ = (
        "fast",
        "green",
        "green_min",
        "position_id",
        "previous_e4",
        "seen",
        "slow",
        "ticks",
    )

    def __init__(self, price_e4: int, green_min: int) -> None:
        self.ticks = 0
        self.previous_e4 = price_e4
        self.fast = self.slow = float(price_e4)
        self.green = 0
        self.green_min = green_min
        self.seen = FLAT
        self.position_id = 0  # the last one seen open
