"""What is asked of the way from the wire, each beside the figure that answers it."""

from __future__ import annotations

from typing import NamedTuple

from tests.perf.wire.frames import INSTRUMENTS


class Aim(NamedTuple):
    """One figure and how far it shall go: at least or at most."""

    figure: str
    asked: float
    at_least: bool
    unit: str

    def reached(self, value: float) -> bool:
        return value >= self.asked if self.at_least else value <= self.asked


POLL_TO_KITE = "kite: tickpipe, poll, the feed too, of KiteTicker's p50"
POLL_TO_SMART = "smartapi: tickpipe, poll, the feed too, of SmartWebSocketV2's p50"
OVER_BARE = "kite: tickpipe, callback, p50 above the bare wake-ups, µs"
MEMORY_SLOPE = "memory of the feed: slope, bytes a million ticks"
SLOPE_MAX = 4_096  # a page of memory in a million ticks: 400 KiB in the 100 million of a long day

AIMS = (
    Aim(f"Kite: frame of {INSTRUMENTS:,} full packets into the ring, times as fast", 200, True, ""),
    Aim("Kite: one full packet, times as fast", 8, True, ""),
    Aim("SmartAPI: one SnapQuote packet, times as fast", 8, True, ""),
    Aim(POLL_TO_KITE, 1 / 4, False, ""),
    Aim(POLL_TO_SMART, 1 / 3, False, ""),
    Aim(OVER_BARE, 10, False, "µs"),
    Aim(f"intake: ticks/s in frames of {INSTRUMENTS:,}", 1_000_000, True, "/s"),
    Aim("intake: frames/s of one packet", 40_000, True, "/s"),
    Aim(MEMORY_SLOPE, SLOPE_MAX, False, "bytes"),
)


def with_ratios(figures: dict[str, float]) -> dict[str, float]:
    """Return ``figures`` of on_tick.py with what is asked about them, where a peer was there."""
    found = dict(figures)
    for name, ours, theirs in (
        (POLL_TO_KITE, "kite: tickpipe, poll, the feed too", "kite: KiteTicker"),
        (POLL_TO_SMART, "smartapi: tickpipe, poll, the feed too", "smartapi: SmartWebSocketV2"),
    ):
        if {p50_of(ours), p50_of(theirs)} <= figures.keys():
            found[name] = figures[p50_of(ours)] / figures[p50_of(theirs)]
    bare = p50_of("kite: bare wake-ups")
    callback = p50_of("kite: tickpipe, callback")
    if {bare, callback} <= figures.keys():
        found[OVER_BARE] = figures[callback] - figures[bare]
    return found


def p50_of(way: str) -> str:
    return f"{way}, to the callback, p50, µs"
