import tomllib
from pathlib import Path

from pipeline.trader import LiveTrader

config = tomllib.loads(Path("configs/guide.toml").read_text(encoding="utf-8"))
config["feed"] = {"broker": "recorded", "recording": "day.csv", "ticks_max": 1000}
config["channels"] = {"lockstep": True}

exits = []
for use_direct_callbacks in (False, True):
    trader = LiveTrader(frozen_config=config)
    trader.use_direct_callbacks = use_direct_callbacks
    trader.start()
    figures, trades = trader.results()
    exits.append([(trade["exit_time"], trade["net_pnl"]) for trade in trades])
    for name, value in figures.items():
        if name == "Mode" or name.startswith("Latency "):
            print(f"{name}: {value}")
print("the same trades:", exits[0] == exits[1])
