"""The figures that were to be reached, and whether they are. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from tests.perf.compare.tables import (
    ADAPTIVE,
    CALLBACK,
    CPU_LOAD,
    DIRECT,
    POLL,
    POLLING,
    Report,
    Table,
    latency,
    latency_of,
    over_runs,
    total,
    us,
)


def target_table(report: Report) -> Table:
    """The figures that were to be reached, and whether they are."""
    return Table(
        "What was to be reached",
        "On this run, on this machine.",
        ["what", "target", "measured", "reached"],
        [
            [what, aim, shown, "yes" if reached else "no"]
            for what, aim, shown, reached in _targets(report)
        ],
    )


def _targets(report: Report) -> Iterable[tuple[str, str, str, bool]]:
    yield from _against_polling(report)
    yield from _against_direct(report)
    yield from _with_slow_strategy(report)
    best = max((e["rate"] for e in report["without websocket"] if not e["lost"]), default=0)
    yield "ticks/s without loss, per-tick strategy", "≥ 500 000", f"{best:,}", best >= 500_000
    cpu = over_runs(report, CALLBACK, CPU_LOAD, lambda each: total(each, "cpu_percent")) or 0.0
    yield f"CPU of callback mode at {CPU_LOAD}, all processes", "≤ 3 %", f"{cpu:.1f} %", cpu <= 3
    yield from _memory(report)
    same = report["trades"]["identical"]
    yield "trades in lockstep, all ways", "identical", "identical" if same else "DIFFERENT", same


def _against_polling(report: Report) -> Iterable[tuple[str, str, str, bool]]:
    for way, aim in ((POLL, 1_000), (CALLBACK, 300)):
        ratios = {}
        for load in (CPU_LOAD, "100/s", "1,000/s"):
            slow = latency(report, POLLING, load, "feed to strategy", "p50")
            fast = latency(report, way, load, "feed to strategy", "p50")
            ratios[load] = (slow or 0.0) / (fast or 1.0)
        shown = ", ".join(f"{ratio:,.0f} × at {load}" for load, ratio in ratios.items())
        what = f"tick in hand → strategy p50, guide's polling loop / {way}"
        yield what, f"≥ {aim:,} ×", shown, min(ratios.values()) >= aim


def _against_direct(report: Report) -> Iterable[tuple[str, str, str, bool]]:
    wake_ups = {load: found["p50"] for load, found in report["wake up"].items()}
    for way, allowed in ((POLL, dict.fromkeys(wake_ups, 0)), (CALLBACK, wake_ups)):
        more = {}
        for load in wake_ups:
            ours = latency(report, way, load, "wire to strategy", "p50") or 0.0
            direct = latency(report, DIRECT, load, "wire to strategy", "p50") or 0.0
            more[load] = ours - direct
        shown = ", ".join(f"{ns / 1_000:+,.0f} µs at {load}" for load, ns in more.items())
        bare = ", ".join(us(ns) for ns in wake_ups.values())
        aim = f"≤ a bare wake-up ({bare} µs)" if way == CALLBACK else "lower"
        what = f"wire → strategy p50, {way} − guide's callback"
        yield what, aim, shown, all(more[load] <= allowed[load] for load in more)


def _with_slow_strategy(report: Report) -> Iterable[tuple[str, str, str, bool]]:
    for way in (CALLBACK, DIRECT):
        runs = [each for each in report["slow strategy"] if each["way"] == way]
        usual, slow = runs  # without the work, with it
        for stage in ("wire to feed", "feed to risk"):
            before, after = (latency_of(each, stage, "p99") or 1.0 for each in (usual, slow))
            what = f"{stage} p99 with a strategy of 5 ms, {way}"
            aim = "≤ 1.5 ×" if way == CALLBACK else "falls behind"
            ratio = after / before
            yield what, aim, f"{ratio:,.1f} ×", ratio <= 1.5 if way == CALLBACK else ratio > 1.5


def _memory(report: Report) -> Iterable[tuple[str, str, str, bool]]:
    ours = (CALLBACK, ADAPTIVE, POLL)
    runs = [each for each in report["loads"] if each["way"] in ours]
    most = max(total(each, "memory_mb") for each in runs)
    growth = max(total(each, "heap_mb") - total(each, "heap_start_mb") for each in runs)
    yield "memory of all processes", "≤ 200 MB", f"{most:.0f} MB at most", most <= 200
    yield (
        "heap from the warm-up to the end of a load",
        "flat",
        f"{growth:+.1f} MB at most",
        growth < 1,
    )
