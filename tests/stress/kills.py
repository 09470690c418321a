"""kill -9 of risk at random points of a day with open orders, again and again, until it is over.

Risk is a forked child with the product's desk, session and ledger; the ring's cursor and the
queue's count of signals taken are words in shared memory, as in a run. ``scripts/stress kills``
kills 300 times.
"""

from __future__ import annotations

import argparse
import mmap
import os
import signal as signals
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.contract import OrderGateway
from pipeline.brokers.paper.orders import PaperGateway
from pipeline.records import Action
from pipeline.results.trades import Trade
from pipeline.risk.checking import check_ledger
from pipeline.risk.desk import Desk
from pipeline.risk.ledger import Ledger
from pipeline.risk.restoring import catch_up, restore
from pipeline.risk.rows import INSTRUMENT, PRICE, RECEIVED, TickRow, tick_rows
from pipeline.risk.session import RiskSession
from pipeline.settings import Settings
from tests.money import guide, signal, tick, tick_array, two_instruments
from tests.stress.exchange import Client, Exchange

TICKS = 600
LIVES_MAX = 4_000
SECONDS_MAX = 120.0
CURSOR, TAKEN, ACTED = range(3)  # words that outlive a risk
QUICK = (
    "recovery.ask_seconds=0.002",
    "recovery.reconcile_seconds=0.02",
    "recovery.lost_seconds_min=0.05",
    "capital.initial_capital=10000000.0",
    "risk.max_positions_per_day=1000",
)
RETRY = "risk.exit_retry_seconds=0"  # a pause is not remembered over a restart
LIMITS = (
    "risk.order_type=limit",
    "risk.collar_points=1",
    "risk.limit_order_seconds_max=0.005",
)

MakeGateway = Callable[[RiskSession], OrderGateway]
Life = Callable[[], tuple[int, Callable[[], None]]]  # forks a risk: its pid, and what to do after


def make_day(seed: int, instruments: int) -> NDArray[np.void]:
    """Return ticks of a walk that reaches stops and targets."""
    luck = Random(seed)
    prices = [2_000_000] * instruments
    rows = []
    for seq in range(1, TICKS + 1):
        at = luck.randrange(instruments)
        prices[at] = max(500_000, prices[at] + luck.choice((-30_000, -10_000, 10_000, 30_000)))
        rows.append(tick(seq, 0, price_e4=prices[at], instrument=at))
    return tick_array(*rows)


def wanted(row: TickRow) -> Action | None:
    """Return what the strategy wants on a tick; it follows from the tick alone."""
    kind = row[0] % 20
    return {3: Action.BUY, 11: Action.BUY, 17: Action.CLOSE}.get(kind)


def _no_clock() -> int:
    return 0


@dataclass
class Risk:
    """One life of risk after the other, over one ledger."""

    settings: Settings
    ticks: NDArray[np.void]
    ledger: Path
    words: memoryview = field(default_factory=lambda: memoryview(mmap.mmap(-1, 64)).cast("Q"))

    def live(self, make_gateway: MakeGateway, *, patient: bool) -> None:
        """Recover, go on with the day and close what is open.

        ``patient``: at a broker with a clock of its own, wait for each order; else, on paper, the
        ticks are the clock.
        """
        clock = time.monotonic_ns if patient else _no_clock
        with Ledger.open(self.ledger) as ledger:
            session = RiskSession(self.settings)
            restored = restore(session, ledger.history(), time.monotonic_ns())
            restored.handled = max(restored.handled, self.words[CURSOR])
            session.skip_signals(self.words[TAKEN])
            desk = Desk(session, ledger, make_gateway(session), clock=clock)
            rest = catch_up(session, self.ticks[min(restored.oldest, TICKS) :], restored)
            desk.start(time.monotonic_ns())
            for row in tick_rows(rest):
                self._handle(desk, row)
                if patient:
                    desk.act_without_ticks(time.monotonic_ns())
                until = time.monotonic() + 0.01
                while patient and session.awaits_fills and time.monotonic() < until:
                    desk.look(time.monotonic_ns())
            self._finish(desk)

    def _handle(self, desk: Desk, row: TickRow) -> None:
        seq, action = row[0], wanted(row)
        if action is not None and self.words[TAKEN] < seq:
            self.words[TAKEN] = seq
            caused = {"price_e4": row[PRICE], "ts_recv_ns": row[RECEIVED]}
            caused["ts_signal_ns"] = row[RECEIVED]
            order = signal(seq, action, tick_seq=seq, instrument=row[INSTRUMENT], **caused)
            desk.on_signal(order, row[RECEIVED])
        desk.on_tick(row, row[RECEIVED])
        self.words[ACTED] = self.words[TAKEN]
        self.words[CURSOR] = seq
        desk.look(time.monotonic_ns())

    def _finish(self, desk: Desk) -> None:
        until = time.monotonic() + SECONDS_MAX
        while desk.session.awaits_fills or not desk.session.is_flat:
            assert time.monotonic() < until, f"never flat: {desk!r}"
            desk.flatten("Session End")
            desk.look(time.monotonic_ns())
            time.sleep(0.001)


@dataclass
class Outcome:
    """What a day with kills came to."""

    kills: int
    trades: list[Trade]
    wrong: list[str]
    lost: set[int]  # signals that risk had taken and not written an order for when it died


def die_often(risk: Risk, lives: Life, kills: int, luck: Random) -> tuple[int, set[int]]:
    """Kill one risk after the other, ``kills`` of them, and let the next one finish the day."""
    killed, lost = 0, set[int]()
    for _ in range(LIVES_MAX):
        child, bury = lives()
        if killed < kills:
            time.sleep(luck.uniform(0.001, 0.04))
            os.kill(child, signals.SIGKILL)
        _, status = os.waitpid(child, 0)
        bury()
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, "a risk ended by an error; see its traceback"
            break
        killed += 1
        if risk.words[TAKEN] != risk.words[ACTED] and not _was_acted_on(risk):
            lost.add(risk.words[TAKEN])
    else:
        raise AssertionError(f"the day did not end in {LIVES_MAX} lives")
    return killed, lost


def _was_acted_on(risk: Risk) -> bool:
    if not risk.ledger.exists():
        return False
    with Ledger.open(risk.ledger) as ledger:
        return any(order.tick_seq == risk.words[TAKEN] for order, _ in ledger.orders())


def fork(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    finally:
        if code:
            traceback.print_exc()
        os._exit(code)


def undisturbed(
    settings: Settings, ticks: NDArray[np.void], folder: Path
) -> tuple[list[Trade], set[int]]:
    """Return trades and ticks of orders of the day on paper without a kill."""
    risk = Risk(settings, ticks, folder / "undisturbed.sqlite")
    risk.live(lambda session: PaperGateway.of(settings, session.quote, lambda: 0), patient=False)
    with Ledger.read(risk.ledger) as ledger:
        return ledger.trades(), {order.tick_seq for order, _ in ledger.orders()}


def kill_on_paper(seed: int, kills: int, folder: Path) -> tuple[Outcome, list[Trade]]:
    """Kill a risk whose broker is the ledger; return what came of it, and of the quiet day."""
    settings = guide(*QUICK, "risk.slippage_points=0.05", "paper.reject_percent=10", RETRY)
    risk = Risk(settings, make_day(seed, 1), folder / f"paper{seed}.sqlite")

    def make_gateway(session: RiskSession) -> OrderGateway:
        paper = PaperGateway.of(settings, session.quote, lambda: 0)
        for flight in session.flights.all:
            where = flight.standing
            paper.restore(flight.order, where.state, where.filled, where.turnover_e4)
        return paper

    def life() -> tuple[int, Callable[[], None]]:
        return fork(lambda: risk.live(make_gateway, patient=False)), lambda: None

    killed, lost = die_often(risk, life, kills, Random(seed))
    with Ledger.read(risk.ledger) as ledger:
        trades = ledger.trades()
        wrong = check_ledger(settings, ledger.history(), trades)
    quiet, orders = undisturbed(settings, risk.ticks, folder)
    (folder / "undisturbed.sqlite").unlink()
    return Outcome(killed, trades, wrong, lost & orders), quiet


def comparable(trades: Sequence[Trade]) -> list[Trade]:
    """Return trades without the time that an entry took in the process that died."""
    return [trade._replace(signal_to_order_ns=0) for trade in trades]


def kill_at_a_broker(
    seed: int, kills: int, folder: Path, *changes: str
) -> tuple[Outcome, Exchange]:
    """Kill a risk whose broker lives on and misbehaves."""
    settings = two_instruments(*QUICK, *changes)
    risk = Risk(settings, make_day(seed, 2), folder / f"broker{seed}{bool(changes)}.sqlite")
    exchange = Exchange(settings.instruments, seed)

    def life() -> tuple[int, Callable[[], None]]:
        ours, theirs = Pipe()
        child = fork(lambda: risk.live(lambda session: Client(theirs), patient=True))
        theirs.close()
        return child, exchange.serve(ours).join

    killed, lost = die_often(risk, life, kills, Random(seed))
    with Ledger.read(risk.ledger) as ledger:
        trades = ledger.trades()
        wrong = check_ledger(settings, ledger.history(), trades)
        wrong += differences(exchange, ledger)
    return Outcome(killed, trades, wrong, lost), exchange


def differences(exchange: Exchange, ledger: Ledger) -> list[str]:
    """Compare the broker's book with the ledger, order by order."""
    wrong = [f"{tag} was sent {count} times" for tag, count in exchange.tags.items() if count > 1]
    known = {order.order_id: fills for order, fills in ledger.orders()}
    for tag, update in exchange.book.items():
        fills = known[tag] if tag in known else []
        ours = sum(f.quantity for f in fills), sum(f.turnover_e4 for f in fills)
        if ours != (update.filled, update.turnover_e4):
            wrong.append(f"{tag}: the broker has {update}, the ledger {ours}")
    if exchange.told["more closed than held"]:
        wrong.append(f"more closed than held, {exchange.told['more closed than held']} times")
    if any(exchange.held):
        wrong.append(f"the broker holds {exchange.held}")
    return wrong


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=300, help="how many kills (300)")
    parser.add_argument("--seed", type=int, default=1, help="where to begin (1)")


def main(options: argparse.Namespace) -> None:
    done, seed, same, compared = 0, options.seed, 0, 0
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        while done < options.kills:
            paper, quiet = kill_on_paper(seed, 10, Path(name))
            changes = LIMITS if seed % 2 else ()
            broker, exchange = kill_at_a_broker(seed, 10, Path(name), *changes)
            done += paper.kills + broker.kills
            compared += not paper.lost
            same += not paper.lost and comparable(paper.trades) == comparable(quiet)
            wrong += [f"seed {seed}: {each}" for each in paper.wrong + broker.wrong]
            print(
                f"seed {seed}: {done} kills, {len(exchange.tags)} orders at the broker "
                f"({dict(exchange.told)}), {len(wrong)} wrong"
            )
            seed += 1
    print(f"{done} kills; on paper {same} of {compared} days as without kills")
    assert not wrong, "\n".join(wrong)
    assert same == compared, "a kill changed the trades of a day on paper"
