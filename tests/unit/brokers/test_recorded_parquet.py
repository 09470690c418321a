"""Recordings as Parquet: written whole, settled once, read back exactly, refused when damaged."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.brokers.recorded import journal
from pipeline.brokers.recorded.counts import cut_short
from pipeline.brokers.recorded.files import read_ticks, write_ticks
from pipeline.brokers.recorded.journal import (
    JOURNAL,
    check_ready,
    file_name,
    journal_parts,
    own_directory,
    settle,
    unsettled_days,
    write_journal,
)
from pipeline.brokers.recorded.parquet import arrow, recorded
from pipeline.brokers.recorded.recording import (
    gaps_of,
    read_recording,
    symbols_of,
    write_recording,
)
from pipeline.errors import AlreadyRunning, TickFileError
from pipeline.records import DEPTH, GAP, TICK
from pipeline.simulator.generator import generate_day
from pipeline.testing import make_instrument

DAY = date(2026, 1, 5)
FOLDER = "2026-01-05"
SYMBOLS = ("A", "M&M / 50 %.FUT", ".hidden", "gaps")
INSTRUMENTS = [make_instrument(symbol=s, token=str(n)) for n, s in enumerate(SYMBOLS)]
PARTS = 5


def day_of_ticks(count: int = 200) -> NDArray[np.void]:
    ticks = generate_day(seed=3, date=DAY, instruments=4, ticks_per_instrument=count)
    ticks["seq"] = np.arange(1, len(ticks) + 1)
    ticks["ts_recv_ns"] = ticks["ts_event_ns"] + 5
    ticks["flags"] = ticks["seq"] % 3
    ticks["bid_e4"], ticks["ask_e4"] = ticks["price_e4"] - 500, ticks["price_e4"] + 500
    return ticks


def write_parts(directory: Path, ticks: NDArray[np.void], recording_ns: int = 1) -> Path:
    for number, rows in enumerate(np.array_split(ticks, PARTS)):
        name = f"{recording_ns}-{number:06}"
        write_journal(directory, name, "ticks", recorded("ticks", rows, recording_ns), INSTRUMENTS)
    return directory / FOLDER


def contents(day: Path) -> dict[str, bytes]:
    return {str(p.relative_to(day)): p.read_bytes() for p in day.rglob("*") if p.is_file()}


def refusal(path: Path) -> str:
    with pytest.raises(TickFileError) as caught:
        read_recording(path, INSTRUMENTS)
    return str(caught.value)


def test_every_field_of_every_tick_comes_back_before_and_after_settling(tmp_path: Path) -> None:
    ticks = day_of_ticks()
    day = write_parts(tmp_path, ticks)
    for settled in (False, True):
        assert settle(day) if settled else journal_parts(day)
        rows = np.concatenate(list(symbols_of(day).values()))
        rows = rows[np.argsort(rows["seq"])]
        names = [name for name in rows.dtype.names if name in TICK.names]
        if settled:
            names.remove("instrument")  # which the file itself is
        assert all((rows[name] == ticks[name]).all() for name in names)
        assert (rows["ts_recv_epoch_ns"] == ticks["ts_recv_ns"]).all()
        played = read_recording(day, INSTRUMENTS)
        for name in ("instrument", "ts_event_ns", "price_e4", "quantity", "day_volume", "ask_e4"):
            assert (played[name] == ticks[name]).all(), name
        assert not played["seq"].any()


def test_a_journal_that_is_settled_twice_is_settled_once(tmp_path: Path) -> None:
    day = write_parts(tmp_path, day_of_ticks())
    shutil.copytree(day / JOURNAL, tmp_path / "kept")
    assert settle(day)
    once = contents(day)
    assert not (day / JOURNAL).exists()
    shutil.copytree(tmp_path / "kept", day / JOURNAL)  # killed before the parts were deleted
    assert len(read_recording(day, INSTRUMENTS)) == 800
    assert settle(day)
    assert contents(day) == once


@pytest.mark.parametrize("asked", range(0, 40, 3))
def test_settling_that_stops_anywhere_loses_nothing_and_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: int
) -> None:
    monkeypatch.setattr(journal, "ROWS_AT_ONCE", 300)
    ticks = day_of_ticks()
    day = write_parts(tmp_path, ticks)
    answers = iter([True] * asked)
    settle(day, lambda: next(answers, False))
    assert (read_recording(day, INSTRUMENTS)["price_e4"] == ticks["price_e4"]).all()
    assert settle(day) if unsettled_days(tmp_path) else True
    assert (read_recording(day, INSTRUMENTS)["price_e4"] == ticks["price_e4"]).all()
    assert sorted(p.name for p in day.iterdir()) == ["ticks"]


def test_what_a_killed_writer_had_not_renamed_is_cleared(tmp_path: Path) -> None:
    day = write_parts(tmp_path, day_of_ticks())
    (day / JOURNAL / ".1-000009.ticks.parquet.77").write_bytes(b"PAR1 half")
    assert len(journal_parts(day)) == PARTS
    settle(day)
    assert unsettled_days(tmp_path) == []


def test_a_second_recording_of_a_day_is_added_behind_the_first(tmp_path: Path) -> None:
    ticks = day_of_ticks()
    settle(write_parts(tmp_path, ticks[:300], recording_ns=1))
    settle(write_parts(tmp_path, ticks[300:], recording_ns=2))
    assert (read_recording(tmp_path / FOLDER, INSTRUMENTS)["price_e4"] == ticks["price_e4"]).all()


def test_every_symbol_has_a_file_of_its_own_whatever_its_characters() -> None:
    odd = [*SYMBOLS, "a/b", "a%2Fb", "..", ".", "a.b", "a%2Eb", "NIFTY 50", "journal", "ä"]
    names = [file_name(symbol) for symbol in odd]
    assert len(set(names)) == len(odd)
    assert not any("/" in name or name.startswith(".") for name in names)


def test_depth_and_gaps_come_back_too(tmp_path: Path) -> None:
    depth = np.zeros(3, DEPTH)
    depth["seq"], depth["tick_seq"] = [1, 2, 3], [4, 6, 8]
    depth["ts_event_ns"] = day_of_ticks()["ts_event_ns"][:3]
    depth["bid_e4"] = np.arange(15).reshape(3, 5)
    depth["ask_orders"] = np.arange(15).reshape(3, 5) + 100
    gaps = np.zeros(2, GAP)
    gaps["seq"], gaps["reason"] = [1, 2], [b"stalled", b"disconnected"]
    gaps["ended_epoch_ns"] = depth["ts_event_ns"][:2]
    settled = write_parts(tmp_path, day_of_ticks())
    write_journal(tmp_path, "1-000009", "depth", recorded("depth", depth, 1), INSTRUMENTS)
    write_journal(tmp_path, "1-000009", "gaps", recorded("gaps", gaps, 1), INSTRUMENTS)
    settle(settled)
    rows = symbols_of(settled, "depth")["A"]
    assert rows["tick_seq"].tolist() == [4, 6, 8]
    assert rows["bid_e4_5"].tolist() == [4, 9, 14]
    assert rows["ask_orders_1"].tolist() == [100, 105, 110]
    assert gaps_of(settled)["reason"].tolist() == [b"stalled", b"disconnected"]


def test_csv_to_parquet_to_csv_is_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    write_ticks(first, day_of_ticks(), SYMBOLS)
    (day,) = write_recording(tmp_path / "rec", read_ticks(first, INSTRUMENTS), INSTRUMENTS)
    write_ticks(second, read_ticks(day, INSTRUMENTS), SYMBOLS)
    assert second.read_bytes() == first.read_bytes()


def test_a_file_that_is_cut_short_is_refused_by_name(tmp_path: Path) -> None:
    settle(write_parts(tmp_path, day_of_ticks()))
    path = tmp_path / FOLDER / "ticks" / "A.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    for named in (path, tmp_path / FOLDER):
        message = refusal(named)
        assert str(path) in message
        assert "cut short or damaged" in message


def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    pyarrow, parquet = arrow()
    parquet.write_table(pyarrow.table({"price": [1.0]}), tmp_path / "other.parquet")
    assert "not written by tickpipe" in refusal(tmp_path / "other.parquet")


@pytest.mark.parametrize(
    ("about", "columns", "words"),
    [
        ({"version": "2", "kind": "ticks"}, {"price": [1]}, "version 2, this program reads 1"),
        ({"version": "1", "kind": "ticks", "instrument": {"symbol": "A"}}, {"p": [1]}, "other col"),
        ({"kind": "ticks"}, {"p": [1]}, "do not say version and kind"),
        ({"version": "1"}, {"p": [1]}, "do not say version and kind"),
        ({"version": "1", "kind": "x"}, {"p": [1]}, "do not say a kind"),
        ({"version": "1", "kind": "ticks"}, {"p": [1]}, "do not say its instrument"),
        ({"version": "1", "kind": "ticks", "instrument": {}}, {"p": [1]}, "do not say the symbol"),
    ],
)
def test_another_version_or_other_columns_are_refused(
    tmp_path: Path, about: dict[str, object], columns: dict[str, list[int]], words: str
) -> None:
    pyarrow, parquet = arrow()
    meta = {b"tickpipe": json.dumps(about).encode()}
    table = pyarrow.table(columns).replace_schema_metadata(meta)
    parquet.write_table(table, tmp_path / "odd.parquet")
    assert words in refusal(tmp_path / "odd.parquet")


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ([1.0, 2.0], "float64", "price_e4 is double, not int64"),
        (["1", "2"], "string", "price_e4 is string, not int64"),
        ([1, 2], "int32", "price_e4 is int32, not int64"),
        ([1, None], "int64", "price_e4 has 1 empty value"),
        ([1, 0], "int64", "price_e4 0 at seq 2 is not above 0"),
        ([-1, 1], "int64", "price_e4 -1 at seq 1 is not above 0"),
    ],
)
def test_a_column_of_another_type_with_holes_or_without_price_is_refused(
    tmp_path: Path, values: list[object], kind: str, words: str
) -> None:
    pyarrow, parquet = arrow()
    ticks = day_of_ticks()
    ticks = ticks[ticks["instrument"] == 0][:2]
    (day,) = write_recording(tmp_path, ticks, INSTRUMENTS)
    (path,) = (day / "ticks").iterdir()
    table = parquet.read_table(path, partitioning=None)
    at = table.column_names.index("price_e4")
    column = pyarrow.array(values, getattr(pyarrow, kind)())
    parquet.write_table(table.set_column(at, "price_e4", column), path)
    assert words in refusal(path)


def test_a_byte_that_changed_within_a_page_is_noticed(tmp_path: Path) -> None:
    settle(write_parts(tmp_path, day_of_ticks()))
    path = tmp_path / FOLDER / "ticks" / "A.parquet"
    _, parquet = arrow()
    chunk = parquet.ParquetFile(path).metadata.row_group(0).column(4)
    damaged = bytearray(path.read_bytes())
    damaged[chunk.data_page_offset + chunk.total_compressed_size // 8 + 60] ^= 0x10
    path.write_bytes(damaged)
    assert "cut short or damaged" in refusal(path)


def test_a_tick_without_the_exchanges_time_has_that_of_receipt(tmp_path: Path) -> None:
    ticks = day_of_ticks()
    received = ticks["ts_recv_ns"].copy()
    ticks["ts_event_ns"] = 0
    day = write_parts(tmp_path, ticks)
    played = read_recording(day, INSTRUMENTS)
    assert (played["ts_event_ns"] == received).all()
    write_ticks(tmp_path / "day.csv", played, SYMBOLS)
    again = read_ticks(tmp_path / "day.csv", INSTRUMENTS)
    assert (again["ts_event_ns"] == received).all()


def test_counts_that_are_damaged_are_said(tmp_path: Path) -> None:
    (tmp_path / "recording-7.json").write_text('{"state": "recording"')
    (tmp_path / "recording-8.json").write_text('{"state": "recording"}')
    said = cut_short(tmp_path, 0)
    assert [text.split(":")[0] for text in said] == [
        "recording-7.json is damaged",
        "recording-8.json is damaged",
    ]


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    settle(write_parts(tmp_path, day_of_ticks()))
    assert "no such file" in refusal(tmp_path / "nothing.parquet")
    (tmp_path / "empty").mkdir()
    assert "no recording in it" in refusal(tmp_path / "empty")
    strange = [make_instrument(symbol="Z", token="9")]
    with pytest.raises(TickFileError, match="no ticks of Z"):
        read_recording(tmp_path / FOLDER, strange)


def test_one_writer_to_a_directory_at_a_time(tmp_path: Path) -> None:
    lock = own_directory(tmp_path)
    with pytest.raises(AlreadyRunning, match="records there"):
        check_ready(tmp_path)
    with pytest.raises(AlreadyRunning, match="records there"):
        write_recording(tmp_path, day_of_ticks(), INSTRUMENTS)
    lock.close()
    check_ready(tmp_path)


def tampered(tmp_path: Path, name: str, values: object) -> Path:
    """Return a file of a recording in which one column is another."""
    pyarrow, parquet = arrow()
    day = write_recording(tmp_path, day_of_ticks(20)[:20], INSTRUMENTS)[0]
    path = next((day / "ticks").glob("*.parquet"), None) or next(day.rglob("*.parquet"))
    table = parquet.read_table(path, partitioning=None)
    place = table.column_names.index(name)
    column = pyarrow.array(values(len(table)))  # type: ignore[operator]
    parquet.write_table(table.set_column(place, name, column), path)
    return path


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (lambda n: [1.5] * n, "is double"),
        (lambda n: ["1"] * n, "is string"),
        (lambda n: [None] * (n - 1) + [5], "empty value"),
        (lambda n: [-5] * n, "is not above 0"),
        (lambda n: [0] * n, "is not above 0"),
    ],
)
def test_a_price_that_can_be_none_is_refused(tmp_path: Path, values: object, why: str) -> None:
    assert why in refusal(tampered(tmp_path, "price_e4", values))


def test_a_bit_that_flipped_in_the_data_is_noticed(tmp_path: Path) -> None:
    """All pages have checksums; what is not in a page is in the footer, which is parsed."""
    day = write_recording(tmp_path, day_of_ticks(50), INSTRUMENTS)[0]
    path = next(day.rglob("*.parquet"))
    whole = path.read_bytes()
    before = symbols_of(path)
    unnoticed = 0
    for place in range(200, len(whole) // 2, 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            after = symbols_of(path)
        except TickFileError:
            continue
        unnoticed += any((after[name] != rows).any() for name, rows in before.items())
    assert unnoticed == 0


def test_a_tick_without_the_exchanges_time_has_that_of_its_receipt(tmp_path: Path) -> None:
    ticks = day_of_ticks(20)
    received = ticks["ts_recv_ns"].copy()
    ticks["ts_event_ns"] = 0
    day = write_recording(tmp_path, ticks, INSTRUMENTS)[0]
    assert (read_recording(day, INSTRUMENTS)["ts_event_ns"] == received).all()
