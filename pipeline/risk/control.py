"""What people may ask of a running risk process, and what it answers.

    halt      no entries any more; orders that would enter are cancelled; exits go on
    flatten   halt, and close everything now
    resume    entries again; whoever asks types the name of the run
    close     close everything and go on: what a user's program asks
    status    nothing changes

Nothing resumes by itself: a halt is in the ledger of the day, where another risk process finds it,
and the ledger of the next day begins with it. What keeps entries out besides (the broker's book, a
full disk) is not lifted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from pipeline.records import PRICE_SCALE, REASON_BYTES
from pipeline.risk.desk import Desk
from pipeline.risk.reasons import Reason

CONTROL = "control"  # the kind of an event: what was asked, and by whom

Message = Mapping[str, object]
Tell = Callable[[str, str], None]


class Control:
    """Answers requests between two turns of risk's duty cycle."""

    def __init__(self, run_name: str, desk: Desk, tell: Tell) -> None:
        """``tell`` is given the kind and the text of an event that a person should know."""
        self._run_name = run_name
        self._desk = desk
        self._session = desk.session
        self._tell = tell
        self._verbs: dict[object, Callable[[Message], Message]] = {
            "halt": self._halt,
            "flatten": self._flatten,
            "resume": self._resume,
            "close": self._close,
            "status": self._status,
        }

    def answer(self, message: Message) -> Message:
        """Do what ``message`` asks and return the answer; {"refused": why} where it may not."""
        verb = message.get("verb")
        if verb not in self._verbs:
            known = ", ".join(map(str, self._verbs))
            return {"refused": f"{verb!r} is not understood\n  rule: one of {known}"}
        return self._verbs[verb](message)

    def _halt(self, message: Message) -> Message:
        self._session.halt(self._note("halt", message))
        self._desk.cancel_entries()
        return {"text": f"halted: no entries; exits go on by their rules{self._held()}"}

    def _flatten(self, message: Message) -> Message:
        self._session.halt(self._note("flatten", message))
        held = self._held()
        self._desk.flatten(Reason.KILL_SWITCH)
        return {"text": f"halted, closing everything{held}"}

    def _close(self, message: Message) -> Message:
        reason = str(message.get("reason") or Reason.MANUAL)
        if len(reason.encode()) > REASON_BYTES:
            return {"refused": f"a reason has at most {REASON_BYTES} bytes"}
        self._note("close", message)
        held = self._held()
        self._desk.flatten(reason)
        return {"text": f"closing everything{held}"}

    def _resume(self, message: Message) -> Message:
        if message.get("unlock") != self._run_name:
            return {
                "refused": f"{message.get('unlock')!r} does not unlock\n"
                f"  rule: whoever allows entries again types the name of the run\n"
                f"  cure: type {self._run_name}"
            }
        self._session.resume(self._note("resume", message))
        self._desk.accept_differences()
        still = self._session.halted
        return {"text": f"resumed, but there are no entries yet: {still}" if still else "resumed"}

    def _status(self, message: Message) -> Message:
        session = self._session
        statistics = session.statistics()
        return {
            "facts": {
                "run": self._run_name,
                "trading": str(session.mandate),
                "entries": f"none: {session.halted}" if session.halted else "yes",
                "cash": _rupees(statistics.cash_e4),
                "equity": _rupees(statistics.equity_e4),
                "signals": f"{statistics.signals}, {statistics.refused} refused",
                "orders": str(statistics.orders),
                "trades": str(statistics.trades),
                "newest tick": str(session.as_of_seq),
            },
            "positions": self._positions(),
            "orders": self._orders(),
        }

    def _positions(self) -> list[dict[str, str]]:
        session = self._session
        return [
            {
                "symbol": session.instruments[position.instrument].symbol,
                "shares": f"{position.quantity:+}",
                "entry": _rupees(position.entry_e4),
                "last": _rupees(session.last_price_e4(position.instrument)),
            }
            for position in session.book.open_positions()
        ]

    def _orders(self) -> list[dict[str, str]]:
        return [
            {
                "order": flight.order.order_id,
                "symbol": flight.order.symbol,
                "side": flight.order.side.value,
                "shares": str(flight.order.quantity),
                "filled": str(flight.standing.filled),
                "state": flight.standing.state.value,
            }
            for flight in self._session.flights.live
        ]

    def _held(self) -> str:
        held = [f"{p['shares']} {p['symbol']}" for p in self._positions()]
        return f"; held: {', '.join(held) or 'nothing'}"

    def _note(self, verb: str, message: Message) -> str:
        """Write who asked for what; return it as the reason of a mandate."""
        why = " ".join(str(message.get("reason") or "").split())[:REASON_BYTES]
        by = f"by {message.get('by') or 'a program'}"
        text = f"{verb} {by}: {why}" if why else f"{verb} {by}"
        self._tell(CONTROL, text)
        return text


def _rupees(price_e4: int) -> str:
    return f"₹{Decimal(price_e4) / PRICE_SCALE:,.2f}"
