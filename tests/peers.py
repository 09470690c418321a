"""The brokers' own clients, where they are installed: `pip install tickpipe[peers]`."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def kite_ticker() -> Any:
    """Return KiteTicker of kiteconnect. Raises ImportError."""
    from kiteconnect import KiteTicker

    return KiteTicker


def smart_web_socket() -> Any:
    """Return SmartWebSocketV2 of smartapi-python. Raises ImportError.

    Its file is loaded alone: the package asks a server for this machine's address on import.
    """
    package = importlib.util.find_spec("SmartApi")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'SmartApi'")
    path = Path(package.submodule_search_locations[0]) / "smartWebSocketV2.py"
    spec = importlib.util.spec_from_file_location("smartWebSocketV2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SmartWebSocketV2


def kite_parser() -> Any:
    """Return the decoder of KiteTicker: a frame to a list of dicts."""
    return kite_ticker()("key", "token")._parse_binary


def smart_parser() -> Any:
    """Return the decoder of SmartWebSocketV2: a packet to a dict."""
    kind = smart_web_socket()
    return kind.__new__(kind)._parse_binary_data  # __init__ makes a folder for logs


# As processes of their own, for tests/system/test_peers.py ------------------------------------


def run_kite(port: str, mode: str, *tokens: str) -> None:
    """Print every tick and order that KiteTicker gets until the recording ends, as JSON."""
    numbers = [int(token) for token in tokens]
    root = f"ws://127.0.0.1:{port}"
    ticker = kite_ticker()("simulator-key", "simulator-access-token", root=root)

    def on_connect(client: Any, _: object) -> None:
        client.subscribe(numbers)
        client.set_mode(mode, numbers)

    def on_close(client: Any, code: object, reason: object) -> None:
        print(json.dumps({"closed": [code, str(reason)]}), flush=True)
        if reason == "end of recording":
            client.stop()  # else it connects again by itself

    ticker.on_connect = on_connect
    ticker.on_ticks = lambda _, ticks: print(*(json.dumps(t, default=str) for t in ticks), sep="\n")
    ticker.on_order_update = lambda _, order: print(json.dumps({"order": order}))
    ticker.on_close = on_close
    ticker.connect()


def run_smart(port: str, mode: str, count: str, *tokens: str) -> None:
    """Print the first ``count`` packets that SmartWebSocketV2 gets, as JSON."""
    kind = smart_web_socket()
    kind.ROOT_URI = f"ws://127.0.0.1:{port}/smart-stream"
    login = ("Bearer simulator-jwt", "simulator-key", "SIM0001", "simulator-feed-token")
    client = kind(*login, max_retry_attempt=1, retry_delay=0)
    left = int(count)

    def on_data(_: object, packet: object) -> None:
        nonlocal left
        left -= 1
        print(json.dumps(packet), flush=True)
        if not left:
            os._exit(0)  # its way of closing waits, then connects again

    client.on_open = lambda _: client.subscribe(
        "peer", int(mode), [{"exchangeType": 2, "tokens": list(tokens)}]
    )
    client.on_data = on_data
    client.on_error = lambda *why: print(*why, file=sys.stderr)
    client.connect()


if __name__ == "__main__":
    runs: dict[str, Callable[..., None]] = {"kite": run_kite, "smart": run_smart}
    runs[sys.argv[1]](*sys.argv[2:])
