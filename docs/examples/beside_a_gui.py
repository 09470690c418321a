import queue
import threading
import tomllib
from pathlib import Path

from pipeline.trader import LiveTrader

config = tomllib.loads(Path("configs/guide.toml").read_text(encoding="utf-8"))
config["feed"] = {"broker": "recorded", "recording": "day.csv"}
config["channels"] = {"lockstep": True}


def show_performance(trader: LiveTrader) -> None:
    box.put(f"P&L ₹{trader.statistics()['pnl']:+,.2f}")


box: queue.Queue[str] = queue.Queue()  # or a tkinter Text
trader = LiveTrader(frozen_config=config)
trader.use_direct_callbacks = True
run = threading.Thread(
    target=trader.start,
    kwargs={"result_box": box, "performance_callback": show_performance},
)
run.start()  # the main thread stays free for the GUI; its stop button calls trader.stop()
run.join()
while not box.empty():
    print(box.get())
