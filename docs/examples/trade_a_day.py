import tomllib
from pathlib import Path

from pipeline.trader import LiveTrader

config = tomllib.loads(Path("configs/guide.toml").read_text(encoding="utf-8"))
config["feed"] = {"broker": "recorded", "recording": "day.csv"}
config["channels"] = {"lockstep": True}  # the recording waits for strategy and risk

trader = LiveTrader(frozen_config=config)
trader.use_direct_callbacks = True  # False, the default, polls
trader.start()

figures, trades = trader.results()
print(figures["Mode"], figures["Trades"], "trades, net", figures["Net P&L"])
