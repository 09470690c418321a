"""The results file: two blocks, the guide's columns first, never over another file."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.records import IST
from pipeline.results.files import COLUMNS, read_results, time_text, write_results
from pipeline.results.statistics import Figure, summarise
from pipeline.results.trades import Trade
from tests.money import at, e4_of, trade

STAMP = datetime(2025, 10, 1, 15, 31, 5, tzinfo=IST)
GUIDE_COLUMNS = [
    "trade_id", "position_id", "symbol", "entry_time", "exit_time", "entry_price", "exit_price",
    "quantity", "gross_pnl", "commission", "net_pnl", "exit_reason", "duration_minutes",
    "return_percent",
]  # fmt: skip
OUR_COLUMNS = [
    "side", "product", "entry_charges", "exit_charges", "slippage", "mae", "mfe", "entry_seq",
    "exit_seq", "entry_order_id", "exit_order_id", "tick_to_signal_us", "signal_to_order_us",
]  # fmt: skip


def write(
    directory: Path,
    *trades: Trade,
    parameters: tuple[tuple[str, str], ...] = (("Data Source", "day.csv"),),
) -> Path:
    figures = summarise(trades, Decimal(1_000)).figures()
    return write_results(
        directory, trades=trades, figures=figures, parameters=parameters, stamp=STAMP
    )


def test_the_name_has_the_time_of_the_run(tmp_path: Path) -> None:
    assert write(tmp_path).name == "forward_test_results_20251001_153105.csv"


def test_a_second_run_in_the_same_second_gets_its_own_file(tmp_path: Path) -> None:
    first = write(tmp_path, trade(1))
    content = first.read_text()
    others = [write(tmp_path).name for _ in range(2)]
    assert others == [
        "forward_test_results_20251001_153105_2.csv",
        "forward_test_results_20251001_153105_3.csv",
    ]
    assert first.read_text() == content


def test_nothing_else_is_left_in_the_directory(tmp_path: Path) -> None:
    path = write(tmp_path / "made" / "here", trade(1))
    assert list(path.parent.iterdir()) == [path]


def test_the_two_blocks_stand_with_a_blank_line_between(tmp_path: Path) -> None:
    lines = write(tmp_path, trade(1)).read_text(encoding="utf-8").split("\n")
    blank = lines.index("")
    assert lines[:2] == ["Parameter,Value,Formula", "Data Source,day.csv,"]
    assert lines[blank - 1].startswith("Average Duration (min),1.50,Σ")
    assert lines[blank + 1].split(",") == GUIDE_COLUMNS + OUR_COLUMNS == list(COLUMNS)
    assert len(lines) == blank + 4


def test_without_trades_the_header_stands_alone(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert path.read_text(encoding="utf-8").endswith("\n\n" + ",".join(COLUMNS) + "\n")
    assert read_results(path)[1] == []


def test_a_trade_row_is_rounded_and_in_indian_time(tmp_path: Path) -> None:
    row = trade(
        0,
        trade_id=7,
        position_id=3,
        quantity=150,
        entry_ns=at("09:30:00") + 250_999_999,
        exit_ns=at("09:31:30") + 250_999_999,
        entry_price_e4=e4_of("226.2"),
        exit_price_e4=e4_of("231.8055"),
        gross_pnl=Decimal("840"),
        entry_charges=Decimal("13.005"),
        exit_charges=Decimal("22.231938"),
        slippage=Decimal("7.5"),
        mae=Decimal("-15"),
        mfe=Decimal("845.125"),
        tick_to_signal_ns=12_345,
        signal_to_order_ns=50,
    )
    _, rows = read_results(write(tmp_path, row))
    assert rows == [
        {
            "trade_id": "7",
            "position_id": "3",
            "symbol": "NIFTY-OPTION",
            "entry_time": "2025-10-01 09:30:00.250+05:30",
            "exit_time": "2025-10-01 09:31:30.250+05:30",
            "entry_price": "226.20",
            "exit_price": "231.8055",
            "quantity": "150",
            "gross_pnl": "840.00",
            "commission": "35.24",
            "net_pnl": "804.76",
            "exit_reason": "Take Profit 1",
            "duration_minutes": "1.50",
            "return_percent": "2.3718",
            "side": "BUY",
            "product": "INTRADAY",
            "entry_charges": "13.01",
            "exit_charges": "22.23",
            "slippage": "7.50",
            "mae": "-15.00",
            "mfe": "845.13",
            "entry_seq": "1",
            "exit_seq": "2",
            "entry_order_id": "251001N0001E0",
            "exit_order_id": "251001N0001X1",
            "tick_to_signal_us": "12.3",
            "signal_to_order_us": "0.1",
        }
    ]


def test_texts_with_commas_quotes_and_newlines_come_back(tmp_path: Path) -> None:
    reason = 'Strategy Signal: "a, b"\nsecond line'
    parameters, rows = read_results(
        write(tmp_path, trade(1, exit_reason=reason), parameters=(("Note", "x,\n\ny"),))
    )
    assert rows[0]["exit_reason"] == reason
    assert parameters["Note"] == "x,\n\ny"


def test_figures_come_back_as_values(tmp_path: Path) -> None:
    parameters, _ = read_results(write(tmp_path, trade(5), trade(-3, trade_id=2)))
    assert (parameters["Net P&L"], parameters["Win Rate %"]) == ("2.00", "50.00")


def test_a_directory_that_cannot_be_made_is_the_user_s_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"the ledger has the same trades"):
        write(tmp_path / "file" / "results")


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    bad = [Figure("Name", "\ud800", "")]  # a lone surrogate is not UTF-8
    with pytest.raises(UnicodeEncodeError):
        write_results(tmp_path, trades=[], figures=bad, parameters=[], stamp=STAMP)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "a,b\n", "Parameter,Value,Formula\nx,y,\n", "\ud800"])
def test_a_file_that_is_not_ours_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.csv"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError, match=r"other\.csv"):
        read_results(path)


def test_a_file_that_is_not_there_is_the_user_s_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_results(tmp_path / "none.csv")


def test_a_time_keeps_its_milliseconds() -> None:
    assert time_text(at("09:15:18") + 5_999_999) == "2025-10-01 09:15:18.005+05:30"
