"""What the simulator says it did."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.simulator.report import Report, Way


def make_report() -> Report:
    report = Report(["A", "B"], every_tick=True)
    first, second = report.opened(), report.opened()
    report.delivered([0, 1], first.number, 1, Way.PLAYED)
    report.delivered([1], second.number, 1, Way.SNAPSHOT)
    report.struck("reset", 2, [2, 1])
    report.refused(401)
    report.closed(first)
    return report


def test_each_tick_of_a_frame_is_a_row() -> None:
    rows = make_report().deliveries()
    assert rows["tick"].tolist() == [1, 2, 2]
    assert rows["connection"].tolist() == [1, 1, 2]
    assert rows["frame"].tolist() == [1, 1, 1]
    assert rows["way"].tolist() == [Way.PLAYED, Way.PLAYED, Way.SNAPSHOT]
    assert rows["sent_ns"][0] == rows["sent_ns"][1] <= rows["sent_ns"][2]


def test_rows_can_be_read_while_more_come() -> None:
    report = make_report()
    before = report.deliveries()
    report.delivered([7], 2, 2, Way.REPEATED)
    assert (len(before), len(report.deliveries())) == (3, 4)


def test_the_file_has_everything(tmp_path: Path) -> None:
    make_report().write(tmp_path / "report.json")
    table = json.loads((tmp_path / "report.json").read_text())
    assert table["symbols"] == ["A", "B"]
    assert table["deliveries"]["tick"] == [1, 2, 2]
    (fault,) = table["faults"]
    assert (fault["kind"], fault["tick"], fault["connections"]) == ("reset", 3, [1, 2])
    assert [refusal["status"] for refusal in table["refusals"]] == [401]
    first, second = table["connections"]
    assert first["closed_ns"] > first["opened_ns"]
    assert second["closed_ns"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
