"""The examples of the pages run, and the pages show them as they are."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.backtest import BacktestResult, backtest
from pipeline.settings import load_settings
from pipeline.simulator.generator import generate_day

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "docs" / "examples"
GUIDE_PAGE = ROOT / "docs" / "user-guide-callbacks.md"
PAGES = [ROOT / "README.md", ROOT / "docs" / "writing-a-strategy.md", GUIDE_PAGE]
PROGRAMS = {  # what a program prints, in the order of the page
    "trade_a_day.py": r"callback, lockstep \d+ trades, net -?\d+\.\d\d\n",
    "compare_modes.py": r"Mode: poll, lockstep\n(Latency .*\n)+"
    r"Mode: callback, lockstep\n(Latency .*\n)+the same trades: True\n",
    "watch_ticks.py": r"polled 100 ticks, last price ₹\d+\.\d\d\n"
    r"the highest price after that was ₹\d+\.\d\d\n",
    "beside_a_gui.py": r"(.*\n)*ENDED: \d+ trades, net ₹.*\nP&L ₹[+-][\d,]+\.\d\d\n",
}


@pytest.fixture(scope="module")
def day() -> NDArray[np.void]:
    return generate_day(seed=7, date=date(2026, 1, 5))


def trade(day: NDArray[np.void], use: str, *overrides: str) -> BacktestResult:
    chosen = f"strategy.use={EXAMPLES / use}"
    return backtest(load_settings(ROOT / "configs" / "paper.toml", [chosen, *overrides]), day)


def prices_at(day: NDArray[np.void], seqs: list[int]) -> list[int]:
    return [int(day["price_e4"][seq - 1]) for seq in seqs]


def test_breakout_buys_new_highs_of_the_day(day: NDArray[np.void]) -> None:
    result = trade(day, "breakout.py:Breakout")
    entries = [trade.entry_seq for trade in result.trades]
    assert entries
    highs_before = [int(day["price_e4"][: seq - 1].max()) for seq in entries]
    assert all(
        price > high for price, high in zip(prices_at(day, entries), highs_before, strict=True)
    )


def test_breakout_on_batches_makes_the_trades_of_breakout_on_ticks(
    day: NDArray[np.void],
) -> None:
    one, other = (
        trade(day, use) for use in ("breakout.py:Breakout", "batch_breakout.py:BatchBreakout")
    )
    assert one.trades
    assert other.trades == one.trades


def test_channel_takes_its_parameters_and_leaves_when_it_is_out_of_patience(
    day: NDArray[np.void],
) -> None:
    parameters = ("strategy.parameters.length=50", "strategy.parameters.minutes_max=2")
    result = trade(day, "channel.py:Channel", *parameters)
    late = [t for t in result.trades if t.exit_reason == "Strategy Signal: out of patience"]
    assert late
    assert all(t.exit_ns - t.entry_ns >= 2 * 60 * 10**9 for t in late)
    window = [int(day["price_e4"][t.entry_seq - 51 : t.entry_seq - 1].max()) for t in late]
    bought = prices_at(day, [t.entry_seq for t in late])
    assert all(price > high for price, high in zip(bought, window, strict=True))


def test_the_example_of_a_test_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    try:
        tests = vars(importlib.import_module("test_channel"))
    finally:
        for name in ("channel", "test_channel"):
            sys.modules.pop(name, None)
    found = [v for k, v in tests.items() if k.startswith("test_") and isinstance(v, FunctionType)]
    assert found
    for test in found:
        test()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder like a checkout, with the commands `tickpipe` and `python`, in which the
    shell blocks of the page were run."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "docs").symlink_to(ROOT / "docs")
    shutil.copytree(ROOT / "configs", folder / "configs")
    with (folder / "configs" / "guide.toml").open("a") as config:
        config.write(f'\n[run]\nname = "examples-{os.getpid()}"\n')
    (folder / "bin").mkdir()
    for name, module in (("python", ""), ("tickpipe", "-m pipeline")):
        command = folder / "bin" / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {module} "$@"\n')
        command.chmod(0o755)
    blocks = blocks_of(GUIDE_PAGE, "sh")
    assert blocks
    for block in blocks:
        run_in(folder, ["bash", "-euc", block])
    return folder


def blocks_of(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def run_in(folder: Path, command: list[str]) -> str:
    """Run a command there and return what it printed."""
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_of_the_user_guide_prints_what_it_should(folder: Path, name: str) -> None:
    printed = run_in(folder, ["python", f"docs/examples/{name}"])
    assert re.fullmatch(PROGRAMS[name], printed), printed


def test_the_programs_are_those_of_the_page() -> None:
    sources = [(EXAMPLES / name).read_text(encoding="utf-8") for name in PROGRAMS]
    assert blocks_of(GUIDE_PAGE, "python") == sources


@pytest.mark.parametrize("page", [GUIDE_PAGE, ROOT / "docs" / "troubleshooting.md"])
def test_no_block_of_the_guide_facing_pages_is_of_a_kind_that_no_test_runs(page: Path) -> None:
    kinds = re.findall(r"^```(\w*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    ran = {"python", "sh"} if page is GUIDE_PAGE else {"text"}  # tests/test_troubleshooting.py
    assert set(kinds) == {"", *ran}
    assert kinds.count("") == len(kinds) / 2


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_python_block_of_a_page_is_a_whole_example(page: Path) -> None:
    blocks = blocks_of(page, "python")
    assert blocks
    examples = [path.read_text(encoding="utf-8") for path in EXAMPLES.glob("*.py")]
    assert all(block in examples for block in blocks)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_every_example_is_shown_on_a_page(path: Path) -> None:
    assert any(
        path.read_text(encoding="utf-8") in page.read_text(encoding="utf-8") for page in PAGES
    )
