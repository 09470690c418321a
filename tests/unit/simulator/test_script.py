"""Fault scripts: what one may say, and before which tick each fault happens."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest

from pipeline.errors import SettingsError
from pipeline.simulator.faults import KINDS, Fin, Reset, Silent
from pipeline.simulator.script import Script, bind, describe_faults, read_script
from pipeline.testing import make_instrument, make_ticks

ROOT = Path(__file__).resolve().parent.parent.parent.parent
INSTRUMENTS = [make_instrument(symbol="A"), make_instrument(symbol="B", token="2")]
TICKS = make_ticks([1.0] * 100, start="2026-01-05T10:00:00", step_ms=60_000)
NEEDED = {
    "http": "status = 401",
    "expiry": 'token = "todays"',
    "silent": 'symbol = "A"\nticks = 9',
}


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "faults.toml"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_written_with_what_it_needs(script: Path, kind: str) -> None:
    script.write_text(f'[[faults]]\ntick = 3\nkind = "{kind}"\n{NEEDED.get(kind, "")}\n')
    (fault,) = read_script(script).faults
    assert type(fault) is KINDS[kind]
    assert (fault.tick, fault.kind, fault.missed) == (3, kind, 0)


def test_every_kind_is_described_with_its_keys() -> None:
    text = describe_faults()
    for name, kind in KINDS.items():
        assert f"\n  {name} " in f"\n{text}"
        assert (kind.__doc__ or "?").strip() in text


def test_the_page_has_every_kind_with_what_it_does_and_its_keys() -> None:
    page = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
    for name, kind in KINDS.items():
        keys = [key for key in kind.__annotations__ if key != "kind"]
        cell = ", ".join(f"`{key}`" for key in keys)
        assert f"| `{name}` | {kind.__doc__} | {cell} |".replace("|  |", "| |") in page


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ('tick = 3\nkind = "rset"', ": kind 'rset' is unknown; the nearest valid name is 'reset'"),
        ('tick = 3\nkind = "qqq"', ": kind 'qqq' is unknown; valid: reset, fin, close"),
        ("tick = 3", ": kind is missing"),
        (
            'tick = 3\nkind = "fin"\nmised = 2',
            " (fin): mised: unknown key; the nearest valid name is 'missed'",
        ),
        ('kind = "fin"', " (fin): a fault has either tick or time"),
        ('kind = "fin"\ntick = 3\ntime = "10:00"', " (fin): a fault has either tick or time"),
        ('kind = "fin"\ntick = 0', " (fin): tick: Input should be greater than or equal to 1"),
        ('kind = "fin"\ntick = "3"', " (fin): tick: write a whole number"),
        ('kind = "http"\ntick = 3', " (http): status: Field required"),
        ('kind = "http"\ntick = 3\nstatus = 200', " (http): status: Input should be greater"),
        ('kind = "silent"\ntick = 3\nticks = 1', " (silent): symbol: Field required"),
        ('kind = "noise"\ntick = 3\nhex = "f"', " (noise): hex: String should match"),
    ],
)
def test_a_mistake_is_told_with_its_fault_and_the_nearest_name(
    script: Path, fault: str, told: str
) -> None:
    script.write_text(f"[[faults]]\n{fault}\n")
    with pytest.raises(SettingsError) as caught:
        read_script(script)
    assert f"1 mistake(s)\n  - fault 1{told}" in str(caught.value)


def test_all_mistakes_are_told_at_once(script: Path) -> None:
    script.write_text('[[faults]]\nkind = "x"\n[[faults]]\nkind = "fin"\n[[fault]]\ntick = 1\n')
    with pytest.raises(SettingsError, match=r"3 mistake\(s\)") as caught:
        read_script(script)
    assert "  - fault: unknown key; the nearest valid name is 'faults'" in str(caught.value)


@pytest.mark.parametrize("content", [b"[[faults", b"\xff"])
def test_what_is_no_toml_is_refused(script: Path, content: bytes) -> None:
    script.write_bytes(content)
    with pytest.raises(SettingsError, match="a fault script is TOML"):
        read_script(script)


def test_a_file_that_is_not_there_is_refused(script: Path) -> None:
    with pytest.raises(SettingsError, match=r"faults\.toml: No such file"):
        read_script(script)


def test_faults_happen_in_the_order_of_their_ticks_and_times() -> None:
    script = Script(
        faults=(
            Fin(kind="fin", time=time(10, 30)),
            Reset(kind="reset", tick=4),
            Reset(kind="reset", time=time(9)),
            Fin(kind="fin", tick=4),
        )
    )
    due = bind(script, TICKS, INSTRUMENTS)
    assert [(each.place, each.fault.kind) for each in due] == [
        (0, "reset"),
        (3, "reset"),
        (3, "fin"),
        (30, "fin"),
    ]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fin(kind="fin", tick=101), "fault 1: tick 101 of 100"),
        (Fin(kind="fin", time=time(15)), "fault 1: tick 15:00:00 of 100"),
        (
            Silent(kind="silent", tick=1, symbol="AA", ticks=1),
            "fault 1: symbol 'AA'; the nearest valid name is 'A'",
        ),
    ],
)
def test_what_the_recording_does_not_have_is_refused(fault: Fin, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        bind(Script(faults=(fault,)), TICKS, INSTRUMENTS)
    assert str(caught.value).startswith(told)
