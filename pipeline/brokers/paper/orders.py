"""Paper orders: filled on this machine, after a latency, in parts or refused as [paper] says.

A fill is at the last price or at the touch, made worse by the slippage. What happens to an order
follows from its id and the seed alone, so the same orders and prices always give the same fills,
also after a restart: the paper broker's book is what the ledger knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from pipeline.brokers.contract import (
    BrokerBook,
    BrokerPosition,
    Order,
    OrderState,
    OrderUpdate,
    Quote,
    Side,
)
from pipeline.settings import Instrument, PaperSettings, Settings, e4

_PRICE_MIN_E4 = 1
_LIVE = (
    OrderState.PENDING_NEW,  # it may have left or not: nobody but this gateway would know
    OrderState.SENT,
    OrderState.UNKNOWN,
    OrderState.ACCEPTED,
    OrderState.PARTIALLY_FILLED,
)


@dataclass(slots=True)
class _Resting:
    """An order that is not filled yet."""

    order: Order
    parts: list[int]  # shares that fill together, last one first
    due_ns: int  # when the next part fills
    waits: bool = False  # its limit was not met


def _no_quote(instrument: int) -> Quote:
    return Quote()


def _no_clock() -> int:
    return 0


class PaperGateway:
    """An OrderGateway without a broker."""

    def __init__(
        self,
        slippage_e4: int,
        paper: PaperSettings | None = None,
        instruments: Sequence[Instrument] = (),
        quote: Callable[[int], Quote] = _no_quote,
        clock: Callable[[], int] = _no_clock,
    ) -> None:
        """Make every fill worse by ``slippage_e4`` (1/10 000 ₹ a share, >= 0).

        ``quote`` says how an instrument stands now; where it does not know, the order's own price
        counts. ``clock`` (ns) is what the latency is measured by.
        """
        assert slippage_e4 >= 0
        self._slippage_e4 = slippage_e4
        self._paper = paper or PaperSettings()
        self._latency_ns = int(self._paper.latency_ms * 1e6)
        self._instruments = instruments
        self._quote = quote
        self._clock = clock
        self._resting: dict[str, _Resting] = {}
        self._heard: list[OrderUpdate | BrokerBook] = []
        self._book: dict[str, OrderUpdate] = {}  # the newest of every order
        self._held: dict[int, int] = {}  # shares by instrument

    @classmethod
    def of(
        cls, settings: Settings, quote: Callable[[int], Quote], clock: Callable[[], int]
    ) -> PaperGateway:
        slippage_e4 = e4(settings.risk.slippage_points)
        return cls(slippage_e4, settings.paper, settings.instruments, quote, clock)

    def send(self, order: Order) -> None:
        self._accept(order)

    def restore(self, order: Order, state: OrderState, filled: int, turnover_e4: int) -> None:
        """Take up an order of the ledger where it stood when risk died."""
        self._hold(order, filled)
        if state in _LIVE:
            self._accept(order, filled, turnover_e4)
        else:
            self._book[order.order_id] = _update(order, state, filled, turnover_e4)

    def _accept(self, order: Order, filled: int = 0, turnover_e4: int = 0) -> None:
        update = _update(order, OrderState.ACCEPTED, filled, turnover_e4)
        refused, parts = self._fate(order)
        if refused and not filled:
            text = f"refused: paper.reject_percent = {self._paper.reject_percent:g}"
            self._tell(update._replace(state=OrderState.REJECTED, text=text))
            return
        self._book[order.order_id] = update
        due_ns = self._clock() + self._latency_ns
        self._resting[order.order_id] = _Resting(order, _left(parts, filled), due_ns)
        if self._latency_ns:
            self._tell(update)

    def _fate(self, order: Order) -> tuple[bool, list[int]]:
        """Return whether an order is refused, and its parts, the last one first."""
        if not self._paper.reject_percent and self._paper.parts_max == 1:
            return False, [order.quantity]
        luck = Random(f"{self._paper.seed}:{order.order_id}")
        return luck.random() * 100 < self._paper.reject_percent, self._parts(order, luck)

    def _parts(self, order: Order, luck: Random) -> list[int]:
        """Cut an order into whole lots, one part or more; the last one first."""
        lot = self._instruments[order.instrument].lot_size if self._instruments else 1
        lots = order.quantity // lot
        count = min(luck.randint(1, self._paper.parts_max), lots)
        if count < 2:
            return [order.quantity]
        edges = sorted(luck.sample(range(1, lots), count - 1))
        cuts = [0, *(edge * lot for edge in edges), order.quantity]
        return [after - before for before, after in pairwise(cuts)][::-1]

    def hurry(self) -> None:
        """Fill without latency from now on: the clock by which it is measured stands still."""
        self._latency_ns = 0
        for resting in self._resting.values():
            resting.due_ns = self._clock()

    def cancel(self, order_id: str, broker_id: str) -> None:
        if order_id in self._resting:
            del self._resting[order_id]
            self._tell(self._book[order_id]._replace(state=OrderState.CANCELLED))

    def ask(self) -> None:
        self._fill_what_is_due()
        held = [
            BrokerPosition(
                symbol=instrument.symbol,
                instrument=index,
                product=instrument.product_type,
                quantity=self._held[index],
            )
            for index, instrument in enumerate(self._instruments)
            if index in self._held
        ]
        self._heard.append(
            BrokerBook(asked_ns=self._clock(), orders=list(self._book.values()), positions=held)
        )

    def take(self) -> Sequence[OrderUpdate | BrokerBook]:
        if self._resting:
            self._fill_what_is_due()
        if not self._heard:
            return ()
        heard, self._heard = self._heard, []
        return heard

    def close(self) -> None:
        pass

    def _fill_what_is_due(self) -> None:
        now_ns = self._clock()
        for resting in list(self._resting.values()):
            while resting.parts and resting.due_ns <= now_ns:
                price_e4, ts_event_ns = self._price(resting)
                if not _fits(resting.order, price_e4):
                    resting.waits = True
                    break
                self._fill(resting.order, resting.parts.pop(), price_e4, ts_event_ns)
                resting.due_ns += self._latency_ns
            if not resting.parts:
                del self._resting[resting.order.order_id]

    def _price(self, resting: _Resting) -> tuple[int, int]:
        """Return the price of a fill now, and its exchange time; a sale is never at 0 or below."""
        order, quote = resting.order, self._quote(resting.order.instrument)
        price_e4, later = order.price_e4, bool(self._latency_ns) or resting.waits
        if self._paper.fill_at == "touch":
            touch_e4 = quote.ask_e4 if order.side is Side.BUY else quote.bid_e4
            price_e4 = touch_e4 or quote.last_e4 or price_e4
        elif later:
            price_e4 = quote.last_e4 or price_e4
        worse_e4 = self._slippage_e4 if order.side is Side.BUY else -self._slippage_e4
        ts_event_ns = max(order.ts_event_ns, quote.ts_event_ns if later else 0)
        return max(_PRICE_MIN_E4, price_e4 + worse_e4), ts_event_ns

    def _fill(self, order: Order, shares: int, price_e4: int, ts_event_ns: int) -> None:
        before = self._book[order.order_id]
        filled = before.filled + shares
        self._hold(order, shares)
        self._tell(
            before._replace(
                state=OrderState.FILLED
                if filled == order.quantity
                else OrderState.PARTIALLY_FILLED,
                filled=filled,
                turnover_e4=before.turnover_e4 + shares * price_e4,
                ts_event_ns=ts_event_ns,
            )
        )

    def _tell(self, update: OrderUpdate) -> None:
        self._book[update.order_id] = update
        self._heard.append(update)

    def _hold(self, order: Order, shares: int) -> None:
        before = self._held[order.instrument] if order.instrument in self._held else 0
        self._held[order.instrument] = before + (shares if order.side is Side.BUY else -shares)

    def __repr__(self) -> str:
        return f"<PaperGateway slippage_e4={self._slippage_e4} resting={len(self._resting)}>"


def _update(order: Order, state: OrderState, filled: int, turnover_e4: int) -> OrderUpdate:
    return OrderUpdate(
        order_id=order.order_id,
        state=state,
        broker_id=f"PAPER-{order.order_id}",
        instrument=order.instrument,
        filled=filled,
        turnover_e4=turnover_e4,
        ts_event_ns=order.ts_event_ns,
    )


def _fits(order: Order, price_e4: int) -> bool:
    """Tell whether ``price_e4`` is no worse than the order's limit."""
    if not order.limit_e4:
        return True
    return price_e4 <= order.limit_e4 if order.side is Side.BUY else price_e4 >= order.limit_e4


def _left(parts: list[int], filled: int) -> list[int]:
    """Return the parts (last one first) without the first ``filled`` shares."""
    left = list(parts)
    while left and filled >= left[-1]:
        filled -= left.pop()
    if filled:
        left[-1] -= filled
    return left
