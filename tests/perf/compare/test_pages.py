"""From what was measured to what is shown, without measuring."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.runtime.latency import Latency
from tests.perf.compare import loads, report, tables, targets
from tests.perf.compare.measure import parsed, percentiles
from tests.perf.compare.page import all_tables, html_page, markdown_page
from tests.perf.compare.tables import CALLBACK, CPU_LOAD, DIRECT, POLL, POLLING, Report
from tests.perf.compare.ways import WAYS

HTML_BYTES_MAX = 300_000
LOADS = ("10/s", CPU_LOAD, "100/s", "1,000/s", "10,000/s", "market open", tables.FLAT_OUT)
P50_US = {POLLING: 25_000.0, DIRECT: 60.0, CALLBACK: 80.0, "adaptive": 70.0, POLL: 20.0}


def statistics(p50_us: float) -> dict[str, int]:
    ns = round(p50_us * 1_000)
    return {"samples": 100, "p50": ns, "p90": 2 * ns, "p99": 3 * ns, "p99.9": 4 * ns, "max": 5 * ns}


def run_of(way: str, load: str) -> dict[str, Any]:
    usage = dict.fromkeys(tables.USAGE, 0.5) | {
        "heap_start_mb": 20.0,
        "heap_mb": 20.1,
        "memory_mb": 30.0,
    }
    processes = ("feed", "strategy", "risk", "supervisor") if WAYS[way].is_ours else ("trader",)
    stages = dict.fromkeys([*tables.STAGES, "sender late"], statistics(P50_US[way]))
    return {
        "run": 1,
        "way": way,
        "load": load,
        "sent": 1_000,
        "handled": 1_000,
        "lost": 0,
        "offered_per_second": 20.0,
        "handled_per_second": 20.0,
        "latency": stages,
        "curves": {name: [(0, 900), (50, 1_000), (99, 9_000), (100, 10_000)] for name in stages},
        "usage": dict.fromkeys((*processes, "sender"), usage),
    }


def arrived() -> dict[str, Any]:
    return {"rate": 100, "lost": 2, "latency": {"intended to arrival": statistics(40.0)}}


@pytest.fixture
def made_up() -> Report:
    """Return a report in which everything that was to be reached is reached."""
    slow = [
        run_of(way, load) for load in ("400/s", "400/s, slow") for way in (DIRECT, CALLBACK, POLL)
    ]
    slow[3]["latency"] = dict.fromkeys(tables.STAGES, statistics(900_000.0))
    return {
        "machine": {"cpu": "made up", "cpus": "2", "load before": "0.10"},
        "day": "generated",
        "runs": 1,
        "seconds": 1,
        "ways": {name: way.meaning for name, way in WAYS.items()},
        "hiccups": statistics(60.0),
        "wake up": {load: statistics(30.0) for load in (CPU_LOAD, "100/s", "1,000/s")},
        "trades": {
            "ticks": 10,
            "trades": 3,
            "identical": True,
            "ways": {name: {"trades": 3, "identical": True} for name in WAYS},
        },
        "loads": [run_of(way, load) for load in LOADS for way in WAYS],
        "slow strategy": slow,
        "ledger on disk": run_of(CALLBACK, "100/s"),
        "path": {targets.ANSWER: 900.0},
        "peers": [
            {"peer": "queue.Queue", "between": "threads", "skipped": "", "rates": [arrived()]},
            {"peer": "KiteTicker", "between": "wire", "skipped": "not installed", "rates": []},
        ],
        "stamping": {"a batch of 1 tick, ns": 1_200.0},
        "without websocket": [
            {
                "way": CALLBACK,
                "rate": 500_000,
                "lost": 0,
                "ticks lost by laps": "risk 0, strategy 0",
                "handled_per_second": 499_000.0,
                "usage": run_of(CALLBACK, "100/s")["usage"],
                "latency": {"intended to strategy": statistics(50.0)},
            }
        ],
    }


def reached(report: Report) -> dict[str, str]:
    return {row[0]: row[3] for row in targets.target_table(report).rows}


def test_what_is_reached_is_told_as_reached(made_up: Report) -> None:
    assert set(reached(made_up).values()) == {"yes"}


def spoil_polling(report: Report) -> None:
    for each in report["loads"]:
        if each["way"] == POLL:
            each["latency"] = dict.fromkeys(each["latency"], statistics(61.0))


def spoil_loss(report: Report) -> None:
    report["without websocket"][0]["lost"] = 1


def spoil_cpu(report: Report) -> None:
    for each in report["loads"]:
        each["usage"] = {
            name: usage | {"cpu_percent": 1.0} for name, usage in each["usage"].items()
        }


def spoil_memory(report: Report) -> None:
    for each in report["loads"]:
        each["usage"] = {
            name: usage | {"memory_mb": 60.0, "heap_mb": 21.0}
            for name, usage in each["usage"].items()
        }


def spoil_slow(report: Report) -> None:
    report["slow strategy"][4]["latency"] = dict.fromkeys(tables.STAGES, statistics(121.0))


def spoil_trades(report: Report) -> None:
    report["trades"]["identical"] = False


@pytest.mark.parametrize(
    ("spoil", "missed"),
    [
        (spoil_polling, ["guide's polling loop / poll", "poll − guide's callback"]),
        (spoil_loss, ["ticks/s without loss"]),
        (spoil_cpu, ["CPU of callback mode"]),
        (spoil_memory, ["memory of all processes", "heap from the warm-up"]),
        (spoil_slow, ["wire to feed p99", "feed to risk p99"]),
        (spoil_trades, ["trades in lockstep"]),
    ],
)
def test_what_is_not_reached_is_told_as_not_reached(
    made_up: Report, spoil: Callable[[Report], None], missed: list[str]
) -> None:
    spoil(made_up)
    found = [what for what, yes in reached(made_up).items() if yes == "no"]
    assert len(found) == len(missed)
    assert all(part in what for part, what in zip(missed, found, strict=True)), found


def test_what_is_not_reached_has_the_profile_that_shows_why(made_up: Report) -> None:
    assert not targets.limit_table(made_up).rows
    spoil_polling(made_up)
    spoil_loss(made_up)
    spoil_cpu(made_up)
    limits = dict(targets.limit_table(made_up).rows)
    poll = limits["tick in hand → strategy p50, guide's polling loop / poll"]
    assert poll.startswith("It allows 25.0 µs at 20/s, ")
    assert "no wait between, takes 60.0 µs at 20/s" in poll
    sustained = limits["ticks/s without loss, per-tick strategy"]
    assert "came to 2,004 ns a tick (feed 0 %, strategy 0 %, risk 0 %, " in sustained
    assert "takes 900 ns" in sustained
    cpu = limits[f"CPU of callback mode at {CPU_LOAD}, all processes"]
    assert cpu.startswith("2 wake-ups a second, 20000 µs of CPU each")


def test_a_loss_of_risk_is_a_loss(made_up: Report) -> None:
    made_up["without websocket"][0]["ticks lost by laps"] = "risk 1, strategy 0"
    assert reached(made_up)["ticks/s without loss, per-tick strategy"] == "no"


def test_the_guide_s_table_has_its_claims_and_what_was_measured(made_up: Report) -> None:
    made_up["loads"][-1]["lost"] = 500  # flat out, which is another row
    made_up["loads"][len(WAYS) - 1]["lost"] = 60  # of 6 000 that poll mode was sent on time
    table = tables.guide_table(made_up)
    rows = {row[0]: dict(zip(table.header[1:], row[1:], strict=True)) for row in table.rows}
    latency = rows[f"Latency, tick → strategy, p50 at {CPU_LOAD}"]
    assert latency["claimed: polling"] == "~70 ms"
    assert latency["measured: guide, polling"] == "25.00 ms"
    assert latency["measured: poll"] == "0.02 ms"
    assert rows["Memory"]["measured: callback"] == "120 MB"
    reliability = rows["Reliability: ticks handled, flat out apart"]
    assert reliability["measured: poll"] == "99.000 % (60 of 6,000 lost)"
    assert rows["Throughput, flat out"]["measured: poll"] == "20 ticks/s, 500 lost"


def test_a_peer_stands_beside_the_modes_or_says_why_not(made_up: Report) -> None:
    (table,) = (each for each in all_tables(made_up) if each.title == "Others, beside")
    rows = [list(row) for row in table.rows]
    assert rows[0] == ["queue.Queue", "threads", "40.0, 2 lost", "120"]
    assert rows[1] == ["KiteTicker", "wire", "skipped: not installed", ""]
    assert rows[2] == ["tickpipe, callback", "processes", "80.0", "240"]


def test_of_several_runs_the_median_is_shown(made_up: Report) -> None:
    base = made_up["loads"][0]
    for p50 in (1.0, 900_000.0):
        made_up["loads"].append(base | {"latency": {"wire to feed": statistics(p50)}})
    found = tables.latency(made_up, base["way"], base["load"], "wire to feed", "p50")
    assert found == P50_US[base["way"]] * 1_000


def test_the_html_page_is_small_whole_and_loads_nothing(made_up: Report) -> None:
    page = html_page(made_up)
    assert len(page.encode()) < HTML_BYTES_MAX
    assert not re.search(r"<script|<link|src=|url\(|https?:", page)
    assert page.count("<svg") == page.count("</svg>") == 4 + 2 * len(LOADS)
    assert all(table.title.replace("'", "&#x27;") in page for table in all_tables(made_up))
    assert not re.search(r"\bnan\b", page)


def test_a_busy_machine_is_told(made_up: Report) -> None:
    warning = "OTHER PROGRAMS WERE RUNNING"
    assert warning not in markdown_page(made_up)
    made_up["machine"]["load before"] = "1.80"
    assert warning in markdown_page(made_up)
    assert warning in html_page(made_up)


def test_every_row_of_the_markdown_page_has_the_cells_of_its_head(made_up: Report) -> None:
    blocks = re.findall(r"(?:^\|.*\|\n)+", markdown_page(made_up), re.MULTILINE)
    assert len(blocks) == len(all_tables(made_up))
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_a_report_comes_back_from_its_file(made_up: Report, tmp_path: Path) -> None:
    written = report.write_all(made_up, tmp_path)
    assert [path.suffix for path in written][:3] == [".json", ".csv", ".html"]
    read = json.loads((tmp_path / "modes.json").read_text())
    assert markdown_page(read) == markdown_page(made_up)
    lines = (tmp_path / "modes.csv").read_text().splitlines()
    assert lines[0] == ",".join(report.CSV_HEADER)
    assert '100/s,"guide, polling",1,wire to feed,p50,25000000,ns' in lines


def test_a_latency_of_the_results_is_read_as_it_was_written() -> None:
    written = Latency(12_345, 50_400, 61_000, 99_000, 1_234_500, 9_000_000)
    assert list(parsed(str(written)).values()) == list(written)
    assert parsed("n/a (nothing measured)") == {"samples": 0}


def test_percentiles_are_values_that_were_measured() -> None:
    values = np.arange(1, 1_001, dtype=np.int64)
    assert percentiles(values) == {
        "samples": 1_000, "p50": 501, "p90": 901, "p99": 991, "p99.9": 1_000, "max": 1_000,
    }  # fmt: skip


def test_a_steady_load_is_evenly_spaced() -> None:
    load = loads.steady(100, 2)
    assert len(load.offsets_ns) == 200
    assert set(np.diff(load.offsets_ns).tolist()) == {10_000_000}


def test_the_open_of_a_market_has_its_bursts() -> None:
    offsets_ns = loads.market_open(2).offsets_ns
    assert len(offsets_ns) == 2 * (1_000 + 10 * 160)
    assert (np.diff(offsets_ns) >= 0).all()
    in_a_millisecond = np.bincount(offsets_ns // 1_000_000)
    assert in_a_millisecond.max() == 161
    assert (in_a_millisecond > 100).sum() == 20


def test_a_day_that_is_played_again_goes_on() -> None:
    day = np.zeros(3, [("ts_event_ns", "<i8"), ("price_e4", "<i8")])
    day["ts_event_ns"], day["price_e4"] = (5, 6, 7), (1, 2, 3)
    ticks = loads.repeated(day, 8)
    assert ticks["price_e4"].tolist() == [1, 2, 3, 1, 2, 3, 1, 2]
    assert (np.diff(ticks["ts_event_ns"]) > 0).all()
