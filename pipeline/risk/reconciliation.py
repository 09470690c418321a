"""The ledger's view against the broker's: every difference is explained, or entries stay halted.

    order of ours, unproven, not in the books    never arrived, after enough books over enough time
    order of ours, accepted, not in the book     unexplained
    order with a tag that the ledger lacks       unexplained; its tag is not used again
    another order with the tag of one of ours    unexplained
    order without a tag of ours                  outside: told, never touched
    shares that were there at the first look     outside: told, and expected from then on
    shares that differ otherwise                 unexplained, when two books in a row say so and
                                                 no order of ours is under way in the instrument

Fills that were missed need no rule: a book's orders are updates like any other, and are heard
before the book is judged. Who closes our shares by hand in the broker's terminal, or the broker
itself, makes a difference in shares: entries are halted, exits go on for what the account still
has and no more (what nobody holds would be sold short), and a person decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.brokers.contract import BrokerBook, OrderUpdate
from pipeline.risk.history import Outside
from pipeline.risk.in_flight import Flight, InFlight
from pipeline.risk.order_states import UNPROVEN, is_another
from pipeline.settings import Instrument, RecoverySettings

Place = tuple[str, str]  # symbol and product

ANOTHER_RUN = "does another run.name trade this account?"
BOOKS_TO_BELIEVE = 2  # a broker does not answer for orders and positions at one instant


@dataclass(frozen=True, slots=True)
class Findings:
    """What a book told beyond the news of orders."""

    never_arrived: tuple[Flight, ...] = ()
    strangers: tuple[str, ...] = ()  # tags like ours that the ledger does not have
    outside: tuple[Outside, ...] = ()  # found at the first look
    notes: tuple[str, ...] = ()  # explained; a person should know
    unexplained: tuple[str, ...] = ()  # while there are any, there are no entries
    doubtful: bool = False  # ask again soon
    # Instrument -> shares that the account has, where that is less than ours.
    remains: Mapping[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Reconciliation:
    """What the books so far have shown."""

    instruments: Sequence[Instrument]
    settings: RecoverySettings
    looked: bool = False  # at a book of the day, also before a restart
    _outside: dict[Place, int] = field(default_factory=dict)
    _noted: dict[str, int] = field(default_factory=dict)  # outside order -> shares filled
    _differing: dict[Place, tuple[int, int]] = field(default_factory=dict)  # shares, books
    _remains: dict[int, int] = field(default_factory=dict)  # in the book before

    def restore(self, found: Iterable[Outside]) -> None:
        """Take over what was found outside before a restart."""
        for each in found:
            self._outside[each.symbol, each.product] = each.quantity
            self.looked = True

    def judge(self, book: BrokerBook, flights: InFlight, held: Sequence[int]) -> Findings:
        """Compare ``book``, whose orders were heard, with the orders and shares that are ours.

        ``held`` is shares by instrument, long > 0.
        """
        outside = () if self.looked else tuple(self._first_look(book, held))
        self.looked = True
        in_book = {update.order_id for update in book.orders}
        others = [u for u in book.orders if flights.known(u.order_id) is None]
        strangers = tuple(update.order_id for update in others if update.order_id)
        differing, doubtful = self._differences(book, flights, held)
        return Findings(
            never_arrived=tuple(self._never_arrived(book, flights, in_book)),
            strangers=strangers,
            outside=outside,
            notes=tuple(self._notes(others, outside)),
            unexplained=(
                *self._vanished(book, flights, in_book),
                *(f"order {tag} is not in the ledger, {ANOTHER_RUN}" for tag in strangers),
                *self._twins(book, flights),
                *differing,
            ),
            doubtful=doubtful,
            remains=self._remaining(book, flights, held),
        )

    def accept(self, book: BrokerBook, held: Sequence[int]) -> Sequence[Outside]:
        """Take what differs in ``book`` as outside from now on, because a person said so."""
        self._differing.clear()
        return list(self._first_look(book, held))

    # Orders -----------------------------------------------------------------------------------

    def _never_arrived(
        self, book: BrokerBook, flights: InFlight, in_book: set[str]
    ) -> Iterator[Flight]:
        """Count in how many books each is missing; after enough of them it never arrived."""
        wait_ns = int(self.settings.lost_seconds_min * 1e9)
        for flight in flights.live:
            if flight.standing.state not in UNPROVEN or flight.order.order_id in in_book:
                flight.absent = 0
            elif book.asked_ns > flight.sent_ns:
                flight.absent += 1
                waited_ns = book.asked_ns - flight.sent_ns
                if waited_ns >= wait_ns and flight.absent >= self.settings.lost_books_min:
                    yield flight

    def _vanished(self, book: BrokerBook, flights: InFlight, in_book: set[str]) -> Iterator[str]:
        for flight in flights.live:
            order_id, state = flight.order.order_id, flight.standing.state
            if state not in UNPROVEN and order_id not in in_book and book.asked_ns > flight.sent_ns:
                yield f"order {order_id} was {state}, and the broker's book does not have it"

    def _twins(self, book: BrokerBook, flights: InFlight) -> Iterator[str]:
        for update in book.orders:
            flight = flights.known(update.order_id)
            if flight is not None and is_another(flight.standing, update):
                ours = flight.standing.broker_id
                yield f"{update.broker_id} has the tag of our {ours}, {ANOTHER_RUN}"

    def _notes(self, others: Iterable[OrderUpdate], found: Iterable[Outside]) -> Iterator[str]:
        for each in found:
            if each.quantity:
                yield f"{each.quantity} {each.symbol} ({each.product}) are not ours"
        for update in others:
            name = update.order_id or update.broker_id
            if name not in self._noted or self._noted[name] != update.filled:
                self._noted[name] = update.filled
                yield f"order {name} is not ours: {update.state}, {update.filled} filled"

    # Shares -----------------------------------------------------------------------------------

    def _first_look(self, book: BrokerBook, held: Sequence[int]) -> Iterator[Outside]:
        for place, there, ours in self._places(book, held):
            self._outside[place] = there - ours
            yield Outside(*place, there - ours)

    def _differences(
        self, book: BrokerBook, flights: InFlight, held: Sequence[int]
    ) -> tuple[list[str], bool]:
        """Return what differs for long enough, and whether anything differs at all."""
        under_way = {self._place(flight.order.instrument) for flight in flights.live}
        told, doubtful = [], False
        for place, there, ours in self._places(book, held):
            before = self._outside[place] if place in self._outside else 0
            shares = there - ours - before
            if not shares or place in under_way:
                self._differing.pop(place, None)
                continue
            known, books = self._differing[place] if place in self._differing else (shares, 0)
            books = books + 1 if known == shares else 1
            self._differing[place] = shares, books
            doubtful = True
            if books >= BOOKS_TO_BELIEVE:
                text = f"the broker holds {there} {place[0]} ({place[1]}), the ledger {ours}"
                told.append(text + (f", {before} are not ours" if before else ""))
        return told, doubtful

    def _remaining(
        self, book: BrokerBook, flights: InFlight, held: Sequence[int]
    ) -> dict[int, int]:
        """Return what the account has of ours where it is less in two books in a row, accepted or
        not; in any product, because who converts a position has it still."""
        before, under_way = self._remains, {f.order.instrument for f in flights.live}
        self._remains = {}
        for instrument, ours in enumerate(held):
            symbol = self.instruments[instrument].symbol
            there = sum(p.quantity for p in book.positions if p.symbol == symbol)
            has = max(0, there if ours > 0 else -there)
            if has < abs(ours) and instrument not in under_way:
                self._remains[instrument] = has
        return {at: has for at, has in self._remains.items() if at in before and before[at] == has}

    def _places(self, book: BrokerBook, held: Sequence[int]) -> Iterator[tuple[Place, int, int]]:
        """Give symbol and product, the broker's shares and ours of every instrument."""
        for instrument, ours in enumerate(held):
            place = self._place(instrument)
            there = sum(p.quantity for p in book.positions if (p.symbol, p.product) == place)
            yield place, there, ours

    def _place(self, instrument: int) -> Place:
        return self.instruments[instrument].symbol, self.instruments[instrument].product_type
