"""Ctrl-C before a command has begun: while Python imports, which can take seconds."""

from __future__ import annotations

import os
import signal

import pytest

from pipeline.runtime.exit_codes import ExitCode
from tests.system.conftest import GUIDE, Tickpipe, finish
from tests.system.golden import write_day

pytestmark = pytest.mark.system

# In the working directory it stands before the module of that name, and never ends.
ENDLESS = "import pathlib, signal; pathlib.Path('importing').touch(); signal.pause()"


@pytest.mark.parametrize(
    ("module", "verb", "options"),
    [
        ("numpy", "run", ()),
        ("rich", "replay", ("day.csv",)),
        ("sqlite3", "backtest", ("day.csv",)),
        ("aiohttp", "simulate", ("day.csv", "--port", 0)),
        ("aiohttp", "replay", ("day.csv", "--through-simulator")),
    ],
)
def test_ctrl_c_while_a_command_imports_ends_it_without_a_word(
    tickpipe: Tickpipe, module: str, verb: str, options: tuple[object, ...]
) -> None:
    write_day(tickpipe.folder / "day.csv", ticks=100)
    (tickpipe.folder / f"{module}.py").write_text(ENDLESS)
    process = tickpipe.start(verb, *options, "--config", GUIDE)
    tickpipe.wait_for((tickpipe.folder / "importing").exists, f"{module} to be imported")
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does
    assert finish(process) == (ExitCode.INTERRUPTED, "")
