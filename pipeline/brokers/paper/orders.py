"""Paper orders: filled at once and in full, at the order's price made worse by the slippage."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.brokers.contract import BrokerBook, Order, OrderState, OrderUpdate, Side

_PRICE_MIN_E4 = 1


class PaperGateway:
    """An OrderGateway without a broker. The same orders always give the same fills."""

    def __init__(self, slippage_e4: int) -> None:
        """Make every fill worse by ``slippage_e4`` (1/10 000 ₹ a share, >= 0)."""
        assert slippage_e4 >= 0
        self._slippage_e4 = slippage_e4
        self._heard: list[OrderUpdate | BrokerBook] = []

    def send(self, order: Order) -> None:
        """Fill ``order``; a sale never fills at 0 or below."""
        worse_e4 = self._slippage_e4 if order.side is Side.BUY else -self._slippage_e4
        price_e4 = max(_PRICE_MIN_E4, order.price_e4 + worse_e4)
        self._heard.append(
            OrderUpdate(
                order_id=order.order_id,
                state=OrderState.FILLED,
                broker_id=f"PAPER-{order.order_id}",
                instrument=order.instrument,
                side=order.side,
                filled=order.quantity,
                turnover_e4=order.quantity * price_e4,
                ts_event_ns=order.ts_event_ns,
            )
        )

    def cancel(self, order_id: str, broker_id: str) -> None:
        """Do nothing: what was sent is filled."""

    def ask(self) -> None:
        """Do nothing: there is nothing to know but what was told."""

    def take(self) -> Sequence[OrderUpdate | BrokerBook]:
        heard, self._heard = self._heard, []
        return heard

    def close(self) -> None:
        pass

    def __repr__(self) -> str:
        return f"<PaperGateway slippage_e4={self._slippage_e4}>"
