from pipeline import Depth, Signal, Strategy, Tick


class Heavier(Strategy):
    """Buy when more shares are bid for than are offered."""

    bid_for = offered = 0

    def on_depth(self, depth: Depth) -> None:
        self.bid_for = sum(level.quantity for level in depth.bids)
        self.offered = sum(level.quantity for level in depth.asks)

    def on_tick(self, tick: Tick) -> Signal | None:
        heavier = self.bid_for > 2 * self.offered > 0
        return Signal.buy("more bid for") if heavier and self.position.is_flat else None
