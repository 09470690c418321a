"""Paper orders: filled at once and in full, at the order's price made worse by the slippage."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.brokers.contract import Fill, Order, Side

_PRICE_MIN_E4 = 1


class PaperGateway:
    """An OrderGateway without a broker. The same orders always give the same fills."""

    def __init__(self, slippage_e4: int) -> None:
        """Make every fill worse by ``slippage_e4`` (1/10 000 ₹ a share, >= 0)."""
        assert slippage_e4 >= 0
        self._slippage_e4 = slippage_e4

    def send(self, order: Order) -> Sequence[Fill]:
        """Return the one fill of ``order``; a sale never fills at 0 or below."""
        worse_e4 = self._slippage_e4 if order.side is Side.BUY else -self._slippage_e4
        price_e4 = max(_PRICE_MIN_E4, order.price_e4 + worse_e4)
        return (
            Fill(
                order_id=order.order_id,
                quantity=order.quantity,
                price_e4=price_e4,
                slippage_e4=abs(price_e4 - order.price_e4),
                ts_event_ns=order.ts_event_ns,
            ),
        )

    def __repr__(self) -> str:
        return f"<PaperGateway slippage_e4={self._slippage_e4}>"
