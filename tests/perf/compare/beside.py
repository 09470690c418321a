"""Tables of what is measured beside the loads, each of one part of the report. Pure."""

from __future__ import annotations

from tests.perf.compare.tables import (
    CALLBACK,
    POLL,
    STATISTICS,
    Report,
    Table,
    latency,
    latency_of,
    us,
    ways_of,
)


def slow_table(report: Report) -> Table:
    """A strategy that computes longer than there is time."""
    rows = [
        [
            each["way"],
            each["load"],
            *(
                us(latency_of(each, stage, "p99"))
                for stage in ("wire to feed", "feed to risk", "feed to strategy")
            ),
        ]
        for each in sorted(
            report["slow strategy"], key=lambda each: ways_of(report).index(each["way"])
        )
    ]
    note = (
        "400 ticks a second; 5 ms a tick are 2 s of work in every second, so the strategy itself "
        "falls behind in every way. What must not: receiving ticks, and risk, which holds the "
        "stops."
    )
    header = [
        "way",
        "load",
        "wire → feed p99, µs",
        "feed → risk p99, µs",
        "feed → strategy p99, µs",
    ]
    return Table("A strategy that takes 5 ms a tick", note, header, rows)


def disk_table(report: Report) -> Table:
    """What a ledger on a disk adds to an order."""
    in_memory = next(e for e in report["loads"] if (e["way"], e["load"]) == (CALLBACK, "100/s"))
    rows = [
        [place, *(us(latency_of(each, "signal to order", name)) for name in STATISTICS)]
        for place, each in (("/dev/shm", in_memory), ("a disk", report["ledger on disk"]))
    ]
    note = (
        "Signal → order in callback mode at 100/s. An order is durable before it leaves, so it "
        "waits for one commit; the guide's program kept its trades in memory."
    )
    return Table("The ledger on a disk", note, ["ledger in", *STATISTICS], rows)


def path_table(report: Report) -> Table:
    """The steps between the frame and the strategy's answer."""
    rows = [[what, f"{value:,.0f}"] for what, value in report["path"].items()]
    note = (
        "The profile of feed → strategy: each step alone in one process, caches warm. What the "
        "latencies show beyond the sum is waiting to be woken, for a CPU and for memory."
    )
    return Table("The steps of a tick", note, ["step", "ns"], rows)


def stamping_table(report: Report) -> Table:
    """What it costs to measure all day."""
    rows = [[what, f"{value:,.0f}"] for what, value in report["stamping"].items()]
    note = (
        "Every run measures its own latencies. Best of seven rounds in one process; a batch is "
        "what a process reads at once."
    )
    return Table("What measuring costs", note, ["step", "cost"], rows)


def sustained_table(report: Report) -> Table:
    """Ticks a second without the WebSocket."""
    rows = [
        [
            each["way"],
            f"{each['rate']:,}",
            f"{each['handled_per_second']:,.0f}",
            f"{each['lost']:,}",
            *(us(latency_of(each, "intended to strategy", name)) for name in ("p50", "p99")),
        ]
        for each in report["without websocket"]
    ]
    header = ["way", "offered/s", "handled/s", "lost", "intended → strategy p50, µs", "p99, µs"]
    note = (
        "Ticks appear in the feed process at their intended times; strategy and risk as always, "
        "the strategy called for every tick."
    )
    return Table("Without the WebSocket", note, header, rows)


def peers_table(report: Report) -> Table:
    """Others that hand ticks on, and the modes at the same rates."""
    rates = next(each["rates"] for each in report["peers"] if each["rates"])
    rows = [_peer_cells(each, len(rates)) for each in report["peers"]]
    for way in (CALLBACK, POLL):
        for stage, between in (
            ("feed to strategy", "processes"),
            ("wire to strategy", "wire and on_tick"),
        ):
            loads = [f"{rate['rate']:,}/s" for rate in rates]
            cells = [
                us(latency(report, way, load, stage, name))
                for load in loads
                for name in ("p50", "p99")
            ]
            rows.append([f"tickpipe, {way}", between, *cells])
    note = (
        "Each as its own documentation has it, at intended times as above, tickpipe's from the "
        "tables above. Between threads and processes a number is handed on, by a thread that "
        "wakes for it: its lateness is in the latency, as it is in the wire's. What arrives is "
        "not used. Two seconds each; a CPU apart for nobody."
    )
    header = ["who", "between"]
    for rate in rates:
        header += [f"{rate['rate']:,}/s p50, µs", f"{rate['rate']:,}/s p99, µs"]
    return Table("Others, beside", note, header, rows)


def _peer_cells(peer: Report, rates: int) -> list[str]:
    head = [peer["peer"], peer["between"]]
    if peer["skipped"]:
        return [*head, f"skipped: {peer['skipped']}", *[""] * (2 * rates - 1)]
    cells = []
    for rate in peer["rates"]:
        lost = f", {rate['lost']:,} lost" if rate["lost"] else ""
        p50, p99 = (us(latency_of(rate, "intended to arrival", name)) for name in ("p50", "p99"))
        cells += [p50 + lost, p99]
    return [*head, *cells]


_PARTS = {
    "slow strategy": slow_table,
    "without websocket": sustained_table,
    "ledger on disk": disk_table,
    "peers": peers_table,
    "path": path_table,
    "stamping": stamping_table,
}


def tables_beside(report: Report) -> list[Table]:
    """Return the tables of the parts that the report has."""
    return [table(report) for part, table in _PARTS.items() if part in report]
