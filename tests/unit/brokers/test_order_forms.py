"""What the brokers' order APIs are asked, and what their answers prove."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.brokers.contract import Order, OrderState, OrderUpdate, Side
from pipeline.brokers.forms import Reply, Unreadable, is_ours
from pipeline.brokers.kite.order_forms import KiteOrderForms
from pipeline.brokers.smartapi.order_forms import PROVEN, ROOT, SmartApiOrderForms
from pipeline.risk.numbering import Numbering
from pipeline.risk.order_states import Standing, hear
from pipeline.settings import SIMULATOR_SECRETS, OrdersSettings
from pipeline.testing import make_instrument

INSTRUMENTS = [
    make_instrument(symbol="NIFTY26JAN25000CE", exchange="NFO", token="15094530"),
    make_instrument(symbol="SBIN-EQ", exchange="NSE", token="3045", product_type="DELIVERY"),
    make_instrument(symbol="X", exchange="MCX", token="7", product_type="CARRYFORWARD"),
]
TAG = "260105N0001E0"
Forms = KiteOrderForms | SmartApiOrderForms


def kite(**changes: Any) -> KiteOrderForms:
    return KiteOrderForms(settings("kite", **changes), INSTRUMENTS, SIMULATOR_SECRETS)


def smartapi(**changes: Any) -> SmartApiOrderForms:
    return SmartApiOrderForms(settings("smartapi", **changes), INSTRUMENTS, SIMULATOR_SECRETS)


def settings(gateway: str, **changes: Any) -> OrdersSettings:
    fields = {
        "gateway": gateway,
        "url": "http://127.0.0.1:1",
        "updates_url": "ws://127.0.0.1:1/",
        "credentials": "simulator",
    }
    return OrdersSettings.model_validate(fields | changes)


BOTH = pytest.mark.parametrize("forms_of", [kite, smartapi])


def make_order(**changes: Any) -> Order:
    fields: dict[str, Any] = {
        "order_id": TAG, "instrument": 0, "symbol": "A", "side": Side.BUY, "quantity": 65,
        "price_e4": 1_000_000, "position_id": 1, "reason": "", "tick_seq": 1, "ts_event_ns": 1,
    }  # fmt: skip
    return Order(**(fields | changes))


def reply(status: int, body: object) -> Reply:
    return Reply(status, body if isinstance(body, bytes) else json.dumps(body).encode())


# Requests ------------------------------------------------------------------------------------


def test_a_market_order_for_kite() -> None:
    request = kite().place(make_order())
    assert (request.method, request.path, request.json) == ("POST", "/orders/regular", None)
    assert request.form == {
        "exchange": "NFO",
        "tradingsymbol": "NIFTY26JAN25000CE",
        "transaction_type": "BUY",
        "quantity": "65",
        "product": "MIS",
        "order_type": "MARKET",
        "validity": "DAY",
        "tag": TAG,
        "market_protection": "-1",
    }


def test_a_limit_order_for_kite_has_its_price_and_no_market_protection() -> None:
    request = kite().place(make_order(limit_e4=2_505_500))
    assert request.form is not None
    assert (request.form["order_type"], request.form["price"]) == ("LIMIT", "250.55")
    assert "market_protection" not in request.form


def test_market_protection_and_algo_id_are_those_of_the_settings() -> None:
    form = kite(market_protection=2.5, algo_id="A-17").place(make_order()).form
    assert form is not None
    assert (form["market_protection"], form["algo_id"]) == ("2.5", "A-17")


def test_an_order_for_smartapi_is_all_text() -> None:
    request = smartapi().place(make_order(side=Side.SELL))
    assert (request.method, request.path, request.form) == ("POST", f"{ROOT}/placeOrder", None)
    assert request.json == {
        "variety": "NORMAL",
        "tradingsymbol": "NIFTY26JAN25000CE",
        "symboltoken": "15094530",
        "transactiontype": "SELL",
        "exchange": "NFO",
        "ordertype": "MARKET",
        "producttype": "INTRADAY",
        "duration": "DAY",
        "price": "0",
        "squareoff": "0",
        "stoploss": "0",
        "quantity": "65",
        "ordertag": TAG,
    }


@pytest.mark.parametrize(
    ("side", "limit_e4", "price"),
    [
        (Side.BUY, 2_505_500, "250.55"),
        (Side.BUY, 2_505_799, "250.55"),
        (Side.SELL, 2_505_501, "250.6"),
        (Side.SELL, 2_505_500, "250.55"),
        (Side.BUY, 1, "0.05"),
        (Side.BUY, 10_000_000, "1000"),
    ],
)
@BOTH
def test_a_limit_is_rounded_to_the_tick_and_is_no_worse_than_it_was(
    forms_of: Callable[[], Forms], side: Side, limit_e4: int, price: str
) -> None:
    request = forms_of().place(make_order(side=side, limit_e4=limit_e4))
    fields = request.form or request.json
    assert fields is not None
    assert fields["price"] == price


def test_products_are_in_the_brokers_words() -> None:
    forms = [kite().place(make_order(instrument=at)).form for at in range(3)]
    assert [form["product"] for form in forms if form] == ["MIS", "CNC", "NRML"]


@BOTH
def test_secrets_are_in_headers_only(forms_of: Callable[[], Forms]) -> None:
    forms = forms_of()
    requests = [forms.place(make_order()), forms.cancel("1"), forms.orders(), forms.positions()]
    for shown in (repr(forms), *map(repr, requests)):
        assert not [secret for secret in forms.secrets if secret in shown]
    assert any(secret in " ".join(forms.headers.values()) for secret in forms.secrets)


def test_headers_are_what_the_brokers_ask_for() -> None:
    assert kite().headers == {
        "X-Kite-Version": "3",
        "Authorization": "token simulator-key:simulator-access-token",
    }
    headers = smartapi(public_ip="203.0.113.7").headers
    assert headers["Authorization"] == "Bearer simulator-jwt"
    assert headers["X-PrivateKey"] == "simulator-key"
    assert (headers["X-UserType"], headers["X-SourceID"]) == ("USER", "WEB")
    assert headers["X-ClientPublicIP"] == "203.0.113.7"
    assert {"X-ClientLocalIP", "X-MACAddress"} <= set(headers)


# What an answer proves -----------------------------------------------------------------------


def test_success_is_accepted_and_no_more() -> None:
    for forms, body in (
        (kite(), {"status": "success", "data": {"order_id": "77"}}),
        (smartapi(), {"status": True, "data": {"orderid": "77", "uniqueorderid": "u"}}),
    ):
        update = forms.placed(TAG, reply(200, body))
        assert (update.state, update.broker_id, update.filled) == (OrderState.ACCEPTED, "77", 0)


@pytest.mark.parametrize(
    ("status", "kind", "message", "state"),
    [
        (400, "InputException", "Invalid `quantity`.", OrderState.REJECTED),
        (403, "TokenException", "Incorrect `api_key`.", OrderState.REJECTED),
        (403, "PermissionException", "not enabled", OrderState.REJECTED),
        (400, "MarginException", "Insufficient funds.", OrderState.REJECTED),
        (500, "OrderException", "Markets are closed right now.", OrderState.REJECTED),
        (500, "OrderException", "Order request timed out. See the order book.", OrderState.UNKNOWN),
        (500, "InputException", "odd", OrderState.UNKNOWN),
        (500, "GeneralException", "Something unexpected happened.", OrderState.UNKNOWN),
        (502, "DataException", "Unknown content.", OrderState.UNKNOWN),
        (503, "NetworkException", "Gateway timed out", OrderState.UNKNOWN),
        (429, "NetworkException", "Too many requests", OrderState.UNKNOWN),
        (429, "OrderException", "Too many requests", OrderState.UNKNOWN),
        (400, "NewException", "what nobody knows yet", OrderState.UNKNOWN),
    ],
)
def test_what_an_error_of_kite_proves(
    status: int, kind: str, message: str, state: OrderState
) -> None:
    body = {"status": "error", "error_type": kind, "message": message, "data": None}
    update = kite().placed(TAG, reply(status, body))
    assert update.state is state
    assert kind in update.text
    assert message in update.text


@pytest.mark.parametrize("code", sorted(PROVEN))
@pytest.mark.parametrize(("status", "name"), [(200, "errorcode"), (401, "errorCode")])
def test_a_code_of_smartapi_that_proves_a_refusal(code: str, status: int, name: str) -> None:
    body = {"status": False, "message": "no", name: code, "data": None}
    assert smartapi().placed(TAG, reply(status, body)).state is OrderState.REJECTED


@pytest.mark.parametrize("code", ["AB1004", "AB2000", "AB2001", "AG8004", "AB9999", None, ""])
def test_a_code_of_smartapi_that_proves_nothing(code: str | None) -> None:
    body = {"status": False, "message": "Something Went Wrong", "errorcode": code, "data": None}
    assert smartapi().placed(TAG, reply(200, body)).state is OrderState.UNKNOWN


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>Access denied</html>", b"[]", b"null", b'"x"', b"\xff\xfe",
        {"status": "success"}, {"status": "success", "data": None},
        {"status": True}, {"status": True, "data": None}, {"status": True, "data": {}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 302, 400, 403, 429, 500, 504])
@BOTH
def test_an_answer_that_cannot_be_read_is_unknown(
    forms_of: Callable[[], Forms], status: int, body: object
) -> None:
    assert forms_of().placed(TAG, reply(status, body)).state is OrderState.UNKNOWN


@BOTH
def test_what_the_broker_says_is_told_without_secrets(forms_of: Callable[[], Forms]) -> None:
    forms = forms_of()
    said = f"token {forms.secrets[0]} is wrong"
    body = {
        "status": False, "error_type": "TokenException", "errorcode": "AG8001", "message": said,
    }  # fmt: skip
    assert forms.secrets[0] not in forms.placed(TAG, reply(403, body)).text


@given(body=st.binary(max_size=64), status=st.integers(100, 599))
def test_no_bytes_make_a_refusal(body: bytes, status: int) -> None:
    for forms in (kite(), smartapi()):
        assert forms.placed(TAG, Reply(status, body)).state is OrderState.UNKNOWN


# The book ------------------------------------------------------------------------------------


def kite_row(**changes: object) -> dict[str, object]:
    return {
        "order_id": "77", "status": "OPEN", "status_message": None, "exchange": "NFO",
        "tradingsymbol": "NIFTY26JAN25000CE", "instrument_token": 15094530, "tag": TAG,
        "average_price": 0, "filled_quantity": 0, "order_timestamp": "2026-01-05 09:15:01",
        "exchange_timestamp": None,
    } | changes  # fmt: skip


def smartapi_row(**changes: object) -> dict[str, object]:
    return {
        "orderid": "77", "orderstatus": "open", "status": "open", "text": "", "exchange": "NFO",
        "tradingsymbol": "NIFTY26JAN25000CE", "symboltoken": "15094530", "ordertag": TAG,
        "averageprice": 0.0, "filledshares": "0", "updatetime": "05-Jan-2026 09:15:01",
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    ("status", "filled", "state"),
    [
        ("COMPLETE", 65, OrderState.FILLED),
        ("OPEN", 0, OrderState.ACCEPTED),
        ("OPEN", 10, OrderState.PARTIALLY_FILLED),
        ("UPDATE", 10, OrderState.PARTIALLY_FILLED),
        ("PUT ORDER REQ RECEIVED", 0, OrderState.ACCEPTED),
        ("TRIGGER PENDING", 0, OrderState.ACCEPTED),
        ("a status of tomorrow", 0, OrderState.ACCEPTED),
        ("CANCELLED", 10, OrderState.CANCELLED),
        ("REJECTED", 0, OrderState.REJECTED),
        ("EXPIRED", 0, OrderState.EXPIRED),
    ],
)
def test_a_status_is_a_state(status: str, filled: int, state: OrderState) -> None:
    row = kite_row(status=status, filled_quantity=filled, average_price=250.5 if filled else 0)
    (update,) = kite().read_orders(reply(200, {"status": "success", "data": [row]}))
    assert (update.state, update.filled) == (state, filled)
    assert (update.order_id, update.broker_id, update.instrument) == (TAG, "77", 0)
    assert update.turnover_e4 == filled * 2_505_000
    assert update.ts_event_ns == 1_767_584_701 * 10**9
    theirs = smartapi_row(
        orderstatus=status.lower(), filledshares=str(filled), averageprice=250.5 if filled else ""
    )
    (update,) = smartapi().read_orders(reply(200, {"status": True, "data": [theirs]}))
    assert (update.state, update.filled, update.turnover_e4) == (state, filled, filled * 2_505_000)


def test_the_time_of_an_update_is_when_the_exchange_changed_the_order_where_it_says_so() -> None:
    row = kite_row(
        exchange_timestamp="2026-01-05 09:15:02", exchange_update_timestamp="2026-01-05 11:00:03"
    )
    (update,) = kite().read_orders(reply(200, {"status": "success", "data": [row]}))
    assert update.ts_event_ns == (1_767_584_700 + 6_303) * 10**9
    theirs = smartapi_row(
        exchtime="05-Jan-2026 09:15:02", exchorderupdatetime="05-Jan-2026 11:00:03"
    )
    (update,) = smartapi().read_orders(reply(200, {"status": True, "data": [theirs]}))
    assert update.ts_event_ns == (1_767_584_700 + 6_303) * 10**9


@pytest.mark.parametrize("tag", [None, "", "byhand", "260105N0001", 7, TAG + "0" * 20, TAG + " "])
def test_another_tag_is_not_ours(tag: object) -> None:
    row = kite_row(tag=tag)
    (update,) = kite().read_orders(reply(200, {"status": "success", "data": [row]}))
    assert update.order_id == ""


def test_every_id_that_risk_makes_is_ours() -> None:
    numbering = Numbering(1)
    moment_ns = 1_767_584_701 * 10**9
    for position in (1, 9_999, 123_456):
        assert is_ours(numbering.entry_id(position, moment_ns, 3))
        assert is_ours(numbering.exit_id(position, 0, moment_ns))


def test_positions_are_by_symbol_and_product_of_the_settings() -> None:
    row = {
        "tradingsymbol": "SBIN", "exchange": "NSE", "instrument_token": 3045, "product": "CNC",
        "quantity": -5,
    }  # fmt: skip
    answer = reply(200, {"status": "success", "data": {"net": [row], "day": []}})
    (held,) = kite().read_positions(answer)
    assert (held.symbol, held.instrument, held.product) == ("SBIN-EQ", 1, "DELIVERY")
    assert held.quantity == -5
    theirs = {
        "tradingsymbol": "OTHER-EQ", "exchange": "NSE", "symboltoken": "1", "netqty": "12",
        "producttype": "MARGIN",
    }  # fmt: skip
    (held,) = smartapi().read_positions(reply(200, {"status": True, "data": [theirs]}))
    assert (held.symbol, held.instrument, held.product) == ("OTHER-EQ", None, "MARGIN")
    assert held.quantity == 12


@BOTH
def test_no_orders_and_no_positions_are_an_answer(forms_of: Callable[[], Forms]) -> None:
    forms = forms_of()
    for data in (None, []):
        body = {"status": "success" if isinstance(forms, KiteOrderForms) else True, "data": data}
        assert forms.read_orders(reply(200, body)) == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"?"),
        (500, {"status": "error", "message": "x"}),
        (200, {"status": "success", "data": "x"}),
        (200, {"status": "success", "data": [{"order_id": "1"}]}),
        (200, {"status": "success", "data": [kite_row(average_price="nan")]}),
        (200, {"status": "success"}),
    ],
)
def test_a_book_that_cannot_be_read_is_no_empty_book(status: int, body: object) -> None:
    for forms in (kite(), smartapi()):
        with pytest.raises(Unreadable):
            forms.read_orders(reply(status, body))


# Updates -------------------------------------------------------------------------------------


def test_an_update_is_read_as_a_row_of_the_book_is() -> None:
    text = json.dumps({"type": "order", "data": kite_row(status="REJECTED", status_message="no")})
    update = kite().read_update(text)
    assert update is not None
    assert (update.order_id, update.state, update.text) == (
        TAG,
        OrderState.REJECTED,
        "REJECTED: no",
    )
    text = json.dumps({"order-status": "AB05", "orderData": smartapi_row(orderstatus="complete")})
    update = smartapi().read_update(text)
    assert update is not None
    assert update.state is OrderState.FILLED


@pytest.mark.parametrize(
    "text",
    [
        "", "\0", "[]", "pong", '{"type":"message","data":"x"}', '{"type":"order","data":3}',
        '{"type":"order","data":{}}', '{"order-status":"AB00","orderData":{"orderid":""}}',
        '{"orderData":{"orderid":"1"}}', "[" * 100_000,
    ],
)  # fmt: skip
@BOTH
def test_other_text_is_no_update(forms_of: Callable[[], Forms], text: str) -> None:
    assert forms_of().read_update(text) is None


@given(data=st.data())
def test_updates_in_any_order_and_number_end_with_the_same_totals(data: st.DataObject) -> None:
    fills = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=5))
    texts, filled = [], 0
    for shares in (0, *fills):
        filled += shares
        status = "COMPLETE" if filled == sum(fills) else "OPEN"
        row = kite_row(status=status, filled_quantity=filled, average_price=250.5)
        texts.append(json.dumps({"type": "order", "data": row}))
    again = data.draw(st.lists(st.sampled_from(texts), max_size=8))
    forms, standing = kite(), Standing(sum(fills))
    for text in data.draw(st.permutations(texts + again)):
        update = forms.read_update(text)
        assert isinstance(update, OrderUpdate)
        news = hear(standing, update)
        assert news.report == ""
        standing = news.standing
    assert (standing.state, standing.filled) == (OrderState.FILLED, sum(fills))
    assert standing.turnover_e4 == sum(fills) * int(Decimal("250.5") * 10_000)


# Bodies of the broker's own documentation ----------------------------------------------------


def test_the_brokers_own_examples_are_read(shared_data: Path) -> None:
    mocks = shared_data / "kite" / "mocks"

    def mock(name: str) -> Reply:
        return Reply(200, (mocks / f"{name}.json").read_bytes())

    orders = kite().read_orders(mock("orders"))
    assert {order.state for order in orders} == {
        OrderState.CANCELLED, OrderState.FILLED, OrderState.REJECTED,
    }  # fmt: skip
    assert {order.order_id for order in orders} == {""}
    assert kite().read_positions(mock("positions"))
    assert kite().placed(TAG, mock("order_response")).broker_id == "151220000000000"
    assert kite().cancel_refused(mock("order_cancel")) == ""
    postback = (mocks / "postback.json").read_text()
    update = kite().read_update(f'{{"type":"order","data":{postback}}}')
    assert update is not None
    assert (update.filled, update.turnover_e4) == (1, 4_700_000)
