"""A feed that is killed and started again, beside a broker that tells every price once more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.settings import load_settings
from pipeline.simulator.script import Script
from pipeline.testing import make_ticks
from tests.system.conftest import GUIDE, Tickpipe, for_kite
from tests.system.simulating import Simulators
from tests.system.tape import Tape, assert_nothing_came_twice_or_out_of_order
from tests.system.test_day_of_faults import SECOND
from tests.system.test_stopping import HERE, HOLD, Run

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"),
]

KILLED_AT = (1_500, 2_000)  # ticks
TICKS = 2_500


@pytest.mark.parametrize(
    ("broker", "count", "connections"),
    [("smartapi", 4, 1), ("kite", 4, 1), ("smartapi", 1_002, 2)],
)
def test_whatever_a_killed_feed_published_comes_once_though_the_broker_sends_it_again(
    tickpipe: Tickpipe,
    simulators: Simulators,
    tmp_path: Path,
    broker: str,
    count: int,
    connections: int,
) -> None:
    """The first instrument and the last, which are on two connections where there are two, tick
    all day; those between at its beginning only."""
    day = make_ticks([100 + n % 7 / 20 for n in range(TICKS)], step_ms=1_000)
    day["instrument"] = np.resize([0, count - 1], TICKS)
    day["instrument"][:count] = np.arange(count)
    more = [
        SECOND.replace("OTHER", f"O{n}").replace("58964", str(58_964 + n)) for n in range(count - 1)
    ]
    config, tape_file = tmp_path / "many.toml", tmp_path / "tape.csv"
    text = GUIDE.read_text() + "".join(more)
    config.write_text(for_kite(text) if broker == "kite" else text)
    # Then no tick comes until the clients have gone and as many are there again, and the day
    # stands still meanwhile.
    faults = [
        {"kind": kind, "tick": tick + 1} for tick in KILLED_AT for kind in ("heartbeats", "text")
    ]
    simulator = simulators(load_settings(config).instruments)(
        day,
        broker=broker,
        faults=Script.model_validate({"faults": faults}),
        wait_for=connections,
        keep=True,
    )
    chosen = {
        "feed.url": f'"{simulator.url}"',
        "feed.credentials": '"simulator"',
        "feed.mode": '"full"',
        "strategy.use": f'"{HERE / "strategies.py"}:HoldsAndWritesDown"',
        "strategy.parameters.file": f'"{tape_file}"',
    }
    options = [part for name, value in chosen.items() for part in ("--set", f"{name}={value}")]
    run = Run(tickpipe, tickpipe.trade("run", "--config", config, *HOLD, *options))
    for number, tick in enumerate(KILLED_AT):
        tickpipe.wait_for(
            lambda tick=tick: run.beat("feed", "last_seq") == tick,  # type: ignore[misc]
            f"{tick} ticks",
        )
        assert run.beat("feed", "connected") == connections
        assert run.beat("feed", "duplicates") == (count if number else 0)
        run.kill("feed")
    code, output = run.finish()
    assert code == 0, output
    tape = Tape(tape_file, day)
    assert_nothing_came_twice_or_out_of_order(tape)
    assert len(tape.seqs) == TICKS
    assert tickpipe.results_file()[0]["Feed Restarts"] == "2"
