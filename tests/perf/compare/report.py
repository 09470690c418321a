"""Write what was measured: JSON, CSV, one HTML page, PNG; and text for the terminal."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from tests.perf.compare.page import html_page, markdown_page
from tests.perf.compare.plot import write_png
from tests.perf.compare.tables import Report, Table, guide_table
from tests.perf.compare.targets import target_table

CSV_HEADER = ("load", "way", "run", "of", "statistic", "value", "unit")


def write_all(report: Report, folder: Path) -> list[Path]:
    """Write every form of the report into ``folder`` and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"modes.{name}" for name in ("json", "csv", "html", "md", "png")}
    files["json"].write_text(as_json(report), encoding="utf-8")
    with files["csv"].open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_HEADER)
        writer.writerows(csv_rows(report))
    files["html"].write_text(html_page(report), encoding="utf-8")
    files["md"].write_text(markdown_page(report), encoding="utf-8")
    missing = write_png(report, files["png"])
    if missing:
        print(f"no {files['png'].name}: {missing}")
        del files["png"]
    return list(files.values())


def as_json(report: Report) -> str:
    """Return JSON with a line for each run, so that two reports can be compared."""

    def lines(value: object, depth: int) -> str:
        if depth and isinstance(value, dict):
            parts = [f"{json.dumps(key)}: {lines(part, depth - 1)}" for key, part in value.items()]
            return "{\n" + ",\n".join(parts) + "\n}"
        if isinstance(value, list):
            return "[\n" + ",\n".join(json.dumps(part) for part in value) + "\n]"
        return json.dumps(value)

    return lines(report, 1) + "\n"


def csv_rows(report: Report) -> Iterator[tuple[object, ...]]:
    """Return one number a row."""
    for each in report["loads"]:
        head = (each["load"], each["way"], each["run"])
        for name in ("sent", "handled", "lost"):
            yield *head, "ticks", name, each[name], "ticks"
        for name in ("offered_per_second", "handled_per_second"):
            yield *head, "ticks", name, round(each[name], 1), "ticks/s"
        for stage, statistics in each["latency"].items():
            for name, value in statistics.items():
                yield *head, stage, name, value, "" if name == "samples" else "ns"
        for process, usage in each["usage"].items():
            for name, value in usage.items():
                yield *head, process, name, round(value, 3), ""


def console_text(report: Report) -> str:
    """Return the guide's table, and what was to be reached where it was measured."""
    shown = [guide_table(report)]
    if "slow strategy" in report:
        shown.append(target_table(report))
    facts = "  ".join(f"{name}: {value}" for name, value in report["machine"].items())
    return "\n\n".join([facts, *map(_as_text, shown), f"took {report['seconds']} s"])


def _as_text(table: Table) -> str:
    """Return the table on its side: a block for each row, so that any terminal holds it."""
    lines = [table.title]
    for row in table.rows:
        lines.append(f"  {row[0]}")
        lines += [
            f"      {name:<28} {cell}"
            for name, cell in zip(table.header[1:], row[1:], strict=True)
            if cell
        ]
    return "\n".join(lines)
