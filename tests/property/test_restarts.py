"""A risk that dies between two ticks, however often: its losses and trades are those of one."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.records import Action
from pipeline.results.trades import Trade
from pipeline.risk.desk import Desk
from pipeline.risk.ledger import Ledger
from pipeline.risk.restoring import catch_up, restore
from pipeline.risk.session import RiskSession
from tests.money import Recorder, Trading, signal, tick, tick_array, two_instruments

SETTINGS = two_instruments(
    "risk.drawdown_max=1500.0",
    "risk.daily_loss_max=2500.0",
    "capital.initial_capital=40000.0",
    "risk.slippage_points=0.5",
)
TICK_NS = 300_000_000


@dataclass
class Life:
    """A day of ticks, traded by one risk after the other."""

    trading: Trading = field(default_factory=lambda: Trading(SETTINGS))
    rows: list[tuple[int, ...]] = field(default_factory=list)

    def handle(self, instrument: int, price: int, buys: bool) -> None:
        seq = len(self.rows) + 1
        row = tick(seq, price, instrument=instrument, ts_recv_ns=seq * TICK_NS)
        row = (row[0], row[1] + seq * TICK_NS, *row[2:])
        self.rows.append(row)
        desk = self.trading.desk
        if buys:
            caused = {"ts_event_ns": row[1], "price_e4": row[3]}
            caused |= {"ts_recv_ns": row[2], "ts_signal_ns": row[2]}
            wanted = signal(seq, Action.BUY, tick_seq=seq, instrument=instrument, **caused)
            desk.on_signal(wanted, row[2])
        desk.on_tick(row, row[2])
        desk.look(row[2])

    def die(self) -> None:
        """Go on with another risk, which has what was durable and the ticks of the ring."""
        trading, handled = self.trading, len(self.rows)
        trading.ledger = Ledger(trading.ledger._database)  # what waited is lost
        trading.session = RiskSession(SETTINGS)
        restored = restore(trading.session, trading.ledger.history())
        restored.handled = handled
        missed = tick_array(*self.rows[restored.oldest :])
        assert not len(catch_up(trading.session, missed, restored))
        trading.session.skip_signals(handled)
        trading.gateway = Recorder(trading.ledger)
        trading.desk = Desk(trading.session, trading.ledger, trading.gateway)

    @property
    def outcome(self) -> tuple[list[Trade], str, int, int]:
        session = self.trading.session
        equity_e4 = session.statistics().equity_e4
        held = sum(position.quantity for position in session.book.open_positions())
        return self.trading.ledger.trades(), str(session.mandate), equity_e4, held


MOVES = st.tuples(st.integers(0, 1), st.integers(80, 130), st.booleans())


@given(st.lists(MOVES, max_size=40), st.sets(st.integers(0, 39)))
@example([(0, 100, True), (0, 104, False), (0, 103, False), (0, 99, False)], {1, 2})
@example([(0, 100, True), (1, 100, True), (1, 90, False), (0, 104, False), (1, 89, False)], {3})
def test_deaths_between_ticks_change_no_trade_and_no_halt(
    moves: list[tuple[int, int, bool]], deaths: set[int]
) -> None:
    whole, often = Life(), Life()
    for at, move in enumerate(moves):
        whole.handle(*move)
        often.handle(*move)
        if at in deaths:
            often.die()
    assert often.outcome == whole.outcome


def test_the_highest_equity_outlasts_a_restart_though_nothing_was_filled_there() -> None:
    life = Life()
    life.handle(0, 100, True)
    for price in (102, 104):  # 375 shares: the best is 1 500 above the entry
        life.handle(0, price, False)
    life.die()
    life.handle(0, 100, False)
    assert life.trading.session.mandate.reason == "max_drawdown"
