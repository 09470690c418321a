"""[[instruments]] completed by the broker's instrument dump."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.brokers.files import complete_instruments, read_dump
from pipeline.brokers.instruments import Dump, Listed, fill, nearest
from pipeline.errors import SettingsError
from pipeline.settings import Instrument

KITE_HEADER = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,"
    "lot_size,instrument_type,segment,exchange\n"
)
KITE = KITE_HEADER + (
    "15094530,58963,NIFTY25NOV26000CE,NIFTY,0,2025-11-25,26000,0.05,75,CE,NFO-OPT,NFO\n"
    "15094786,58964,NIFTY25NOVFUT,NIFTY,0,2025-11-25,0,0.1,75,FUT,NFO-FUT,NFO\n"
    "408065,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE\n"
    "25000194,97657,INFY25NOVFUT,INFY,0,2025-11-25,0,0.1,400,FUT,NFO-FUT,NFO\n"
    "2953217,11536,TCS,TATA CONSULTANCY SERV LT,0,,0,0.05,1,EQ,NSE,NSE\n"
    "256265,1001,NIFTY 50,NIFTY 50,0,,0,0,0,EQ,INDICES,NSE\n"
    "412675,1612,USDINR25NOVFUT,USDINR,0,2025-11-26,0,0.0025,1000,FUT,CDS-FUT,CDS\n"
    "999430,3904,USDINR25NOV85CE,USDINR,0,2025-11-26,85,0.0025,1000,CE,BCD-OPT,BCD\n"
)


def smart_row(**changes: str) -> dict[str, str]:
    row = {
        "token": "58963",
        "symbol": "NIFTY25NOV2526000CE",
        "name": "NIFTY",
        "expiry": "25NOV2025",
        "strike": "2600000.000000",
        "lotsize": "75",
        "instrumenttype": "OPTIDX",
        "exch_seg": "NFO",
        "tick_size": "5.000000",
    }
    return row | changes


def smart_share(**changes: str) -> dict[str, str]:
    bare = {"expiry": "", "strike": "-1.000000", "lotsize": "1", "instrumenttype": ""}
    return smart_row(**(bare | {"exch_seg": "NSE"} | changes))


SMART = json.dumps(
    [
        smart_row(),
        smart_share(token="1594", symbol="INFY-EQ", name="INFY"),
        smart_row(
            token="97657",
            symbol="INFY25NOV25FUT",
            name="INFY",
            instrumenttype="FUTSTK",
            lotsize="400",
            tick_size="10.000000",
        ),
        smart_share(token="11536", symbol="TCS-EQ", name="TCS"),
        smart_share(token="99926000", symbol="Nifty 50", name="NIFTY", instrumenttype="AMXIDX"),
        smart_row(symbol="JEERA", exch_seg="NCDEX"),
    ]
)
DAY = date(2025, 11, 25)


@pytest.fixture
def kite(tmp_path: Path) -> Path:
    path = tmp_path / "instruments.csv"
    path.write_text(KITE)
    return path


@pytest.fixture
def smart(tmp_path: Path) -> Path:
    path = tmp_path / "OpenAPIScripMaster.json"
    path.write_text(SMART)
    return path


def config(path: Path, *rows: dict[str, Any], **feed: str) -> dict[str, Any]:
    return {"feed": {"instruments_file": str(path), **feed}, "instruments": list(rows)}


def option(**more: Any) -> dict[str, Any]:
    return {"symbol": "NIFTY25NOV26000CE", "exchange": "NFO", **more}


def completed(table: dict[str, Any], day: date | None = DAY) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = complete_instruments(table, "my.toml", day=day)["instruments"]
    return rows


def refusal(table: dict[str, Any], day: date | None = DAY) -> str:
    with pytest.raises(SettingsError) as caught:
        completed(table, day)
    return str(caught.value)


# What the dumps say ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exchange", "symbol", "listed"),
    [
        ("NFO", "NIFTY25NOV26000CE", ("15094530", 75, "0.05", "option", "NIFTY", DAY)),
        ("NFO", "NIFTY25NOVFUT", ("15094786", 75, "0.1", "future", "NIFTY", DAY)),
        ("NFO", "INFY25NOVFUT", ("25000194", 400, "0.1", "future", None, DAY)),
        ("NSE", "INFY", ("408065", 1, "0.05", "share_with_derivatives", None, None)),
        ("NSE", "TCS", ("2953217", 1, "0.05", None, None, None)),
        ("NSE", "NIFTY 50", ("256265", None, None, None, None, None)),
        ("CDS", "USDINR25NOV85CE", ("999430", 1_000, "0.0025", "option", "USDINR", None)),
    ],
)
def test_a_row_of_kites_dump_in_our_words(
    kite: Path, exchange: str, symbol: str, listed: tuple[Any, ...]
) -> None:
    (found,) = read_dump(kite).listed((exchange, symbol))
    token, lot_size, tick_size, kind, underlying, expiry = listed
    assert found[:5] == (token, lot_size, tick_size and Decimal(tick_size), kind, underlying)
    assert found.expiry == (expiry if exchange != "CDS" else date(2025, 11, 26))


@pytest.mark.parametrize(
    ("exchange", "symbol", "listed"),
    [
        ("NFO", "NIFTY25NOV2526000CE", ("58963", 75, "0.05", "option", "NIFTY", DAY)),
        ("NFO", "INFY25NOV25FUT", ("97657", 400, "0.1", "future", None, DAY)),
        ("NSE", "INFY-EQ", ("1594", 1, "0.05", "share_with_derivatives", None, None)),
        ("NSE", "TCS-EQ", ("11536", 1, "0.05", None, None, None)),
        ("NSE", "Nifty 50", ("99926000", None, None, None, None, None)),
    ],
)
def test_a_row_of_smartapis_dump_in_our_words(
    smart: Path, exchange: str, symbol: str, listed: tuple[Any, ...]
) -> None:
    (found,) = read_dump(smart).listed((exchange, symbol))
    token, lot_size, tick_size, kind, underlying, expiry = listed
    amount = tick_size and Decimal(tick_size)
    assert found == Listed(token, lot_size, amount, kind, underlying, expiry)


def test_a_tick_size_of_smartapi_is_written_as_a_person_would(tmp_path: Path) -> None:
    path = tmp_path / "dump.json"
    path.write_text(json.dumps([smart_row(tick_size="100000.000000")]))
    (found,) = read_dump(path).listed(("NFO", "NIFTY25NOV2526000CE"))
    assert str(found.tick_size) == "1000"


def test_exchanges_that_nothing_here_trades_are_left_out(smart: Path) -> None:
    assert {exchange for exchange, _ in read_dump(smart).names} == {"NSE", "NFO"}


def test_the_recorded_dumps_are_read(shared_data: Path) -> None:
    dump = read_dump(shared_data / "kite/mocks/instruments_all.csv")
    assert len(list(dump.names)) == 99
    (option,) = dump.listed(("NFO", "BANKNIFTY18JAN23500CE"))
    expiry = date(2018, 1, 25)
    assert option == Listed("12073986", 40, Decimal("0.05"), "option", None, expiry)


# What becomes of [[instruments]] --------------------------------------------------------------


def test_a_symbol_is_all_that_a_user_writes(kite: Path) -> None:
    (row,) = completed(config(kite, option(product_type="INTRADAY"), broker="kite"))
    instrument = Instrument.model_validate(row)
    assert (instrument.token, instrument.lot_size) == ("15094530", 75)
    assert (instrument.tick_size, instrument.kind) == (Decimal("0.05"), "option")
    assert instrument.underlying == "NIFTY"


def test_what_was_taken_is_reported(kite: Path) -> None:
    notes: list[str] = []
    table = config(kite, option(lot_size=75), broker="kite")
    complete_instruments(table, "my.toml", day=DAY, report=notes.append)
    assert notes == [
        "NIFTY25NOV26000CE: token 15094530, tick_size 0.05, kind option, underlying NIFTY "
        f"(from {kite})"
    ]


def test_what_is_written_and_the_same_is_kept(kite: Path) -> None:
    row = option(token="15094530", lot_size=75, tick_size=0.05, kind="option", underlying="NIFTY")
    assert completed(config(kite, row)) == [row]


def test_what_the_dump_leaves_open_stays_the_users(kite: Path) -> None:
    row = {"symbol": "NIFTY 50", "exchange": "NSE", "lot_size": 1, "tick_size": 0.05}
    assert completed(config(kite, row)) == [row | {"token": "256265"}]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("token", "15094786", "token is 15094786 here and 15094530 in the dump"),
        ("lot_size", 65, "lot_size is 65 here and 75 in the dump"),
        ("tick_size", 0.1, "tick_size is 0.1 here and 0.05 in the dump"),
        ("kind", "future", "kind is future here and option in the dump"),
        ("underlying", "BANKNIFTY", "underlying is BANKNIFTY here and NIFTY in the dump"),
        ("lot_size", True, "lot_size is True here and 75 in the dump"),
    ],
)
def test_a_difference_is_refused_with_both_values(
    kite: Path, key: str, value: object, said: str
) -> None:
    assert f"instruments.0: {said} ({kite})" in refusal(config(kite, option(**{key: value})))


def test_an_unknown_symbol_is_refused_with_the_nearest(kite: Path) -> None:
    row = {"symbol": "NIFTY25NOV26000PE", "exchange": "NFO"}
    said = refusal(config(kite, row))
    assert "NFO has no 'NIFTY25NOV26000PE' in it; the nearest are 'NIFTY25NOV26000CE'" in said


def test_a_symbol_of_another_exchange_is_told_with_it(kite: Path) -> None:
    assert "BSE has no 'INFY' in it; it is of NSE" in refusal(
        config(kite, {"symbol": "INFY", "exchange": "BSE"})
    )


def test_an_exchange_that_the_dump_lacks_is_told(kite: Path) -> None:
    row = {"symbol": "CRUDEOIL25DECFUT", "exchange": "MCX"}
    assert "MCX has no 'CRUDEOIL25DECFUT' in it; it has no row of MCX" in refusal(config(kite, row))


def test_every_mistake_is_told_at_once(kite: Path) -> None:
    said = refusal(config(kite, option(lot_size=65), {"symbol": "INF", "exchange": "NSE"}))
    assert "my.toml: 2 mistake(s)" in said
    assert "instruments.1: NSE has no 'INF' in it; the nearest are 'INFY'" in said


def test_a_contract_trades_on_the_day_of_its_expiry_and_not_after(kite: Path) -> None:
    completed(config(kite, option()), DAY)
    said = refusal(config(kite, option()), date(2025, 11, 26))
    assert "NIFTY25NOV26000CE expired on 2025-11-25, before 2025-11-26" in said


@pytest.mark.parametrize("feed", [{"broker": "recorded"}, {"credentials": "simulator"}])
def test_a_day_that_is_played_again_may_be_one_of_an_expired_contract(
    kite: Path, feed: dict[str, str]
) -> None:
    assert completed(config(kite, option(), **feed), date(2030, 1, 1))[0]["token"] == "15094530"


def test_a_name_that_is_there_twice_needs_its_token(tmp_path: Path) -> None:
    path = tmp_path / "dump.json"
    path.write_text(json.dumps([smart_row(), smart_row(token="7")]))
    row = {"symbol": "NIFTY25NOV2526000CE", "exchange": "NFO"}
    assert "2 times in it; write the token: 58963, 7" in refusal(config(path, row))
    assert completed(config(path, row | {"token": "7"}))[0]["lot_size"] == 75


def test_a_dump_of_another_broker_is_refused(kite: Path, smart: Path) -> None:
    said = refusal(config(kite, option(), broker="smartapi"))
    assert "it is a dump of kite" in said
    assert "it is a dump of smartapi" in refusal(config(smart, option(), broker="kite"))


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"feed": "kite"},
        {"feed": {"broker": "kite"}, "instruments": [{"symbol": "A"}]},
        {"feed": {"instruments_file": "gone.csv"}, "instruments": 7},
        {"feed": {"instruments_file": 7}, "instruments": []},
    ],
)
def test_a_configuration_without_a_dump_stays_as_it_is(table: dict[str, Any]) -> None:
    assert complete_instruments(table, "my.toml", day=DAY) == table


def test_a_row_without_a_name_is_left_to_the_check_of_the_settings(kite: Path) -> None:
    rows = [{"symbol": 7, "exchange": "NFO"}, {"exchange": "NFO"}]
    assert completed(config(kite, *rows)) == rows


# Files ----------------------------------------------------------------------------------------


def test_a_dump_may_be_compressed(tmp_path: Path) -> None:
    for name, text in (("a.csv.gz", KITE), ("b.json.gz", SMART)):
        (tmp_path / name).write_bytes(gzip.compress(text.encode()))
        assert read_dump(tmp_path / name).names


def broken(kite_row: str) -> str:
    return KITE_HEADER + kite_row


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1 has no column instrument_token"),
        ("token,symbol\n1,A\n", "line 1 has no column instrument_token, tradingsymbol"),
        ("[1]", "it is no list of objects"),
        ("[{", "Expecting property name"),
        ('[{"token": "1"}]', "row 1 has no exch_seg, expiry"),
        ("[" * 100_000, "instruments_file"),
    ],
)
def test_a_file_that_is_no_dump_is_refused_with_the_place(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "dump"
    path.write_text(text)
    assert said in refusal(config(path, option()))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_bytes(b"no gzip"), "Not a gzipped file"),
        (lambda path: path.write_bytes(gzip.compress(KITE.encode())[:-9]), "cut short"),
        (lambda path: path.write_bytes(gzip.compress(b"\xff\xfe")), "can't decode"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    path = tmp_path / "dump.csv.gz"
    make(path)
    text = refusal(config(path, option()))
    assert said in text
    assert str(path) in text


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("1,1,A,A,0,2025-13-01,0,0.05,75,CE,NFO-OPT,NFO\n", "month must be in 1..12"),
        ("1,1,A,A,0,,0,a,75,CE,NFO-OPT,NFO\n", "lot_size '75', tick_size 'a'"),
        ("1,1,A,A,0,,0,0.05,,CE,NFO-OPT,NFO\n", "lot_size '', tick_size '0.05'"),
    ],
)
def test_only_a_broken_row_that_is_asked_for_matters(tmp_path: Path, row: str, said: str) -> None:
    path = tmp_path / "dump.csv"
    path.write_text(KITE + row + "cut,sho")
    assert completed(config(path, option()))[0]["lot_size"] == 75
    message = refusal(config(path, {"symbol": "A", "exchange": "NFO"}))
    assert "the dump's row of A is broken" in message
    assert said in message


@pytest.mark.parametrize("expiry", ["25XXX2025", "2025-11-25", "45NOV2025"])
def test_an_expiry_that_is_no_date_is_told(tmp_path: Path, expiry: str) -> None:
    path = tmp_path / "dump.json"
    path.write_text(json.dumps([smart_row(expiry=expiry)]))
    row = {"symbol": "NIFTY25NOV2526000CE", "exchange": "NFO"}
    assert "the dump's row of NIFTY25NOV2526000CE is broken" in refusal(config(path, row))


# A whole one ----------------------------------------------------------------------------------

ROWS = 100_000


def kite_rows() -> str:
    return "".join(
        f"{n << 8 | 2},{n},NIFTY25D{n:06}CE,NIFTY,0,2025-12-30,{n},0.05,75,CE,NFO-OPT,NFO\n"
        for n in range(ROWS)
    )


def smart_rows() -> str:
    return json.dumps([smart_row(token=str(n), symbol=f"NIFTY25D{n:06}CE") for n in range(ROWS)])


@pytest.mark.parametrize(
    "text", [lambda: KITE_HEADER + kite_rows(), smart_rows], ids=["kite", "smartapi"]
)
def test_a_dump_of_100_000_rows_fills_in_and_finds_the_nearest(
    tmp_path: Path, text: Callable[[], str]
) -> None:
    path = tmp_path / "dump"
    path.write_text(text())
    dump: Dump = read_dump(path)
    assert len(list(dump.names)) == ROWS
    good = {"symbol": "NIFTY25D099999CE", "exchange": "NFO"}
    filled = fill([good, {"symbol": "NIFTY25D09999CE", "exchange": "NFO"}], dump, DAY)
    assert filled.rows[0]["lot_size"] == 75
    (mistake,) = filled.mistakes
    assert "'NIFTY25D099999CE'" in mistake


def test_what_looks_like_nothing_has_no_nearest() -> None:
    assert nearest("zzz", ["INFY", "TCS"]) == []
