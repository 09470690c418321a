"""From strategy.use to the strategy object."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.errors import StrategyLoadError
from pipeline.strategies.momentum import Momentum
from pipeline.strategy.contract import Strategy
from pipeline.strategy.loading import load_strategy
from pipeline.testing import make_strategy_settings

BREAKOUT = """
from __future__ import annotations

from dataclasses import dataclass
from pipeline import Signal, Strategy

@dataclass
class Level:
    high: float

class Breakout(Strategy):
    def __init__(self, settings):
        self.level = Level(settings.parameters["high"])

    def on_tick(self, tick):
        return None

class Mute(Strategy):
    pass

class Stranger:
    pass

NUMBER = 3
"""


@pytest.fixture
def breakout(tmp_path: Path) -> Path:
    return written(tmp_path, "breakout.py", BREAKOUT)


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def load(use: str, **parameters: str | float) -> Strategy:
    return load_strategy(make_strategy_settings(use=use, parameters=parameters))


def message_of(use: str, **parameters: str | float) -> str:
    with pytest.raises(StrategyLoadError) as caught:
        load(use, **parameters)
    text = str(caught.value)
    assert "rule: " in text
    assert "cure: " in text
    return text


def test_the_default_is_the_guides_strategy() -> None:
    assert isinstance(load_strategy(make_strategy_settings()), Momentum)


def test_a_class_is_loaded_from_a_file_with_its_parameters(breakout: Path) -> None:
    strategy = load(f"{breakout}:Breakout", high=101.5)
    assert type(strategy).__name__ == "Breakout"
    assert strategy.level.high == 101.5  # type: ignore[attr-defined]


def test_a_relative_path_starts_in_the_working_directory(
    breakout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(breakout.parent)
    assert isinstance(load("breakout.py:Breakout", high=1.0), Strategy)


def test_a_file_does_not_hide_a_module_of_its_name(tmp_path: Path) -> None:
    path = written(tmp_path, "random.py", BREAKOUT)
    load(f"{path}:Breakout", high=1.0)
    import random

    assert hasattr(random, "choice")


def test_a_missing_module_is_named() -> None:
    text = message_of("no_such_package.strategies:Fast")
    assert "no module 'no_such_package.strategies'" in text
    assert "no_such_package/strategies.py:Class" in text


def test_a_missing_submodule_is_named() -> None:
    assert "no module 'pipeline.strategies.momentun'" in message_of(
        "pipeline.strategies.momentun:Momentum"
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert f"no file {tmp_path}/gone.py" in message_of(f"{tmp_path}/gone.py:Fast")


def test_a_misspelt_class_gets_the_nearest_name(breakout: Path) -> None:
    text = message_of(f"{breakout}:Brekout")
    assert "no 'Brekout'" in text
    assert "nearest strategy there is 'Breakout'" in text


def test_an_unlike_class_gets_the_list(breakout: Path) -> None:
    assert "its strategies are Breakout, Mute" in message_of(f"{breakout}:Zzz")


def test_a_file_without_strategies_says_what_to_write(tmp_path: Path) -> None:
    path = written(tmp_path, "empty.py", "")
    assert "write a subclass of pipeline.Strategy" in message_of(f"{path}:Fast")


@pytest.mark.parametrize("name", ["Stranger", "NUMBER"])
def test_what_is_no_strategy_is_refused(breakout: Path, name: str) -> None:
    assert "a strategy is a subclass of pipeline.Strategy" in message_of(f"{breakout}:{name}")


def test_a_strategy_without_on_tick_is_refused(breakout: Path) -> None:
    assert "Mute has no on_tick" in message_of(f"{breakout}:Mute")


def test_a_constructor_that_raises_is_shown(breakout: Path) -> None:
    with pytest.raises(StrategyLoadError, match="constructor raised KeyError: 'high'") as caught:
        load(f"{breakout}:Breakout")
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_strategy_refuses_its_parameters_in_its_own_words(tmp_path: Path) -> None:
    text = BREAKOUT.replace(
        "self.level =", "from pipeline.errors import StrategyLoadError as No; raise No('high?') #"
    )
    path = written(tmp_path, "fussy.py", text)
    with pytest.raises(StrategyLoadError, match=r"^high\?$"):
        load(f"{path}:Breakout")


def test_a_file_that_cannot_be_imported_is_shown(tmp_path: Path) -> None:
    path = written(tmp_path, "broken.py", "def on_tick(:\n")
    assert f"importing {path} raised SyntaxError" in message_of(f"{path}:Fast")


def test_a_file_that_exits_is_shown(tmp_path: Path) -> None:
    path = written(tmp_path, "exits.py", "import sys\nsys.exit(3)\n")
    assert f"importing {path} raised SystemExit: 3 (exits.py, line 2)" in message_of(f"{path}:Fast")


def test_a_module_whose_own_import_fails_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, "needs_talib_for_test.py", "import no_such_talib\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = message_of("needs_talib_for_test:Fast")
    assert "importing needs_talib_for_test raised ModuleNotFoundError" in text
    assert "(needs_talib_for_test.py, line 1)" in text
    assert f"into {sys.prefix}, or correct the import" in text
    assert "no_such_talib" in text
