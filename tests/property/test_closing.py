"""Whoever closes, whatever is under way: nothing stays open, and no order is out of proportion."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.brokers.contract import OrderState, OrderUpdate, Side
from pipeline.records import Action
from pipeline.risk.in_flight import Flight
from tests.money import LOT, Trading, guide, signal, tick

SHARES = 13 * LOT
SECOND = 1_000_000_000

DEEDS = st.one_of(
    st.tuples(st.just("tick"), st.sampled_from([84, 95, 100, 106, 113, 131])),
    st.tuples(st.just("buy"), st.just(0)),
    st.tuples(st.sampled_from(["close", "flatten", "halt"]), st.just(0)),
    st.tuples(
        st.sampled_from(["accept", "part", "fill", "reject", "expire", "doubt", "lose", "revive"]),
        st.integers(0, 5),
    ),
    st.tuples(st.just("cancel"), st.booleans()),
)


class Day:
    """A desk, and a broker that does with each order what it is told to."""

    def __init__(self) -> None:
        self.trading = Trading(guide("risk.exit_retry_seconds=1.0"), silent=True)
        self.seq = self.signals = self.now_ns = self.cancels_seen = 0
        self.account = 0
        self.tick(100)

    def do(self, deed: str, what: int) -> None:
        if deed in ("tick", "buy", "close", "flatten", "halt", "cancel"):
            getattr(self, deed)(what)
        else:
            self.tell(deed, what)
        for order in self.trading.gateway.orders:
            assert 0 < order.quantity <= SHARES * 2, order

    def tick(self, price: int) -> None:
        self.seq += 1
        self.now_ns += 40 * SECOND
        row = tick(self.seq, price, ts_recv_ns=self.now_ns)
        self.trading.desk.on_tick(row, self.now_ns)
        self.trading.desk.look(self.now_ns)

    def buy(self, _: int) -> None:
        self._signal(Action.BUY)

    def close(self, _: int) -> None:
        self._signal(Action.CLOSE)

    def _signal(self, action: Action) -> None:
        self.signals += 1
        session = self.trading.session
        price_e4 = session.last_price_e4(0)
        sent = signal(self.signals, action, ts_recv_ns=self.now_ns, price_e4=price_e4)
        self.trading.desk.on_signal(sent, self.now_ns)

    def flatten(self, _: int) -> None:
        self.trading.desk.flatten("kill_switch")

    def halt(self, _: int) -> None:
        self.trading.session.halt("news")
        self.trading.desk.look(self.now_ns)

    def cancel(self, works: int) -> None:
        """Do what was asked to be cancelled, or forget it."""
        asked = self.trading.gateway.cancelled[self.cancels_seen :]
        self.cancels_seen += len(asked)
        for order_id in asked if works else ():
            flight = self.trading.session.flights.known(order_id)
            assert flight is not None
            if flight.left:
                self._say(flight, OrderState.CANCELLED)

    def tell(self, deed: str, which: int) -> None:
        flights = self.trading.session.flights
        some = [f for f in flights.all if bool(f.left) != (deed == "revive")]
        if not some:
            return
        flight = some[which % len(some)]
        if deed == "revive" and flight.standing.state is not OrderState.NEVER_ARRIVED:
            return
        unproven = flight.standing.state in (OrderState.SENT, OrderState.UNKNOWN)
        if deed in ("doubt", "lose") and not unproven:
            return
        state = _STATES[deed]
        lots = {"part": 1, "fill": flight.left // LOT}
        self._say(flight, state, lots[deed] * LOT if deed in lots else 0)

    def _say(self, flight: Flight, state: OrderState, more: int = 0) -> None:
        order, standing = flight.order, flight.standing
        self.account += more if order.side is Side.BUY else -more
        filled = standing.filled + more
        update = OrderUpdate(
            order.order_id,
            OrderState.FILLED if filled == order.quantity else state,
            f"B{order.order_id}" if state not in _UNSEEN else "",
            0,
            filled,
            standing.turnover_e4 + more * order.price_e4,
        )
        self.trading.gateway.tell(update)
        self.trading.desk.hear()

    def settle(self) -> None:
        """Fill and cancel everything, until nothing more happens."""
        for _ in range(40):
            self.tick(100)
            self.trading.desk.act_without_ticks(self.now_ns)
            self.cancel(True)
            for flight in self.trading.session.flights.live:
                state = OrderState.ACCEPTED if flight.enters else OrderState.FILLED
                self._say(flight, state, 0 if flight.enters else flight.left)


_UNSEEN = frozenset({OrderState.UNKNOWN, OrderState.NEVER_ARRIVED})
_STATES = {
    "accept": OrderState.ACCEPTED,
    "part": OrderState.PARTIALLY_FILLED,
    "fill": OrderState.FILLED,
    "reject": OrderState.REJECTED,
    "expire": OrderState.EXPIRED,
    "doubt": OrderState.UNKNOWN,
    "lose": OrderState.NEVER_ARRIVED,
    "revive": OrderState.ACCEPTED,
}


@given(st.lists(DEEDS, max_size=40), st.sampled_from(["close", "flatten"]))
def test_after_the_last_close_nothing_is_held_and_nothing_is_under_way(
    deeds: list[tuple[str, int]], last: str
) -> None:
    day = Day()
    for deed, what in [*deeds, (last, 0)]:
        day.do(deed, what)
        assert day.trading.session.book.held == [day.account]
    day.settle()
    assert day.trading.session.book.held == [day.account] == [0]
    assert not day.trading.session.awaits_fills
