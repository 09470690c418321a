"""The report as one self-contained HTML page, and as the page of docs. Pure."""

from __future__ import annotations

from html import escape

from tests.perf.compare.beside import tables_beside
from tests.perf.compare.svg import legend, percentile_chart, rate_chart
from tests.perf.compare.tables import (
    STAGES,
    Report,
    Table,
    guide_table,
    latency,
    latency_table,
    load_table,
    loads_of,
    us,
    usage_table,
    ways_of,
)
from tests.perf.compare.targets import limit_table, target_table

METHOD = (
    "Open loop: every tick has an intended time, and latency counts from it, whatever delayed the "
    "sending (the sender's own lateness is shown beside). Each load is a run of its own: fresh "
    "processes, a real WebSocket on loopback, SmartAPI Quote frames, 200 ticks of warm-up that are "
    "not counted. The strategy is the same object in every way and stores two times for each tick "
    "in shared memory. Orders are filled on paper; the ledger and the results are in memory "
    "(/dev/shm), except where a table says otherwise.",
    "The guide's loops are rebuilt from its text in tests/perf/compare/guide.py, on "
    "websocket-client like the broker's SDK, with tickpipe's strategy and risk sessions inside, so "
    "that the trades can be compared. What the guide's program did besides (pandas rows, GUI, "
    "logs) is left out, in its favour.",
    "Do not compare these numbers with those of another machine, another day of this one, or a "
    "benchmark that measures from the time of sending. Sender and pipeline share the CPUs here; a "
    "broker is on another machine. In poll mode with fewer CPUs than spinners + 1 a spinner yields "
    "between two looks, and its latency is the scheduler's. p99.9 and maximum on a shared virtual "
    "machine are mostly the machine's: see its own hiccups.",
)

CHOICE = (
    ("callback", "CPUs are shared, or ticks are rare. It costs next to nothing between ticks."),
    (
        "adaptive",
        "ticks come in bursts: the first one is woken for, the next ones are seen at once.",
    ),
    ("poll", "delay matters most and strategy and risk have a CPU each, with one more to spare."),
)

LOAD_MAX = 0.7  # above, the machine does something else besides

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;color:#111}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .3rem}p{margin:.3rem 0 .7rem;max-width:60rem}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .6rem;border-bottom:1px solid #ddd;text-align:left;white-space:nowrap}
.s{overflow-x:auto}.c{display:grid;grid-template-columns:repeat(auto-fit,minmax(24rem,1fr));gap:1rem}
svg{width:100%;height:auto}svg .t{font:600 13px system-ui}svg .g{stroke:#ddd}
svg .x,svg .y{font:11px system-ui;fill:#555}svg .x{text-anchor:middle}
svg .y{text-anchor:end;dominant-baseline:middle}svg polyline{fill:none;stroke-width:1.8}
.l span{margin-right:1.2rem}.l i{display:inline-block;width:1.6em;height:.25em;margin-right:.4em;
vertical-align:middle}
"""


def html_page(report: Report) -> str:
    """Return the whole page: no scripts, nothing to load."""
    title = "tickpipe: the guide's loops and the modes, side by side"
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>',
        f"<style>{_STYLE}</style><h1>{title}</h1>",
        *(f"<p>{escape(text)}</p>" for text in [_facts(report), *METHOD]),
        f'<p class="l">{legend()}</p><div class="c">{"".join(_charts(report))}</div>',
        *map(_html_table, all_tables(report)),
        "</html>\n",
    ]
    return "\n".join(parts)


def all_tables(report: Report) -> list[Table]:
    """Return every table that the report has the numbers for."""
    found = [guide_table(report)]
    if "slow strategy" in report:
        found += [target_table(report), limit_table(report)]
    found += [latency_table(report, stage) for stage in STAGES]
    found += [*tables_beside(report), load_table(report), usage_table(report)]
    return [table for table in found if table.rows]


def _facts(report: Report) -> str:
    facts = report["machine"]
    machine = ", ".join(f"{name}: {value}" for name, value in facts.items())
    late = report["hiccups"]
    wake_ups = ", ".join(f"{us(bare['p50'])} µs at {at}" for at, bare in report["wake up"].items())
    busy = (
        " OTHER PROGRAMS WERE RUNNING: the tails, and what a spinning mode shows, are theirs. "
        "Measure again on a quiet machine."
    )
    return (
        f"{machine}. Alone, this machine wakes a sleeper late by {us(late['p50'])} µs (p50), "
        f"{us(late['p99'])} µs (p99), {us(late['max'])} µs (maximum); a bare wake-up between two "
        f"processes takes (p50) {wake_ups}. The day: {report['day']}, "
        f"{report['trades']['ticks']:,} ticks, {report['trades']['trades']} trades. "
        f"Medians of {report['runs']} run(s)."
    ) + busy * (float(facts["load before"]) > LOAD_MAX)


def _charts(report: Report) -> list[str]:
    rates = [load for load in loads_of(report) if load.endswith("/s")]
    charts = []
    for stage in ("feed to strategy", "wire to strategy"):
        for statistic in ("p50", "p99"):
            curves = {
                way: [
                    (float(load.removesuffix("/s").replace(",", "")), ns)
                    for load in rates
                    if (ns := latency(report, way, load, stage, statistic)) is not None
                ]
                for way in ways_of(report)
            }
            charts.append(rate_chart(f"{stage}, {statistic}", curves))
    for load in loads_of(report):
        for stage in ("feed to strategy", "wire to strategy"):
            found = {
                each["way"]: each["curves"][stage]
                for each in reversed(report["loads"])  # the first run of each way stays
                if each["load"] == load and stage in each["curves"]
            }
            charts.append(percentile_chart(f"{stage}, {load}", found))
    return charts


def _html_table(table: Table) -> str:
    def cells(row: object, kind: str) -> str:
        assert isinstance(row, list | tuple)
        return "<tr>" + "".join(f"<{kind}>{escape(str(cell))}</{kind}>" for cell in row) + "</tr>"

    body = "".join(cells(row, "td") for row in table.rows)
    return (
        f"<h2>{escape(table.title)}</h2><p>{escape(table.note)}</p>"
        f'<div class="s"><table>{cells(table.header, "th")}{body}</table></div>'
    )


def markdown_page(report: Report) -> str:
    """Return the page of docs, made of the report alone."""
    lines = [
        "# The modes beside the guide's loops",
        "",
        "Generated from [modes.json](modes.json) by `scripts/compare-modes`; the same as one page "
        "with all curves: [modes.html](modes.html), as numbers: [modes.csv](modes.csv).",
        "",
        _facts(report),
        "",
        "![latencies of the five ways](modes.png)",
        "",
        "## Which mode to choose",
        "",
        *(f"- **{mode}**: {when}" for mode, when in CHOICE),
        "",
        "## Method",
        "",
        *(f"{text}\n" for text in METHOD),
        "To measure: `scripts/compare-modes` (one run of every load), `scripts/compare-modes "
        "--publish` (into this folder; `--runs 3` for three). In a checkout `tickpipe compare` is "
        "the same.",
        "",
    ]
    for table in all_tables(report):
        lines += ["", f"## {table.title}", "", table.note, "", *_markdown_rows(table)]
    return "\n".join(lines) + "\n"


def _markdown_rows(table: Table) -> list[str]:
    rows = [table.header, ["---"] * len(table.header), *table.rows]
    return ["| " + " | ".join(row) + " |" for row in rows]
