"""The examples of the pages run, and the pages show them as they are."""

from __future__ import annotations

import importlib
import re
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
PAGES = [ROOT / "README.md", ROOT / "docs" / "writing-a-strategy.md"]


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


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_python_block_of_a_page_is_a_whole_example(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert blocks
    examples = [path.read_text(encoding="utf-8") for path in EXAMPLES.glob("*.py")]
    assert all(block in examples for block in blocks)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_every_example_is_shown_on_a_page(path: Path) -> None:
    assert any(
        path.read_text(encoding="utf-8") in page.read_text(encoding="utf-8") for page in PAGES
    )
