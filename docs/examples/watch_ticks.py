import time
import tomllib
from pathlib import Path

from pipeline import Tick
from pipeline.trader import BrokerAdapter

config = tomllib.loads(Path("configs/guide.toml").read_text(encoding="utf-8"))
config["feed"] = {"broker": "recorded", "recording": "day.csv"}

broker = BrokerAdapter(config)
broker.connect()
polled = 0
while polled < 100 and not broker.ended:
    tick = broker.get_next_tick()  # sleeps until there is one, 0.05 s at most
    if tick is not None:
        polled += 1
print(f"polled {polled} ticks, last price ₹{broker.last_price:.2f}")

highest = 0.0


def on_tick(tick: Tick, symbol: str) -> None:
    global highest
    highest = max(highest, tick.price)


broker.on_tick_callback = on_tick  # from now on ticks are pushed, on a thread of their own
while not broker.ended:
    time.sleep(0.1)  # your program does its own work here
broker.disconnect()
print(f"the highest price after that was ₹{highest:.2f}")
