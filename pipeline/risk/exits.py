"""When a position is closed by rule: stops, targets, age and the end of the session.

On every tick, from the entry tick on, in this order:

    past the flat time                 everything    Session End
    level <= entry − base stop         everything    Stop Loss
    level <= entry + breakeven stop    everything    Breakeven Stop    once its gain was there
    level <= best − distance           everything    Trailing Stop     once armed
    as old as the time limit           everything    Time Limit
    level >= entry + target n          its part      Take Profit n     every target not yet reached

A *level* is a price of a long position and the negative price of a short one, so that up is good
and every rule is written once. The trailing stop arms when the level stands ``activation`` above
the entry, the breakeven stop at its own gain; neither is ever disarmed.

All prices are integers (e4). Most ticks change nothing: with the price from ``quiet_low_e4`` to
``quiet_high_e4`` and the time before ``due_ns`` no rule can fire, no extreme can move, and the
caller need not call ``exits_due`` at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from pipeline.risk.reasons import TAKE_PROFIT, Reason, target_number
from pipeline.settings import RiskSettings, e4

NEVER_NS = (1 << 63) - 1  # a time that no tick reaches
ANY_E4 = (1 << 63) - 1  # a level that no price reaches

_MINUTE_NS = 60 * 1_000_000_000


class Exit(NamedTuple):
    """One decision's worth of exit."""

    reason: str
    lots: int


NO_EXITS: tuple[Exit, ...] = ()


class Target(NamedTuple):
    reason: str
    points_e4: int
    part: Decimal  # of the initial lots; the last target closes what is left


@dataclass(frozen=True, slots=True)
class ExitRules:
    """The position rules of a run, prices as integers."""

    base_stop_e4: int
    trailing: bool
    activation_e4: int
    distance_e4: int
    targets: tuple[Target, ...]
    breakeven_gain_e4: int = ANY_E4
    breakeven_stop_e4: int = 0
    age_ns_max: int = NEVER_NS

    @classmethod
    def of(cls, risk: RiskSettings) -> ExitRules:
        levels = zip(risk.tp_points, risk.tp_percents, strict=True)
        gain, minutes = risk.breakeven_gain_points, risk.time_limit_minutes
        return cls(
            base_stop_e4=e4(risk.base_sl_points),
            trailing=risk.use_trail_stop,
            activation_e4=e4(risk.trail_activation_points),
            distance_e4=e4(risk.trail_distance_points),
            targets=tuple(
                Target(f"{TAKE_PROFIT} {n}", e4(points), part)
                for n, (points, part) in enumerate(levels, start=1)
            ),
            breakeven_gain_e4=ANY_E4 if gain is None else e4(gain),
            breakeven_stop_e4=e4(risk.breakeven_stop_points),
            age_ns_max=NEVER_NS if minutes is None else minutes * _MINUTE_NS,
        )


@dataclass(slots=True)
class ExitWatch:
    """What the rules remember of one position."""

    rules: ExitRules
    entry_e4: int
    lots: int  # at entry
    flat_ns: int = NEVER_NS  # exchange time from which everything is closed
    sign: int = 1  # 1 long, -1 short
    entry_ns: int = 0
    targets_reached: int = 0
    armed: bool = False  # the trailing stop
    even: bool = False  # the breakeven stop
    wanted: str = ""  # the reason with which somebody wants all of it closed; "" = nobody
    unsold: dict[str, Exit] = field(default_factory=dict)  # of targets, by order that ended early
    best: int = field(init=False)  # levels since entry, the entry's included
    worst: int = field(init=False)
    stop: int = field(init=False)  # the highest stop in force
    quiet_low_e4: int = field(init=False)
    quiet_high_e4: int = field(init=False)
    due_ns: int = field(init=False)  # exchange time from which a rule of time fires
    _bound_low: int = -ANY_E4
    _bound_high: int = ANY_E4

    def __post_init__(self) -> None:
        self.best = self.worst = self.sign * self.entry_e4
        self.due_ns = min(self.flat_ns, self.limit_ns)
        self.refresh()

    @property
    def limit_ns(self) -> int:
        """Exchange time at which the position is too old."""
        return self.entry_ns + self.rules.age_ns_max

    @property
    def low_e4(self) -> int:
        """The lowest price since entry."""
        return self.worst if self.sign > 0 else -self.best

    @property
    def high_e4(self) -> int:
        """The highest price since entry."""
        return self.best if self.sign > 0 else -self.worst

    @property
    def stop_e4(self) -> int:
        """The price of the stop in force."""
        return self.sign * self.stop

    def refresh(self) -> None:
        """Derive the stop in force and the quiet band from the rest."""
        rules, entry = self.rules, self.sign * self.entry_e4
        stop, calm = entry - rules.base_stop_e4, self.best
        if self.even:
            stop = max(stop, entry + rules.breakeven_stop_e4)
        else:
            calm = min(calm, entry + rules.breakeven_gain_e4 - 1)
        if self.armed:
            stop = max(stop, self.best - rules.distance_e4)
        elif rules.trailing:
            calm = min(calm, entry + rules.activation_e4 - 1)
        if self.targets_reached < len(rules.targets):
            calm = min(calm, entry + rules.targets[self.targets_reached].points_e4 - 1)
        for exit in self.unsold.values():
            calm = min(calm, self.target_level(exit.reason) - 1)
        self.stop = stop
        low = max(self.worst, stop + 1, self._bound_low)
        high = min(calm, self._bound_high)
        if self.wanted:
            low, high = ANY_E4, -ANY_E4
        self.quiet_low_e4, self.quiet_high_e4 = (low, high) if self.sign > 0 else (-high, -low)

    def has_target(self, reason: str) -> bool:
        """Tell whether ``reason`` is that of a target; a person may write one that is not there."""
        return 0 < target_number(reason) <= len(self.rules.targets)

    def target_level(self, reason: str) -> int:
        """Return the level of the target "Take Profit n"."""
        target = self.rules.targets[target_number(reason) - 1]
        return self.sign * self.entry_e4 + target.points_e4

    def want(self, reason: str) -> None:
        """Let the position be closed at any price until it is: somebody wants it, no rule."""
        self.wanted = reason
        self.refresh()

    def owe(self, order_id: str, unsold: Exit | None) -> None:
        """Keep what an order of a target ended without; None = nothing, it may still be filled."""
        if unsold is not None:
            self.unsold[order_id] = unsold
        else:
            self.unsold.pop(order_id, None)
        self.refresh()

    def ordered(self, reason: str) -> int:
        """Forget what is unsold of a target, because it is ordered again; return its lots."""
        again = [order_id for order_id, exit in self.unsold.items() if exit.reason == reason]
        return sum(self.unsold.pop(order_id).lots for order_id in again)

    def bound(self, low: int, high: int) -> None:
        """Let the band be quiet between these levels at most: somebody else watches them."""
        self._bound_low, self._bound_high = low, high
        self.refresh()

    def unsettle(self) -> None:
        """Let no price be quiet until the next ``bound``."""
        self.bound(ANY_E4, -ANY_E4)

    def take(self, price_e4: int) -> None:
        """Take a price the position stood at: extremes, and the arming of stops."""
        level = self.sign * price_e4
        if level > self.best:
            self.best = level
        elif level < self.worst:
            self.worst = level
        gain_e4 = level - self.sign * self.entry_e4
        self.armed |= self.rules.trailing and gain_e4 >= self.rules.activation_e4
        self.even |= gain_e4 >= self.rules.breakeven_gain_e4
        self.refresh()

    def restart(self, entry_e4: int, lots: int) -> None:
        """Measure from another entry price: the entry order filled further."""
        self.entry_e4, self.lots = entry_e4, lots
        self.best = max(self.best, self.sign * entry_e4)
        self.worst = min(self.worst, self.sign * entry_e4)
        self.refresh()


def exits_due(watch: ExitWatch, price_e4: int, now_ns: int, lots_left: int) -> Sequence[Exit]:
    """Take one tick and return the exits it causes, at most ``lots_left`` lots together."""
    watch.take(price_e4)
    level = watch.sign * price_e4
    reason = _reason_to_leave(watch, level, now_ns)
    if reason:
        return (Exit(reason, lots_left),) if lots_left else NO_EXITS
    return _targets_due(watch, level, lots_left)


def _reason_to_leave(watch: ExitWatch, level: int, now_ns: int) -> str:
    if now_ns >= watch.flat_ns:
        return Reason.SESSION_END
    if level <= watch.stop:
        return _stop_hit(watch, level)
    return Reason.TIME_LIMIT if now_ns >= watch.limit_ns else watch.wanted


def _stop_hit(watch: ExitWatch, level: int) -> str:
    """Return which of the stops ``level`` is at or below, the widest first."""
    entry, rules = watch.sign * watch.entry_e4, watch.rules
    if level <= entry - rules.base_stop_e4:
        return Reason.STOP_LOSS
    if watch.even and level <= entry + rules.breakeven_stop_e4:
        return Reason.BREAKEVEN_STOP
    return Reason.TRAILING_STOP


def _targets_due(watch: ExitWatch, level: int, lots_left: int) -> Sequence[Exit]:
    entry, targets, before = watch.sign * watch.entry_e4, watch.rules.targets, watch.targets_reached
    exits = _unsold_due(watch, level, lots_left) if watch.unsold else []
    lots_left -= sum(exit.lots for exit in exits)
    for target in targets[before:]:
        if level < entry + target.points_e4 or not lots_left:
            break
        watch.targets_reached += 1
        last = watch.targets_reached == len(targets)
        wanted = lots_left if last else max(1, int(watch.lots * target.part))
        lots = min(wanted, lots_left)
        lots_left -= lots
        exits.append(Exit(target.reason, lots))
    if exits:
        watch.refresh()
    return exits or NO_EXITS


def _unsold_due(watch: ExitWatch, level: int, lots_left: int) -> list[Exit]:
    """Return again what orders of targets ended without, where the price is (still) there."""
    exits: list[Exit] = []
    for reason in sorted({exit.reason for exit in watch.unsold.values()}, key=target_number):
        if level < watch.target_level(reason) or not lots_left:
            break
        lots = min(watch.ordered(reason), lots_left)
        lots_left -= lots
        exits.append(Exit(reason, lots))
    return exits
