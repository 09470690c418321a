"""When a long position is sold: stop, trailing stop, targets and the end of the session.

On every tick, from the entry tick on, in this order:

    past the flat time              everything      Session End
    price <= entry − base stop      everything      Stop Loss
    price <= high − distance        everything      Trailing Stop    once armed
    price >= entry + target n       its part        Take Profit n    every target not yet reached

The trailing stop arms when the price stands ``activation`` above the entry. All prices are
integers (e4). Most ticks change nothing: between ``quiet_low_e4`` and ``quiet_high_e4`` no rule
can fire, no extreme can move, and the caller need not call ``exits_due`` at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from pipeline.records import ExitKind
from pipeline.settings import RiskSettings, e4

STOP_LOSS = "Stop Loss"
TRAILING_STOP = "Trailing Stop"
TAKE_PROFIT = "Take Profit"
SESSION_END = "Session End"

NEVER_NS = (1 << 63) - 1  # a flat time that no tick reaches


class Exit(NamedTuple):
    """One order's worth of exit."""

    reason: str
    lots: int


NO_EXITS: tuple[Exit, ...] = ()


class Target(NamedTuple):
    reason: str
    points_e4: int
    part: Decimal  # of the initial lots; the last target sells what is left


@dataclass(frozen=True, slots=True)
class ExitRules:
    """The position rules of a run, prices as integers."""

    base_stop_e4: int
    trailing: bool
    activation_e4: int
    distance_e4: int
    targets: tuple[Target, ...]

    @classmethod
    def of(cls, risk: RiskSettings) -> ExitRules:
        levels = zip(risk.tp_points, risk.tp_percents, strict=True)
        return cls(
            base_stop_e4=e4(risk.base_sl_points),
            trailing=risk.use_trail_stop,
            activation_e4=e4(risk.trail_activation_points),
            distance_e4=e4(risk.trail_distance_points),
            targets=tuple(
                Target(f"{TAKE_PROFIT} {n}", e4(points), part)
                for n, (points, part) in enumerate(levels, start=1)
            ),
        )


@dataclass(slots=True)
class ExitWatch:
    """What the rules remember of one long position."""

    rules: ExitRules
    entry_e4: int
    lots: int  # at entry
    flat_ns: int = NEVER_NS  # exchange time from which everything is sold
    targets_reached: int = 0
    armed: bool = False
    high_e4: int = field(init=False)  # best price since entry, the entry's included
    low_e4: int = field(init=False)
    stop_e4: int = field(init=False)  # the stop in force: base or trailing
    quiet_low_e4: int = field(init=False)
    quiet_high_e4: int = field(init=False)

    def __post_init__(self) -> None:
        self.high_e4 = self.low_e4 = self.entry_e4
        self.refresh()

    def refresh(self) -> None:
        """Derive the stop in force and the quiet band from the rest."""
        rules = self.rules
        stop_e4 = self.entry_e4 - rules.base_stop_e4
        quiet_high_e4 = self.high_e4
        if self.armed:
            stop_e4 = max(stop_e4, self.high_e4 - rules.distance_e4)
        elif rules.trailing:
            quiet_high_e4 = min(quiet_high_e4, self.entry_e4 + rules.activation_e4 - 1)
        self.stop_e4 = stop_e4
        self.quiet_low_e4 = max(self.low_e4, stop_e4 + 1)
        self.quiet_high_e4 = quiet_high_e4

    def take(self, price_e4: int) -> None:
        """Take a price the position stood at: extremes, and the arming of the trailing stop."""
        if price_e4 > self.high_e4:
            self.high_e4 = price_e4
        elif price_e4 < self.low_e4:
            self.low_e4 = price_e4
        if not self.armed:
            gain_e4 = price_e4 - self.entry_e4
            self.armed = self.rules.trailing and gain_e4 >= self.rules.activation_e4
        self.refresh()

    def restart(self, entry_e4: int, lots: int) -> None:
        """Measure from another entry price: the entry order filled further."""
        self.entry_e4, self.lots = entry_e4, lots
        self.high_e4 = max(self.high_e4, entry_e4)
        self.low_e4 = min(self.low_e4, entry_e4)
        self.refresh()


def exits_due(watch: ExitWatch, price_e4: int, now_ns: int, lots_left: int) -> Sequence[Exit]:
    """Take one tick and return the exits it causes, at most ``lots_left`` lots together."""
    watch.take(price_e4)
    reason = _reason_to_leave(watch, price_e4, now_ns)
    if reason:
        return (Exit(reason, lots_left),) if lots_left else NO_EXITS
    return _targets_due(watch, price_e4, lots_left)


def _reason_to_leave(watch: ExitWatch, price_e4: int, now_ns: int) -> str:
    if now_ns >= watch.flat_ns:
        return SESSION_END
    if price_e4 <= watch.entry_e4 - watch.rules.base_stop_e4:
        return STOP_LOSS
    return TRAILING_STOP if watch.armed and price_e4 <= watch.stop_e4 else ""


def _targets_due(watch: ExitWatch, price_e4: int, lots_left: int) -> Sequence[Exit]:
    targets = watch.rules.targets
    exits: list[Exit] = []
    for target in targets[watch.targets_reached :]:
        if price_e4 < watch.entry_e4 + target.points_e4:
            break
        watch.targets_reached += 1
        last = watch.targets_reached == len(targets)
        wanted = lots_left if last else max(1, int(watch.lots * target.part))
        lots = min(wanted, lots_left)
        lots_left -= lots
        if lots:
            exits.append(Exit(target.reason, lots))
    return exits or NO_EXITS


_KINDS = {
    STOP_LOSS: ExitKind.STOP_LOSS,
    TRAILING_STOP: ExitKind.TRAILING_STOP,
    SESSION_END: ExitKind.SESSION_END,
}


def kind_of(reason: str) -> ExitKind:
    """Return the kind that the positions cell shows for an exit reason."""
    if target_number(reason):
        return ExitKind.TAKE_PROFIT
    return _KINDS[reason] if reason in _KINDS else ExitKind.OTHER


def target_number(reason: str) -> int:
    """Return n of "Take Profit n", 0 for every other reason."""
    word, _, number = reason.rpartition(" ")
    return int(number) if word == TAKE_PROFIT and number.isascii() and number.isdigit() else 0
