"""The life of an order. Everything about what may follow what lives here.

    PENDING_NEW → SENT → ACCEPTED → PARTIALLY_FILLED → FILLED | CANCELLED | REJECTED | EXPIRED
                     ↘ UNKNOWN ↗  ↘ NEVER_ARRIVED

What is heard of an order comes by several ways, twice, late and in any order, so there is an
answer to every state in every state. What was filled follows from totals, not from states: more
shares than are known are a fill, whatever the order's state was.

Only a proven refusal is REJECTED (I9). What proves nothing is UNKNOWN; the broker is asked, and
the order is never sent again. NEVER_ARRIVED is what ``has_not_arrived`` finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from pipeline.brokers.contract import Fill, Order, OrderState, OrderUpdate, Side
from pipeline.results.trades import Trade

LIVE = frozenset(
    {
        OrderState.PENDING_NEW,
        OrderState.SENT,
        OrderState.UNKNOWN,
        OrderState.ACCEPTED,
        OrderState.PARTIALLY_FILLED,
    }
)  # more may be filled; in the other states nothing more is expected
UNPROVEN = frozenset({OrderState.PENDING_NEW, OrderState.SENT, OrderState.UNKNOWN})


class Answer(StrEnum):
    """What hearing a state does to the state that is known."""

    MOVES = "→"
    STALE = "."  # older news, or no news
    MOVES_REPORTED = "!"  # what was known before was wrong: a person is told
    IMPOSSIBLE = "x"  # what is known stays: a person is told


HEARD = tuple(OrderState)  # the columns of the table
_TABLE = {
    #                               P S U A p F C R E N
    OrderState.PENDING_NEW:        ". → → → → → → → → →",
    OrderState.SENT:               ". . → → → → → → → →",
    OrderState.UNKNOWN:            ". . . → → → → → → →",
    OrderState.ACCEPTED:           ". . . . → → → → → x",
    OrderState.PARTIALLY_FILLED:   ". . . . . → → ! → x",
    OrderState.FILLED:             ". . . . . . x x x x",
    OrderState.CANCELLED:          ". . . . . ! . x . x",
    OrderState.REJECTED:           ". . . . ! ! x . x .",
    OrderState.EXPIRED:            ". . . . . ! . x . x",
    OrderState.NEVER_ARRIVED:      ". . . ! ! ! ! → ! .",
}  # fmt: skip
_ANSWERS = {
    state: dict(zip(HEARD, map(Answer, row.split()), strict=True)) for state, row in _TABLE.items()
}


def answer(known: OrderState, heard: OrderState) -> Answer:
    """Return what hearing ``heard`` does to an order that is ``known``."""
    return _ANSWERS[known][heard]


class Standing(NamedTuple):
    """What is known of one order."""

    quantity: int  # shares ordered
    state: OrderState = OrderState.PENDING_NEW
    filled: int = 0  # shares
    turnover_e4: int = 0
    broker_id: str = ""

    @property
    def left(self) -> int:
        """Return the shares that may still be filled."""
        return max(0, self.quantity - self.filled) if self.state in LIVE else 0

    def after(self, quantity: int, turnover_e4: int) -> Standing:
        """Return where it stands with ``quantity`` shares more filled."""
        filled = self.filled + quantity
        state = self.state
        if filled >= self.quantity:
            state = OrderState.FILLED
        elif state in LIVE:
            state = OrderState.PARTIALLY_FILLED
        return self._replace(state=state, filled=filled, turnover_e4=self.turnover_e4 + turnover_e4)


class News(NamedTuple):
    """What an update changes."""

    standing: Standing
    quantity: int = 0  # shares filled beyond those known
    turnover_e4: int = 0  # of these
    report: str = ""  # what a person must know; "" = nothing unusual


class Heard(NamedTuple):
    """What an update of an order changed."""

    order: Order
    standing: Standing
    fills: Sequence[Fill] = ()
    trades: Sequence[Trade | None] = ()  # of each fill; None where it entered
    report: str = ""  # what a person must know; "" = nothing unusual


def hear(known: Standing, update: OrderUpdate) -> News:
    """Return what ``update`` says beyond what is ``known``, in any order and however often.

    Another order of the broker with the same tag says nothing of ours; reconciliation.py tells.
    """
    if is_another(known, update):
        return News(known)
    more, gained_e4, wrong_totals = _beyond(known, update)
    filled = known.filled + more
    heard, wrong_state = _true_to_totals(update.state, filled, known.quantity)
    what = answer(known.state, heard)
    reports = [wrong_totals, wrong_state]
    if what in (Answer.MOVES_REPORTED, Answer.IMPOSSIBLE):
        reports.append(f"{heard} was heard of an order that was {known.state}")
    elif more and known.state not in LIVE:
        reports.append(f"{more} shares were filled after it was {known.state}")
    standing = Standing(
        known.quantity,
        heard if what in (Answer.MOVES, Answer.MOVES_REPORTED) else known.state,
        filled,
        known.turnover_e4 + gained_e4,
        known.broker_id or update.broker_id,
    )
    return News(standing, more, gained_e4, "; ".join(filter(None, reports)))


def is_another(known: Standing, update: OrderUpdate) -> bool:
    """Return whether ``update`` is of another order of the broker than the one that is known."""
    return bool(known.broker_id and update.broker_id and update.broker_id != known.broker_id)


def fill_of(order: Order, news: News, ts_event_ns: int) -> Fill:
    """Return what ``news`` fills of ``order``."""
    worse_e4 = news.turnover_e4 - news.quantity * order.price_e4
    return Fill(
        order_id=order.order_id,
        quantity=news.quantity,
        turnover_e4=news.turnover_e4,
        slippage_e4=worse_e4 if order.side is Side.BUY else -worse_e4,
        ts_event_ns=ts_event_ns,
    )


def _beyond(known: Standing, update: OrderUpdate) -> tuple[int, int, str]:
    """Return shares and turnover beyond those known, and what is wrong with the totals."""
    more = update.filled - known.filled
    gained_e4 = update.turnover_e4 - known.turnover_e4
    if more < 0:
        return 0, 0, ""  # older news
    if more == 0:
        # A mean price that the broker rounds differs by less than its last digit a share.
        wrong = abs(gained_e4) > known.filled
        return 0, 0, f"its turnover changed by {gained_e4} e4 without a fill" if wrong else ""
    if gained_e4 <= 0:
        return 0, 0, f"{more} shares were filled at a price of {gained_e4} e4 together"
    over = update.filled - known.quantity
    return more, gained_e4, f"{over} shares more than ordered were filled" if over > 0 else ""


def _true_to_totals(heard: OrderState, filled: int, quantity: int) -> tuple[OrderState, str]:
    """Return the state that fits what is filled, and what is wrong with the one heard."""
    if heard is OrderState.REJECTED and filled:
        state = OrderState.CANCELLED if filled < quantity else OrderState.FILLED
        return state, f"REJECTED was heard with {filled} of {quantity} shares filled"
    if filled >= quantity:  # also when a cancel came too late
        return OrderState.FILLED, ""
    if heard is OrderState.FILLED:
        state = OrderState.PARTIALLY_FILLED if filled else OrderState.ACCEPTED
        return state, f"FILLED was heard with {filled} of {quantity} shares filled"
    if heard is OrderState.ACCEPTED and filled:
        return OrderState.PARTIALLY_FILLED, ""
    if heard is OrderState.PARTIALLY_FILLED and not filled:
        return OrderState.ACCEPTED, ""
    return heard, ""
