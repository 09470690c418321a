"""The way to an order, walked for nobody (see runtime/rehearsing.py).

A desk of its own, with a session, a ledger and a gateway of its own, enters at the market's last
price and is stopped out, in short acts: what comes during one waits for its end. What it shares
with the desk that trades is the code and the settings, which nobody can change.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

from pipeline.brokers.contract import OrderGateway
from pipeline.records import Action, SignalRow
from pipeline.risk.desk import Desk
from pipeline.risk.ledger import Ledger
from pipeline.risk.rows import NO_TICK, PRICE, TickRow
from pipeline.risk.rulebook import Rulebook
from pipeline.risk.session import RiskSession
from pipeline.settings import Settings, e4


class Rehearsal:
    """An entry and its exit, an act with each call, by the rules of a run."""

    def __init__(
        self,
        settings: Settings,
        rulebook: Rulebook,
        ledger: Ledger,
        gateway: OrderGateway,
        last_price_e4: Callable[[], int],
    ) -> None:
        """``ledger`` and ``gateway`` are nobody else's, and no broker's. ``last_price_e4`` is that
        of the first instrument, 0 before its first tick.
        """
        hours = settings.session.model_copy(update={"gates": False, "calendar": False})
        self._settings = settings.model_copy(
            update={"instruments": settings.instruments[:1], "session": hours}
        )
        self._rulebook = rulebook
        self._last_price_e4 = last_price_e4
        self._price_max_e4 = e4(settings.risk.entry_price_max)
        self._stop_e4 = e4(settings.risk.base_sl_points)
        self._ledger = ledger
        self._gateway = gateway
        self._acts = cycle((self._begin, self._enter, self._hear, self._leave, self._hear))

    def __call__(self) -> None:
        """Play the next act; before the first tick there is nothing to play."""
        if self._last_price_e4():
            next(self._acts)()

    # Acts ------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Begin anew, so that neither orders nor losses add up."""
        session = RiskSession(self._settings, self._rulebook)
        self._desk = Desk(session, self._ledger, self._gateway, _tell_nobody)
        self._price_e4 = min(self._last_price_e4(), self._price_max_e4)
        self._desk.on_tick(_tick(1, self._price_e4), 0)

    def _enter(self) -> None:
        self._desk.on_signal(_BUY._replace(price_e4=self._price_e4), 0)

    def _hear(self) -> None:
        self._desk.hear()

    def _leave(self) -> None:
        self._desk.on_tick(_tick(2, max(1, self._price_e4 - self._stop_e4)), 0)


_BUY = SignalRow(
    seq=1,
    tick_seq=1,
    ts_event_ns=0,
    ts_recv_ns=0,
    ts_signal_ns=0,
    price_e4=0,
    stop_loss_e4=0,
    take_profit_e4=0,
    confidence=1.0,
    instrument=0,
    action=int(Action.BUY),
    reserved=0,
    reason=b"rehearsal",
)


def _tick(seq: int, price_e4: int) -> TickRow:
    return (seq, 0, 0, price_e4, *NO_TICK[PRICE + 1 :])


def _tell_nobody(kind: str, text: str) -> None:
    """Be the ears of a desk that trades for nobody."""
