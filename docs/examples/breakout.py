from pipeline import Signal, Strategy, Tick


class Breakout(Strategy):
    """Buy a new high of the day; risk sells by its own rules."""

    high = 0.0

    def on_tick(self, tick: Tick) -> Signal | None:
        new_high = tick.price > self.high > 0
        self.high = max(self.high, tick.price)
        return Signal.buy("new high") if new_high and self.position.is_flat else None
