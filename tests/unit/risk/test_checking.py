"""A ledger that is right, and what is found in one that is not."""

from __future__ import annotations

from pipeline.brokers.contract import Fill, Order
from pipeline.risk.checking import check_ledger
from pipeline.risk.history import Change, Record
from tests.money import LOT, Trading, guide, two_instruments

SETTINGS = guide()


def a_day() -> Trading:
    """Return a desk that bought twice and sold in parts."""
    trading = Trading(SETTINGS)
    trading.buy(1, 100)
    trading.tick(2, 112)
    trading.tick(3, 106)
    trading.buy(4, 100)
    trading.tick(5, 80)
    return trading


def check(trading: Trading, history: list[Record] | None = None) -> list[str]:
    records = trading.ledger.history() if history is None else history
    return check_ledger(SETTINGS, records, trading.ledger.trades())


def test_a_ledger_as_it_was_written_is_right() -> None:
    assert len(a_day().ledger.trades()) >= 3
    assert check(a_day()) == []


def test_a_ledger_with_a_position_and_two_instruments_is_right() -> None:
    settings = two_instruments()
    trading = Trading(settings)
    trading.tick(1, 100)
    trading.tick(2, 50, instrument=1)
    trading.buy(3, 100)
    trading.buy(4, 50, instrument=1)
    assert sum(map(bool, trading.session.book.held)) >= 1
    assert check_ledger(settings, trading.ledger.history(), trading.ledger.trades()) == []


def test_a_fill_that_is_missing_is_found() -> None:
    trading = a_day()
    history = trading.ledger.history()
    last = next(record for record in reversed(history) if isinstance(record, Fill))
    wrong = check(trading, [record for record in history if record != last])
    assert any("its fills are 0 shares" in each for each in wrong)
    assert any("trades are written, the fills make" in each for each in wrong)


def test_a_fill_without_its_order_is_found() -> None:
    trading = a_day()
    history = trading.ledger.history()
    (first, *_) = (record for record in history if isinstance(record, Order))
    wrong = check(trading, [record for record in history if record != first])
    assert wrong[0] == f"fill of {first.order_id}: the ledger has no such order"


def test_a_fill_of_other_money_than_heard_is_found_in_trades_and_cash() -> None:
    trading = a_day()
    history: list[Record] = [
        record._replace(turnover_e4=record.turnover_e4 + 10_000)
        if isinstance(record, Fill) and record.quantity == 13 * LOT
        else record
        for record in trading.ledger.history()
    ]
    wrong = check(trading, history)
    assert any("heard was" in each for each in wrong)
    assert any(each.startswith("trade 1:") for each in wrong)
    assert any(each.startswith("cash is") for each in wrong)


def test_more_shares_than_ordered_are_found() -> None:
    trading = a_day()
    history: list[Record] = [
        record._replace(quantity=LOT)
        if isinstance(record, Order) and record.order_id.endswith("E0")
        else record
        for record in trading.ledger.history()
    ]
    assert any("of 75 shares are filled" in each for each in check(trading, history))


def test_what_was_heard_last_counts() -> None:
    trading = a_day()
    changes = [record for record in trading.ledger.history() if isinstance(record, Change)]
    later = changes[0]._replace(filled=changes[0].filled + LOT)
    wrong = check(trading, [*trading.ledger.history(), later])
    assert len(wrong) == 1
    assert "heard was" in wrong[0]
