"""Kite's own client at the simulator's order API (the extra ``peers``)."""

from __future__ import annotations

import pytest

from pipeline.settings import SIMULATOR_SECRETS
from pipeline.testing import make_instrument, make_ticks
from tests.system.simulating import Simulators

kiteconnect = pytest.importorskip("kiteconnect", reason="needs `pip install tickpipe[peers]`")
pytestmark = pytest.mark.system

INSTRUMENTS = [make_instrument(symbol="A", exchange="NFO", token=str(58963 << 8 | 2))]
ORDER = {
    "variety": "regular",
    "exchange": "NFO",
    "tradingsymbol": "A",
    "transaction_type": "BUY",
    "quantity": 75,
    "product": "MIS",
    "order_type": "LIMIT",
}


def test_the_official_client_places_changes_cancels_and_reads(simulators: Simulators) -> None:
    simulator = simulators(INSTRUMENTS)(make_ticks([100.0]), broker="kite")
    kite = kiteconnect.KiteConnect(
        api_key=SIMULATOR_SECRETS.api_key.get_secret_value(),
        access_token=SIMULATOR_SECRETS.access_token.get_secret_value(),
        root=f"http://127.0.0.1:{simulator.port}",
    )
    number = kite.place_order(**ORDER, price=90, tag="peer")
    (order,) = kite.orders()
    assert (order["order_id"], order["status"], order["tag"]) == (number, "OPEN", "peer")
    assert kite.modify_order("regular", number, price=80) == number
    assert kite.cancel_order("regular", number) == number
    assert kite.order_history(number)[-1]["status"] == "CANCELLED"
    filled = kite.place_order(**ORDER, price=110)
    while kite.order_history(filled)[-1]["status"] != "COMPLETE":
        pass
    (trade,) = kite.order_trades(filled)
    assert (trade["quantity"], trade["average_price"]) == (75, 100.0)
    assert [place["quantity"] for place in kite.positions()["net"]] == [75]
    with pytest.raises(kiteconnect.exceptions.InputException, match="market protection"):
        kite.place_order(**ORDER | {"order_type": "MARKET"})
    kite.set_access_token("yesterdays")
    with pytest.raises(kiteconnect.exceptions.TokenException):
        kite.orders()
