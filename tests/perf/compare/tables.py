"""From what was measured to tables that people read. Pure: a report in, tables out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Report = dict[str, Any]

POLLING, DIRECT = "guide, polling", "guide, callback"
CALLBACK, ADAPTIVE, POLL = "callback", "adaptive", "poll"
FLAT_OUT = "flat out"
CPU_LOAD = "20/s"
STATISTICS = ("p50", "p90", "p99", "p99.9", "max")

STAGES = {
    "wire to feed": "intended time of sending → the whole frame in hand",
    "feed to strategy": "frame in hand → on_tick is called",
    "wire to strategy": "intended time of sending → on_tick is called",
    "signal to risk": "the strategy had decided → risk has the signal",
    "signal to order": "the strategy had decided → the order is handed to the gateway",
    "wire to order": "intended time of sending → the order is handed to the gateway",
    "feed to risk": "frame in hand → risk is done with the tick, exits included",
}


@dataclass(frozen=True)
class Table:
    title: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


# Numbers -------------------------------------------------------------------------------------


def ways_of(report: Report) -> list[str]:
    return list(report["ways"])


def loads_of(report: Report) -> list[str]:
    return list(dict.fromkeys(each["load"] for each in report["loads"]))


def over_runs(
    report: Report, way: str, load: str, number: Callable[[dict[str, Any]], float | None]
) -> float | None:
    """Return the median over the runs of one way with one load; None where there is none."""
    found = [number(each) for each in report["loads"] if (each["way"], each["load"]) == (way, load)]
    known = [float(value) for value in found if value is not None]
    return median(known) if known else None


def latency_of(measured: dict[str, Any], stage: str, statistic: str) -> float | None:
    """Return a latency in ns; None where it was not measured."""
    if stage not in measured["latency"] or statistic not in measured["latency"][stage]:
        return None
    return float(measured["latency"][stage][statistic])


def latency(report: Report, way: str, load: str, stage: str, statistic: str) -> float | None:
    return over_runs(report, way, load, lambda each: latency_of(each, stage, statistic))


def total(measured: dict[str, Any], figure: str) -> float:
    """Return a figure of usage over the processes of the way; the sender is not one of them."""
    parts = (usage[figure] for name, usage in measured["usage"].items() if name != "sender")
    return float(sum(parts))


def us(ns: float | None) -> str:
    """Return ns as µs with three digits that mean something."""
    if ns is None:
        return "n/a"
    value = ns / 1_000
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def ms(ns: float | None) -> str:
    return "n/a" if ns is None else f"{ns / 1e6:,.2f} ms"


def times(large: float | None, small: float | None) -> str:
    return "n/a" if large is None or not small else f"{large / small:,.0f} ×"


# Tables --------------------------------------------------------------------------------------


def guide_table(report: Report) -> Table:
    """The guide's own table, with what was measured beside what it claims."""
    ways = ways_of(report)
    load = CPU_LOAD if CPU_LOAD in loads_of(report) else loads_of(report)[0]

    def row(metric: str, polling: str, callback: str, measured: Callable[[str], str]) -> list[str]:
        return [metric, polling, callback, *(measured(way) for way in ways)]

    def usage(way: str, figure: str) -> float:
        return over_runs(report, way, load, lambda each: total(each, figure)) or 0.0

    def handled(way: str) -> str:
        paced = [each for each in report["loads"] if each["load"] != FLAT_OUT]
        runs = [each for each in paced if each["way"] == way]
        sent, lost = (sum(each[name] for each in runs) for name in ("sent", "lost"))
        return f"{100 * (1 - lost / sent):.3f} % ({lost:,} of {sent:,} lost)"

    def flat_out(way: str) -> str:
        rate = over_runs(report, way, FLAT_OUT, lambda each: each["handled_per_second"])
        lost = over_runs(report, way, FLAT_OUT, lambda each: each["lost"])
        return (
            "n/a" if rate is None else f"{rate:,.0f} ticks/s" + (f", {lost:,.0f} lost" * bool(lost))
        )

    rows = [
        row(
            f"Latency, tick → strategy, p50 at {load}",
            "~70 ms",
            "~50 ms",
            lambda way: ms(latency(report, way, load, "wire to strategy", "p50")),
        ),
        row(
            f"Latency, tick → strategy, p99 at {load}",
            "",
            "",
            lambda way: ms(latency(report, way, load, "wire to strategy", "p99")),
        ),
        row(
            f"CPU at {load}, of one core",
            "Medium",
            "Low (−20 %)",
            lambda w: f"{usage(w, 'cpu_percent'):.1f} %",
        ),
        row("Memory", "Bounded", "Minimal (−15 %)", lambda w: f"{usage(w, 'memory_mb'):.0f} MB"),
        row("Throughput, flat out", "~20 ticks/s", "~50+ ticks/s", flat_out),
        row("Reliability: ticks handled, flat out apart", "99 %", "99.9 %", handled),
        row(
            "Trades of the day",
            "",
            "",
            lambda way: (
                f"{report['trades']['ways'][way]['trades']}"
                + (", identical" if report["trades"]["ways"][way]["identical"] else ", DIFFERENT")
            ),
        ),
    ]
    header = ["Metric", "claimed: polling", "claimed: callback", *(f"measured: {w}" for w in ways)]
    note = (
        "Latency counts from the intended time of sending. CPU and memory are of all processes of "
        "the way together; tickpipe has four, the guide's program one."
    )
    return Table("The guide's table", note, header, rows)


def latency_table(report: Report, stage: str) -> Table:
    """One stage: a row for each load and way."""
    rows = [
        [load, way, *(us(latency(report, way, load, stage, name)) for name in STATISTICS)]
        for load in loads_of(report)
        for way in ways_of(report)
        if latency(report, way, load, stage, "p50") is not None
    ]
    title = f"{stage[0].upper()}{stage[1:]}, µs"
    return Table(title, STAGES[stage] + ".", ["load", "way", *STATISTICS], rows)


def load_table(report: Report) -> Table:
    """What was sent and what became of it."""

    def cells(load: str, way: str) -> list[str]:
        def value(name: str) -> float:
            return over_runs(report, way, load, lambda each: each[name]) or 0.0

        late = latency(report, way, load, "sender late", "p99")
        figures = [f"{value(name):,.0f}" for name in ("sent", "lost", "handled_per_second")]
        return [load, way, *figures, us(late)]

    rows = [cells(load, way) for load in loads_of(report) for way in ways_of(report)]
    header = ["load", "way", "ticks sent", "lost", "handled/s", "sender late p99, µs"]
    return Table(
        "Loads",
        "Lost: the strategy never saw it. The sender's own lateness is in every "
        "latency that starts at the wire.",
        header,
        rows,
    )


def usage_table(report: Report) -> Table:
    """CPU, memory, wake-ups and switches of every process."""
    rows = []
    for load in loads_of(report):
        for way in ways_of(report):
            runs = [e for e in report["loads"] if (e["way"], e["load"]) == (way, load)]
            for process in runs[0]["usage"]:
                rows.append([load, way, process, *_usage_cells(runs, process)])
            rows.append([load, way, "all but the sender", *_total_cells(runs)])
    header = [
        "load",
        "way",
        "process",
        "CPU %",
        "MB",
        "heap MB at start",
        "at end",
        "wake-ups/s",
        "switches/s",
    ]
    note = (
        "CPU of one core; MB: proportional set size at the end; heap: the part of it that is of no "
        "file, after the warm-up and at the end; wake-ups: voluntary switches; switches: all."
    )
    return Table("What the processes cost", note, header, rows)


USAGE = (
    "cpu_percent",
    "memory_mb",
    "heap_start_mb",
    "heap_mb",
    "wakeups_per_second",
    "switches_per_second",
)


def _usage_cells(runs: Iterable[dict[str, Any]], process: str) -> list[str]:
    return [f"{median(each['usage'][process][name] for each in runs):,.1f}" for name in USAGE]


def _total_cells(runs: Iterable[dict[str, Any]]) -> list[str]:
    return [f"{median(total(each, name) for each in runs):,.1f}" for name in USAGE]
