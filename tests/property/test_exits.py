"""Exits: the quiet band hides nothing, and a short position is a long one in the mirror.

Prices, rules, times, fills of the entry and orders on their way out are what nobody chose.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from pipeline.risk.exits import NEVER_NS, Exit, ExitRules, ExitWatch, exits_due
from tests.money import guide

ENTRY_E4 = 2_000_000
MIRROR_E4 = 2 * ENTRY_E4  # a price and what it is taken off this to
MINUTE_NS = 60_000_000_000

points = st.sampled_from([0.05, 1, 5, 7.5, 12, 30])
rules_of_all_kinds = st.builds(
    lambda stop, trail, activation, distance, targets, gain, kept, minutes: ExitRules.of(
        guide(
            f"risk.base_sl_points={stop}",
            f"risk.use_trail_stop={str(trail).lower()}",
            f"risk.trail_activation_points={activation}",
            f"risk.trail_distance_points={distance}",
            f"risk.tp_points={targets}",
            f"risk.tp_percents={[0.2] * len(targets)}",
            *(
                (f"risk.breakeven_gain_points={gain}", f"risk.breakeven_stop_points={gain * kept}")
                if gain
                else ()
            ),
            *((f"risk.time_limit_minutes={minutes}",) if minutes else ()),
        ).risk
    ),
    points,
    st.booleans(),
    st.sampled_from([0, 0.05, 5, 12.5]),
    points,
    st.sampled_from([[], [5.0], [0.05, 5.0, 12.0], [5.0, 12.0, 20.0, 30.0]]),
    st.sampled_from([None, 0.1, 5, 20]),
    st.sampled_from([0, 0.5]),
    st.sampled_from([None, 1, 3]),
)


@dataclass(frozen=True)
class Tick:
    price_e4: int
    now_ns: int


@dataclass(frozen=True)
class EntryFill:
    entry_e4: int
    lots: int


prices = st.one_of(
    st.integers(ENTRY_E4 - 400_000, ENTRY_E4 + 400_000),
    st.sampled_from([-150_000, -50_000, -500, 0, 500, 50_000, 120_000, 300_000]).map(
        lambda away: ENTRY_E4 + away
    ),
)
one_step = st.one_of(
    st.builds(Tick, prices, st.integers(0, 5).map(lambda minutes: minutes * MINUTE_NS)),
    st.builds(EntryFill, prices, st.integers(1, 40)),
)
steps = st.lists(one_step, max_size=40)
edges = st.tuples(st.booleans(), st.sampled_from([-1, 0, 1]))  # of the band as it is then


@dataclass
class Holder:
    """A position whose exits fill at once, but for those that stay on their way."""

    watch: ExitWatch
    left: int
    only_outside_the_band: bool
    exits: list[Exit] = field(default_factory=list)

    def take(self, step: Tick | EntryFill) -> list[Exit]:
        if isinstance(step, EntryFill):
            self.left += step.lots
            self.watch.restart(step.entry_e4, self.watch.lots + step.lots)
            return []
        if self.only_outside_the_band and self._is_quiet(step):
            return []
        due = list(exits_due(self.watch, step.price_e4, step.now_ns, self.left))
        self.left -= sum(exit.lots for exit in due)
        return due

    def _is_quiet(self, tick: Tick) -> bool:
        watch = self.watch
        inside = watch.quiet_low_e4 <= tick.price_e4 <= watch.quiet_high_e4
        return inside and tick.now_ns < watch.due_ns

    @property
    def state(self) -> tuple[object, ...]:
        watch = self.watch
        extremes = (watch.low_e4, watch.high_e4, watch.stop_e4)
        return (*extremes, watch.armed, watch.even, watch.targets_reached)


def holder(
    rules: ExitRules, sign: int, lots: int, flat_ns: int, *, only_outside_the_band: bool = False
) -> Holder:
    return Holder(ExitWatch(rules, ENTRY_E4, lots, flat_ns, sign), lots, only_outside_the_band)


def at_the_edge(watch: ExitWatch, high: bool, away: int) -> Tick:
    return Tick((watch.quiet_high_e4 if high else watch.quiet_low_e4) + away, 0)


flat_times = st.sampled_from([NEVER_NS, 4 * MINUTE_NS])


@given(
    rules_of_all_kinds,
    st.sampled_from([1, -1]),
    st.integers(1, 40),
    flat_times,
    st.lists(st.one_of(one_step, edges), max_size=40),
)
def test_looking_outside_the_quiet_band_only_gives_the_same_exits(
    rules: ExitRules,
    sign: int,
    lots: int,
    flat_ns: int,
    day: list[Tick | EntryFill | tuple[bool, int]],
) -> None:
    always = holder(rules, sign, lots, flat_ns)
    seldom = holder(rules, sign, lots, flat_ns, only_outside_the_band=True)
    for each in day:
        step = at_the_edge(seldom.watch, *each) if isinstance(each, tuple) else each
        assert seldom.take(step) == always.take(step)
        assert seldom.state == always.state


@given(
    rules_of_all_kinds,
    st.sampled_from([1, -1]),
    steps,
    st.lists(st.tuples(prices, prices), min_size=1, max_size=5),
)
def test_a_narrower_band_is_never_wider_than_the_rules_allow(
    rules: ExitRules, sign: int, day: list[Tick | EntryFill], bounds: list[tuple[int, int]]
) -> None:
    free, bound = (holder(rules, sign, 10, NEVER_NS) for _ in range(2))
    for at, step in enumerate(day):
        low, high = bounds[at % len(bounds)]
        bound.watch.bound(sign * low, sign * high)
        assert free.take(step) == bound.take(step)
        assert free.watch.quiet_low_e4 <= bound.watch.quiet_low_e4
        assert free.watch.quiet_high_e4 >= bound.watch.quiet_high_e4
        bound.watch.unsettle()
        assert bound.watch.quiet_low_e4 > bound.watch.quiet_high_e4


def mirrored(step: Tick | EntryFill) -> Tick | EntryFill:
    if isinstance(step, Tick):
        return Tick(MIRROR_E4 - step.price_e4, step.now_ns)
    return EntryFill(MIRROR_E4 - step.entry_e4, step.lots)


@given(rules_of_all_kinds, st.integers(1, 40), flat_times, steps)
def test_a_short_position_is_a_long_one_in_the_mirror(
    rules: ExitRules, lots: int, flat_ns: int, day: list[Tick | EntryFill]
) -> None:
    long, short = holder(rules, 1, lots, flat_ns), holder(rules, -1, lots, flat_ns)
    for step in day:
        assert short.take(mirrored(step)) == long.take(step)
        assert short.watch.stop_e4 == MIRROR_E4 - long.watch.stop_e4
        assert short.watch.high_e4 == MIRROR_E4 - long.watch.low_e4
        assert short.watch.low_e4 == MIRROR_E4 - long.watch.high_e4
