"""The figures that were to be reached, whether they are, and what keeps the others. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

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

HAND_OVER = "feed to strategy"
ANSWER = "strategy: a row to on_tick's answer"


class Target(NamedTuple):
    what: str
    aim: str
    measured: str
    reached: bool
    limit: str  # what the same report says about why it is not more


def target_table(report: Report) -> Table:
    """The figures that were to be reached, and whether they are."""
    return Table(
        "What was to be reached",
        "On this run, on this machine.",
        ["what", "target", "measured", "reached"],
        [
            [each.what, each.aim, each.measured, "yes" if each.reached else "no"]
            for each in _targets(report)
        ],
    )


def limit_table(report: Report) -> Table:
    """What keeps the figures that are not reached; no rows where all are."""
    return Table(
        "What keeps the rest",
        "From the same run: the part of the profile that each figure ends at.",
        ["what was not reached", "where it ends"],
        [[each.what, each.limit] for each in _targets(report) if not each.reached],
    )


def _targets(report: Report) -> Iterable[Target]:
    yield from _against_polling(report)
    yield from _against_direct(report)
    yield from _with_slow_strategy(report)
    yield _sustained(report)
    yield _cpu(report)
    yield from _memory(report)
    same = report["trades"]["identical"]
    yield Target(
        "trades in lockstep, all ways",
        "identical",
        "identical" if same else "DIFFERENT",
        same,
        "a defect: it must hold on every machine",
    )


def _each(loads: Iterable[str], value: Callable[[str], float | None]) -> str:
    return ", ".join(f"{us(value(load))} µs at {load}" for load in loads)


def _against_polling(report: Report) -> Iterable[Target]:
    wake_ups, loads = report["wake up"], (CPU_LOAD, "100/s", "1,000/s")
    direct = _each(loads, lambda load: latency(report, DIRECT, load, HAND_OVER, "p50"))
    bare = _each(loads, lambda load: wake_ups[load]["p50"])
    ends = {
        POLL: f"The guide's callback, with no process and no wait between, takes {direct}: "
        "code that slept runs on cold caches.",
        CALLBACK: f"A bare wake-up between two processes takes {bare}.",
    }
    for way, aim in ((POLL, 1_000), (CALLBACK, 300)):
        ratios, allowed = {}, {}
        for load in loads:
            slow = latency(report, POLLING, load, HAND_OVER, "p50") or 0.0
            fast = latency(report, way, load, HAND_OVER, "p50")
            ratios[load], allowed[load] = slow / (fast or 1.0), slow / aim
        yield Target(
            f"tick in hand → strategy p50, guide's polling loop / {way}",
            f"≥ {aim:,} ×",
            ", ".join(f"{ratio:,.0f} × at {load}" for load, ratio in ratios.items()),
            min(ratios.values()) >= aim,
            f"It allows {_each(loads, allowed.__getitem__)}. {ends[way]}",
        )


def _against_direct(report: Report) -> Iterable[Target]:
    wake_ups = {load: found["p50"] for load, found in report["wake up"].items()}
    for way, allowed in ((POLL, dict.fromkeys(wake_ups, 0)), (CALLBACK, wake_ups)):
        more, parts = (
            {load: _more(report, way, load, stage) for load in wake_ups}
            for stage in ("wire to strategy", HAND_OVER)
        )
        bare = ", ".join(us(ns) for ns in wake_ups.values())
        yield Target(
            f"wire → strategy p50, {way} − guide's callback",
            f"≤ a bare wake-up ({bare} µs)" if way == CALLBACK else "lower",
            _signed(more),
            all(more[load] <= allowed[load] for load in more),
            f"From the frame in hand on it is {_signed(parts)}. The rest lies before that, where "
            "both run the same client: more processes wake beside the sender and share its CPUs.",
        )


def _more(report: Report, way: str, load: str, stage: str) -> float:
    ours, direct = (latency(report, each, load, stage, "p50") for each in (way, DIRECT))
    return (ours or 0.0) - (direct or 0.0)


def _signed(found: dict[str, float]) -> str:
    return ", ".join(f"{ns / 1_000:+,.0f} µs at {load}" for load, ns in found.items())


def _with_slow_strategy(report: Report) -> Iterable[Target]:
    for way in (CALLBACK, DIRECT):
        usual, slow = (each for each in report["slow strategy"] if each["way"] == way)
        usage = ", ".join(f"{n} {u['cpu_percent']:.0f} %" for n, u in slow["usage"].items())
        for stage in ("wire to feed", "feed to risk"):
            before, after = (latency_of(each, stage, "p99") or 1.0 for each in (usual, slow))
            ratio = after / before
            yield Target(
                f"{stage} p99 with a strategy of 5 ms, {way}",
                "≤ 1.5 ×" if way == CALLBACK else "falls behind",
                f"{ratio:,.1f} ×",
                ratio <= 1.5 if way == CALLBACK else ratio > 1.5,
                f"One of {report['machine']['cpus']} CPUs is the strategy's then, and the others "
                f"wait for each other more often: {usage} of a CPU.",
            )


def _sustained(report: Report) -> Target:
    runs = report["without websocket"]
    whole = [e for e in runs if not e["lost"] and e["ticks lost by laps"].startswith("risk 0,")]
    best = max((each["rate"] for each in whole), default=0)
    first = min((each for each in runs if each not in whole), key=_rate, default=runs[-1])
    return Target(
        "ticks/s without loss, per-tick strategy",
        "≥ 500 000",
        f"{best:,}",
        best >= 500_000,
        f"At {first['rate']:,}/s in {first['way']} mode the ring lapped, ticks lost: "
        f"{first['ticks lost by laps']}. Who lost was never idle and came to "
        f"{1e9 / first['handled_per_second']:,.0f} ns a tick{_of_a_cpu(first)}; alone, its answer "
        f"to a tick takes {report['path'][ANSWER]:,.0f} ns. Three busy processes share "
        f"{report['machine']['cpus']} CPUs.",
    )


def _of_a_cpu(run: Report) -> str:
    """Return what each process took; empty in a report that did not measure it."""
    usage = run["usage"] if "usage" in run else {}
    parts = ", ".join(f"{name} {took['cpu_percent']:.0f} %" for name, took in usage.items())
    return f" ({parts} of a CPU)" if parts else ""


def _rate(run: dict[str, int]) -> int:
    return run["rate"]


def _cpu(report: Report) -> Target:
    cpu, wakeups = (
        over_runs(report, CALLBACK, CPU_LOAD, lambda each, name=name: total(each, name)) or 0.0
        for name in ("cpu_percent", "wakeups_per_second")
    )
    return Target(
        f"CPU of callback mode at {CPU_LOAD}, all processes",
        "≤ 3 %",
        f"{cpu:.1f} %",
        cpu <= 3,
        f"{wakeups:.0f} wake-ups a second, {1e4 * cpu / (wakeups or 1.0):.0f} µs of CPU each: each "
        "tick wakes three processes, each of which gives ten heartbeats a second.",
    )


def _memory(report: Report) -> Iterable[Target]:
    ours = (CALLBACK, ADAPTIVE, POLL)
    runs = [each for each in report["loads"] if each["way"] in ours]
    most = max(total(each, "memory_mb") for each in runs)
    growth = max(total(each, "heap_mb") - total(each, "heap_start_mb") for each in runs)
    by_process = "The table of the processes says which one holds it."
    yield Target(
        "memory of all processes", "≤ 200 MB", f"{most:.0f} MB at most", most <= 200, by_process
    )
    yield Target(
        "heap from the warm-up to the end of a load",
        "flat",
        f"{growth:+.1f} MB at most",
        growth < 1,
        by_process,
    )
