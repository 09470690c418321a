from channel import Channel

from pipeline import Action
from pipeline.testing import make_strategy_settings, make_ticks, run_strategy


def test_buys_above_the_last_three_prices() -> None:
    settings = make_strategy_settings(parameters={"length": 3, "minutes_max": 5})
    ticks = make_ticks([100.0, 101.0, 100.5, 101.0, 101.05])
    signals = run_strategy(Channel(settings), ticks)
    assert [(s.tick_seq, s.action, s.reason) for s in signals] == [
        (5, Action.BUY, "above the channel")
    ]
