"""Whatever a broker refuses, fills in part or lets rest: one exit for a share, and all closed."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from pipeline.brokers.contract import BrokerBook, Order, OrderState, OrderUpdate
from pipeline.risk.desk import Desk
from pipeline.risk.ledger import MEMORY, Ledger
from pipeline.risk.numbering import is_exit_id
from pipeline.risk.session import RiskSession
from tests.money import e4_of, guide, signal, tick

FATES = st.sampled_from(["fill", "reject", "expire", "rest", "part", "rest deaf"])


class Moody:
    """A broker that treats each exit as its moods say, and in the end fills everything."""

    def __init__(self, moods: Sequence[str]) -> None:
        self._moods = list(moods)
        self._resting: dict[str, tuple[OrderUpdate, bool]] = {}
        self._heard: list[OrderUpdate | BrokerBook] = []

    def send(self, order: Order) -> None:
        mood = self._moods.pop() if self._moods and is_exit_id(order.order_id) else "fill"
        whole, part = order.quantity, order.quantity // 2
        match mood:
            case "fill":
                self._say(order, OrderState.FILLED, whole)
            case "reject":
                self._say(order, OrderState.REJECTED, 0)
            case "expire":
                self._say(order, OrderState.EXPIRED, part)
            case "part":
                self._rest(self._say(order, OrderState.PARTIALLY_FILLED, part), deaf=False)
            case _:
                self._rest(self._say(order, OrderState.ACCEPTED, 0), deaf=mood == "rest deaf")

    def _say(self, order: Order, state: OrderState, filled: int) -> OrderUpdate:
        update = OrderUpdate(
            order_id=order.order_id,
            state=state,
            filled=filled,
            turnover_e4=filled * order.price_e4,
        )
        self._heard.append(update)
        return update

    def _rest(self, update: OrderUpdate, *, deaf: bool) -> None:
        self._resting[update.order_id] = update, deaf

    def cancel(self, order_id: str, broker_id: str) -> None:
        update, deaf = self._resting[order_id]
        if deaf:  # the first cancel is lost
            self._resting[order_id] = update, False
            return
        self._heard.append(
            OrderUpdate(
                order_id=order_id,
                state=OrderState.CANCELLED,
                filled=update.filled,
                turnover_e4=update.turnover_e4,
            )
        )

    def ask(self) -> None: ...

    def take(self) -> Sequence[OrderUpdate | BrokerBook]:
        heard, self._heard = self._heard, []
        return heard

    def close(self) -> None: ...


@given(
    st.lists(FATES, max_size=12),
    st.lists(st.tuples(st.integers(80, 135), st.integers(0, 4_000)), max_size=40),
)
def test_shares_have_one_live_exit_at_most_and_are_closed_in_the_end(
    moods: list[str], moves: list[tuple[int, int]]
) -> None:
    session = RiskSession(guide("risk.order_type=limit", "risk.collar_points=1"))
    desk = Desk(session, Ledger.open(MEMORY), Moody(moods))
    clock_ms = 0
    held = 0
    for seq, (price, wait_ms) in enumerate([(100, 0), *moves, *[(84, 5_000)] * 100], start=1):
        clock_ms += wait_ms
        row = list(tick(seq, price, ts_recv_ns=1 + clock_ms * 1_000_000))
        row[1] += clock_ms * 1_000_000
        if seq == 1:
            desk.on_signal(signal(1, price_e4=e4_of(100)), 0)
        desk.on_tick(tuple(row), row[2])
        position = session.book.position(0)
        held = position.open if position else 0
        assert held or seq > 1, "the entry was filled"
        assert sum(flight.left for flight in session.flights.live) <= held
    assert held == 0
