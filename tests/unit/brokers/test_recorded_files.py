"""Tick files: what is read, what is written, and what is said about a bad one."""

from __future__ import annotations

import gzip
import os
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from pipeline.brokers.recorded.files import read_ticks, running_volume, write_ticks
from pipeline.errors import TickFileError
from pipeline.records import TICK
from pipeline.settings import Instrument
from pipeline.testing import make_instrument, make_ticks

HEADER = "timestamp,price,volume\n"
GOOD = "2025-10-01 09:15:18+05:30,235.85,75\n"
GOOD_NS = 1_759_290_318 * 1_000_000_000
ONE = [make_instrument(symbol="A", token="1")]
TWO = [*ONE, make_instrument(symbol="B", token="2")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "day.csv"


def read(path: Path, text: str, instruments: list[Instrument] = ONE) -> np.ndarray:
    path.write_text(text, encoding="utf-8")
    return read_ticks(path, instruments)


def refusal(path: Path, instruments: list[Instrument] = ONE) -> str:
    with pytest.raises(TickFileError) as caught:
        read_ticks(path, instruments)
    return str(caught.value)


# Reading -------------------------------------------------------------------------------------


def test_the_recorded_day_is_read_exactly(shared_data: Path) -> None:
    file = shared_data / "nse_ticks/live_ticks_20251001_NIFTY_option.csv.gz"
    ticks = read_ticks(file, ONE)
    with gzip.open(file, "rt") as lines:
        rows = [line.rstrip("\n").split(",") for line in lines][1:]
    assert len(ticks) == len(rows) == 32_591
    total = 0
    for tick, (moment, price, volume) in zip(ticks.tolist(), rows, strict=True):
        total += int(volume)
        time_ns = int(datetime.fromisoformat(moment).timestamp()) * 1_000_000_000
        price_e4 = int(Decimal(price) * 10_000)
        assert tick == (0, time_ns, 0, price_e4, 0, 0, int(volume), total, 0, 0)


def test_a_line_becomes_a_tick(path: Path) -> None:
    (tick,) = read(path, HEADER + GOOD)
    assert tick.tolist() == (0, GOOD_NS, 0, 2_358_500, 0, 0, 75, 75, 0, 0)


@pytest.mark.parametrize(
    ("text", "after_ns"),
    [
        ("2025-10-01 09:15:18.250+05:30", 250_000_000),
        ("2025-10-01 09:15:18.123456789+05:30", 123_456_789),
        ("2025-10-01T03:45:18Z", 0),
        ("2025-10-01T03:45:18.5+00:00", 500_000_000),
        ("2025-09-30 23:45:18-0400", 0),
    ],
)
def test_a_timestamp_is_exact_to_the_nanosecond(path: Path, text: str, after_ns: int) -> None:
    (tick,) = read(path, HEADER + f"{text},1,0\n")
    assert tick["ts_event_ns"] == GOOD_NS + after_ns


@pytest.mark.parametrize(
    ("text", "price_e4"),
    [
        ("235.85", 2_358_500),
        ("392", 3_920_000),
        ("392.", 3_920_000),
        ("0.0001", 1),
        ("88.412500000", 884_125),
        ("999999999.9999", 9_999_999_999_999),
        ("1.1", 11_000),
    ],
)
def test_a_price_is_exact(path: Path, text: str, price_e4: int) -> None:
    (tick,) = read(path, HEADER + f"2025-10-01 09:15:18Z,{text},0\n")
    assert tick["price_e4"] == price_e4


@pytest.mark.parametrize(
    ("text", "volume"), [("0", 0), ("75", 75), ("75.0", 75), ("4294967295", 2**32 - 1)]
)
def test_a_volume_is_a_quantity(path: Path, text: str, volume: int) -> None:
    (tick,) = read(path, HEADER + f"2025-10-01 09:15:18Z,1,{text}\n")
    assert tick["quantity"] == volume


def test_the_symbol_column_says_whose_tick_it_is(path: Path) -> None:
    lines = "".join(
        f"2025-10-01 09:15:18Z,{price},{volume},{symbol}\n"
        for price, volume, symbol in [(1, 5, "B"), (2, 7, "A"), (3, 5, "B"), (4, 1, "A")]
    )
    ticks = read(path, "timestamp,price,volume,symbol\n" + lines, TWO)
    assert ticks["instrument"].tolist() == [1, 0, 1, 0]
    assert ticks["price_e4"].tolist() == [10_000, 20_000, 30_000, 40_000]
    assert ticks["day_volume"].tolist() == [5, 7, 10, 8]


def test_a_file_of_one_instrument_may_have_the_symbol_column(path: Path) -> None:
    ticks = read(path, "timestamp,price,volume,symbol\n2025-10-01 09:15:18Z,1,0,A\n", ONE)
    assert len(ticks) == 1


def test_running_volume_is_the_running_sum_of_each_instrument() -> None:
    random = np.random.default_rng(1)
    instrument = random.integers(0, 5, 500).astype(np.uint16)
    quantity = random.integers(0, 2**32, 500).astype(np.uint32)
    sums = [0] * 5
    expected = []
    for row in range(500):
        sums[instrument[row]] += int(quantity[row])
        expected.append(sums[instrument[row]])
    assert running_volume(instrument, quantity).tolist() == expected


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lines_end_as_on_any_system_and_a_byte_order_mark_is_passed_over(
    path: Path, newline: str, mark: str
) -> None:
    path.write_bytes((mark + HEADER + GOOD + GOOD).replace("\n", newline).encode("utf-8"))
    assert len(read_ticks(path, ONE)) == 2


def test_the_last_line_needs_no_newline(path: Path) -> None:
    assert len(read(path, HEADER + GOOD + GOOD.rstrip())) == 2


# Bad files -----------------------------------------------------------------------------------


def test_a_missing_file_is_named(path: Path) -> None:
    message = refusal(path)
    assert message.startswith(f"{path}: no such file\n")
    assert "cure: name an existing tick file" in message


def test_a_directory_without_a_recording_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith(f"{tmp_path}: no recording in it\n")


def test_an_empty_file_is_refused(path: Path) -> None:
    path.touch()
    assert refusal(path).startswith(f"{path}: line 1: the file is empty\n")


def test_a_file_with_only_a_header_is_refused(path: Path) -> None:
    path.write_text(HEADER)
    assert refusal(path).startswith(f"{path}: line 1: there is a header and no tick\n")


@pytest.mark.parametrize(
    "header",
    [
        "time,price,volume",
        "timestamp,price",
        "price,timestamp,volume",
        "timestamp,price,volume,token",
        "timestamp,price,volume,symbol,extra",
        "2025-10-01 09:15:18+05:30,235.85,75",
        "\x00\x01",
    ],
)
def test_another_header_is_shown(path: Path, header: str) -> None:
    path.write_text(header + "\n" + GOOD)
    message = refusal(path)
    assert message.startswith(f"{path}: line 1: the header is {header!r}\n")
    assert "the first line is timestamp,price,volume or the same with ,symbol" in message


def test_several_instruments_need_the_symbol_column(path: Path) -> None:
    path.write_text(HEADER + GOOD)
    assert "2 instruments are configured and the file has no symbol column" in refusal(path, TWO)


def test_a_symbol_that_is_not_configured_is_named(path: Path) -> None:
    path.write_text("timestamp,price,volume,symbol\n" + GOOD.rstrip() + ",C\n")
    message = refusal(path, TWO)
    assert message.startswith(f"{path}: line 2: symbol 'C' is not configured\n")
    assert "the configured symbols are A, B" in message


BAD_LINES = {
    "2025-10-01 09:15:19+05:30,235.85": "2 column(s) in '2025-10-01 09:15:19+05:30,235.85'",
    "2025-10-01 09:15:19+05:30,1,75,A": "4 column(s) in '2025-10-01 09:15:19+05:30,1,75,A'",
    "": "1 column(s) in ''",
    "2025-10-01 09:15:19+05:30,abc,75": "price 'abc' is not a plain decimal number",
    "2025-10-01 09:15:19+05:30,,75": "price '' is not a plain decimal number",
    "2025-10-01 09:15:19+05:30,nan,75": "price 'nan' is not a plain decimal number",
    "2025-10-01 09:15:19+05:30,inf,75": "price 'inf' is not a plain decimal number",
    "2025-10-01 09:15:19+05:30,-inf,75": "price '-inf' is not a plain decimal number",
    "2025-10-01 09:15:19+05:30,1e3,75": "price '1e3' is not a plain decimal number",
    "2025-10-01 09:15:19+05:30,1_0,75": "price '1_0' is not a plain decimal number",
    "2025-10-01 09:15:19+05:30, 1,75": "price ' 1' is not a plain decimal number",
    "2025-10-01 09:15:19+05:30,1000000000,75": "price '1000000000' is not a plain decimal number",
    "2025-10-01 09:15:19+05:30,١,75": "price '١' is not a plain decimal number",
    "2025-10-01 09:15:19+05:30,0,75": "price '0' is not above 0",
    "2025-10-01 09:15:19+05:30,0.00,75": "price '0.00' is not above 0",
    "2025-10-01 09:15:19+05:30,-1.5,75": "price '-1.5' is not above 0",
    "2025-10-01 09:15:19+05:30,1.00001,75": "price '1.00001' is finer than 0.0001 ₹",
    "2025-10-01 09:15:19+05:30,1,x": "volume 'x' is not a whole number",
    "2025-10-01 09:15:19+05:30,1,-1": "volume '-1' is not a whole number",
    "2025-10-01 09:15:19+05:30,1,7.5": "volume '7.5' is not a whole number",
    "2025-10-01 09:15:19+05:30,1,": "volume '' is not a whole number",
    "2025-10-01 09:15:19+05:30,1,4294967296": "volume '4294967296' is not a whole number",
    "yesterday,1,0": "timestamp 'yesterday' is not understood",
    "2025-13-01 09:15:19+05:30,1,0": "timestamp '2025-13-01 09:15:19+05:30' is not understood",
    "2025-10-01 24:15:19+05:30,1,0": "timestamp '2025-10-01 24:15:19+05:30' is not understood",
    "2025-10-01 09:15:60+05:30,1,0": "timestamp '2025-10-01 09:15:60+05:30' is not understood",
    "2025-10-01 09:15:19.+05:30,1,0": "timestamp '2025-10-01 09:15:19.+05:30' is not understood",
    "1759290318,1,0": "timestamp '1759290318' is not understood",
    "1969-10-01 09:15:19Z,1,0": "timestamp '1969-10-01 09:15:19Z' is not understood",
    "2300-10-01 09:15:19Z,1,0": "timestamp '2300-10-01 09:15:19Z' is not understood",
    "2025-10-01 09:15:19,1,0": "timestamp '2025-10-01 09:15:19' has no zone",
    "2025-10-01 09:15:17+05:30,1,0": (
        "timestamp '2025-10-01 09:15:17+05:30' comes after '2025-10-01 09:15:18+05:30'"
    ),
    "2025-10-01 09:15:18+05:31,1,0": "timestamp '2025-10-01 09:15:18+05:31' comes after",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_is_named_with_its_number_and_value(path: Path, line: str) -> None:
    path.write_text(HEADER + GOOD + GOOD + line + "\n" + GOOD, encoding="utf-8")
    message = refusal(path)
    assert message.startswith(f"{path}: line 4: {BAD_LINES[line]}")
    assert "\n  rule: " in message
    assert "\n  cure: " in message


def test_a_long_value_is_cut_short(path: Path) -> None:
    path.write_text(HEADER + f"2025-10-01 09:15:19Z,{'9' * 5_000},0\n")
    assert len(refusal(path).splitlines()[0]) < len(str(path)) + 200


def test_bytes_that_are_not_utf_8_are_shown(path: Path) -> None:
    path.write_bytes(HEADER.encode() + b"2025-10-01 09:15:19Z,\xff1,0\n")
    assert r"line 2: price '\\xff1' is not a plain decimal number" in refusal(path)


def test_a_gz_that_is_not_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "day.csv.gz"
    path.write_text(HEADER + GOOD)
    assert refusal(path).startswith(f"{path}: the .gz is broken or cut short: Not a gzipped file")


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.999])
def test_a_truncated_gz_is_refused(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "day.csv.gz"
    write_ticks(path, make_ticks([235.85 + n / 100 for n in range(2_000)]))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    assert refusal(path).startswith(f"{path}: the .gz is broken or cut short: ")


def test_a_gz_with_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "day.csv.gz"
    write_ticks(path, make_ticks([235.85 + n / 100 for n in range(2_000)]))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(bytes(data))
    assert refusal(path).startswith(f"{path}: ")


def test_a_gz_that_is_not_deflated_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "day.csv.gz"
    write_ticks(path, make_ticks([235.85]))
    data = bytearray(path.read_bytes())
    data[10] |= 0b110  # the type of the first block: 3 is none
    path.write_bytes(bytes(data))
    assert "the .gz is broken or cut short: Error -3" in refusal(path)


# Writing -------------------------------------------------------------------------------------


def some_ticks() -> np.ndarray:
    ticks = make_ticks([235.85, 0.05, 88.4125, 392.0], quantity=65)
    ticks["seq"] = ticks["ts_recv_ns"] = 0
    ticks["ts_event_ns"] += np.array([0, 250_000_000, 123_456_789, 1])
    return ticks


@pytest.mark.parametrize("name", ["day.csv", "day.csv.gz"])
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    ticks = some_ticks()
    assert write_ticks(tmp_path / name, ticks) == 4
    assert read_ticks(tmp_path / name, ONE).tobytes() == ticks.tobytes()


def test_several_instruments_are_written_with_their_symbols(path: Path) -> None:
    ticks = some_ticks()
    ticks["instrument"] = (0, 1, 1, 0)
    ticks["day_volume"] = (65, 65, 130, 130)
    write_ticks(path, ticks, ["A", "B"])
    assert path.read_text().splitlines()[:3] == [
        "timestamp,price,volume,symbol",
        "2026-01-05 09:15:00+05:30,235.85,65,A",
        "2026-01-05 09:15:01.250+05:30,0.05,65,B",
    ]
    assert read_ticks(path, TWO).tobytes() == ticks.tobytes()


def test_instruments_that_nobody_named_are_numbered(path: Path) -> None:
    ticks = some_ticks()
    ticks["instrument"] = (0, 1, 1, 0)
    write_ticks(path, ticks)
    symbols = [line.split(",")[3] for line in path.read_text().splitlines()[1:]]
    assert symbols == ["SYM-1", "SYM-2", "SYM-2", "SYM-1"]


def test_the_same_ticks_give_the_same_gz(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz"):
        write_ticks(tmp_path / name, some_ticks())
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


def test_a_file_that_was_there_is_replaced_whole(path: Path) -> None:
    path.write_text("something old")
    write_ticks(path, some_ticks())
    assert len(read_ticks(path, ONE)) == 4
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(path: Path) -> None:
    path.write_text("something old")
    ticks = some_ticks()
    ticks["ts_event_ns"][2] = 2**63 - 1
    ticks["instrument"][3] = 1
    with pytest.raises(IndexError):
        write_ticks(path, ticks, ["A"])
    assert path.read_text() == "something old"
    assert list(path.parent.iterdir()) == [path]


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "day.csv"
    with pytest.raises(TickFileError) as caught:
        write_ticks(path, some_ticks())
    assert str(caught.value).startswith(f"{path}: No such file or directory\n")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(TickFileError, match="Permission denied"):
        write_ticks(tmp_path / "day.csv", some_ticks())


def test_ticks_of_a_century_are_exact(path: Path) -> None:
    ticks = np.zeros(100, TICK)
    ticks["price_e4"] = 1
    start, year = datetime.fromisoformat("1970-01-02T00:00:00+00:00"), timedelta(days=366)
    moments = [start + year * number for number in range(100)]
    ticks["ts_event_ns"] = [int(moment.timestamp()) * 10**9 + 1 for moment in moments]
    write_ticks(path, ticks)
    assert read_ticks(path, ONE)["ts_event_ns"].tolist() == ticks["ts_event_ns"].tolist()
