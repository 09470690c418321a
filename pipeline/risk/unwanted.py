"""Orders of which nothing more should be filled: the desk asks the broker to cancel them. Pure.

An entry    while there are no entries, when somebody wants out of its instrument, once an exit of
            its position was sent, and at the end of its session
Any order   that came to life again after its end: another may have taken its place

All of it follows from what the ledger keeps, so another risk cancels the same. What is filled all
the same is booked, and closed where somebody wants out.
"""

from __future__ import annotations

from pipeline.risk.in_flight import Flight
from pipeline.risk.session import RiskSession


def unwanted(session: RiskSession) -> list[Flight]:
    """Return these orders of ``session``, oldest first."""
    live = session.flights.live
    return [f for f in live if f.revived or (f.enters and _is_over(session, f))]


def _is_over(session: RiskSession, entry: Flight) -> bool:
    instrument = entry.order.instrument
    return (
        not session.mandate.takes_entries
        or bool(session.watches.wanted[instrument])
        or session.numbering.has_exits(instrument)
        or session.watches.past(entry.order, session.newest_event_ns)
    )
