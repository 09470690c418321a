"""One batch of ticks in, signals out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import BadSignal, StrategyFailed
from pipeline.records import (
    DEPTH,
    IST,
    REASON_BYTES,
    SIGNAL,
    TICK,
    Action,
    ExitKind,
    Gap,
    GapReason,
    positions_dtype,
)
from pipeline.strategy.contract import Depth, DepthLevel, Position, Signal, Strategy, Tick
from pipeline.strategy.session import StrategySession
from pipeline.testing import make_instrument, make_strategy_settings, make_ticks

CALL = make_instrument(symbol="CALL", token="1")
PUT = make_instrument(symbol="PUT", token="2")


class Scripted(Strategy):
    """Answers each tick with the next of ``answers`` (then None) and remembers what it was told.

    An answer that is an exception is raised.
    """

    def __init__(self, *answers: object, on_closed: Exception | None = None) -> None:
        super().__init__(make_strategy_settings())
        self.answers = list(answers)
        self.on_closed = on_closed
        self.seen: list[tuple[Tick, Position]] = []
        self.closed: list[tuple[int, str, Position]] = []

    def on_tick(self, tick: Tick) -> Any:
        self.seen.append((tick, self.position))
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def on_position_closed(self, position_id: int, reason: str) -> None:
        self.closed.append((position_id, reason, self.position))
        if self.on_closed is not None:
            raise self.on_closed

    @property
    def positions_seen(self) -> list[Position]:
        return [position for _, position in self.seen]


def session_of(strategy: Strategy, failures_max: int = 7) -> StrategySession:
    return StrategySession(strategy, (CALL, PUT), failures_max)


def positions_row(as_of_signal: int = 0, instrument: int = 0, **fields: int) -> np.void:
    rows = np.zeros(1, positions_dtype(2))
    rows["as_of_signal"] = as_of_signal
    for name, value in fields.items():
        rows["positions"][name][0, instrument] = value
    row: np.void = rows[0]
    return row


def both_instruments(prices: list[float]) -> NDArray[np.void]:
    """Return ticks that alternate CALL, PUT, CALL, …"""
    ticks = make_ticks(prices)
    ticks["instrument"] = np.arange(len(ticks)) % 2
    return ticks


# Ticks ---------------------------------------------------------------------------------------


def test_the_strategy_sees_every_field_of_every_tick_in_order() -> None:
    filled = np.frombuffer(np.random.default_rng(1).bytes(64 * 50), TICK).copy()
    filled["instrument"] %= 2
    strategy = Scripted()
    session_of(strategy).on_ticks(filled)
    assert [tuple(tick)[:-1] for tick, _ in strategy.seen] == filled.tolist()
    assert all(tick.instrument is (CALL, PUT)[tick.instrument_index] for tick, _ in strategy.seen)


def test_ticks_need_not_lie_side_by_side_in_memory() -> None:
    strategy = Scripted()
    session_of(strategy).on_ticks(make_ticks([1, 2, 3, 4])[::2])
    assert [tick.price for tick, _ in strategy.seen] == [1.0, 3.0]


def test_a_tick_answers_in_the_guides_words() -> None:
    strategy = Scripted()
    session_of(strategy).on_ticks(make_ticks([226.2], start="2026-01-05 09:20:00"))
    tick = strategy.seen[0][0]
    assert (tick["price"], tick.ltp, tick.symbol, tick["volume"]) == (226.2, 226.2, "CALL", 75)
    assert tick.timestamp.tzinfo is IST
    assert tick.timestamp.isoformat() == "2026-01-05T09:20:00+05:30"


# Signals -------------------------------------------------------------------------------------


def test_a_signal_carries_its_tick() -> None:
    ticks = both_instruments([100, 50])
    rows = session_of(Scripted(None, Signal.buy("up"))).on_ticks(ticks)
    assert rows.dtype == SIGNAL
    row = rows[0]
    assert (row["seq"], row["ts_signal_ns"]) == (0, 0)
    assert row["tick_seq"] == 2
    assert row["ts_event_ns"] == ticks["ts_event_ns"][1]
    assert row["ts_recv_ns"] == ticks["ts_recv_ns"][1]
    assert (row["instrument"], row["action"], row["price_e4"]) == (1, Action.BUY, 500_000)
    assert (row["stop_loss_e4"], row["take_profit_e4"], row["confidence"]) == (0, 0, 1.0)
    assert row["reason"] == b"up"


def test_a_signal_carries_the_strategys_own_figures() -> None:
    wanted = Signal.sell(
        "₹ गिरावट", price=np.float64(99.95), confidence=0.5, stop_loss=105, take_profit=90.05
    )
    row = session_of(Scripted(wanted)).on_ticks(make_ticks([100]))[0]
    assert (row["action"], row["price_e4"]) == (Action.SELL, 999_500)
    assert (row["stop_loss_e4"], row["take_profit_e4"]) == (1_050_000, 900_500)
    assert row["confidence"] == 0.5
    assert row["reason"].decode() == "₹ गिरावट"


def test_several_signals_of_a_batch_keep_their_order() -> None:
    strategy = Scripted(Signal.buy("a"), None, Signal.close("b"), Signal.sell("c"))
    rows = session_of(strategy).on_ticks(make_ticks([1, 2, 3, 4]))
    assert rows["reason"].tolist() == [b"a", b"b", b"c"]
    assert rows["tick_seq"].tolist() == [1, 3, 4]


def test_none_and_hold_are_no_signals() -> None:
    strategy = Scripted(None, Signal(Action.HOLD, "wait"))
    session = session_of(strategy)
    first, second = session.on_ticks(make_ticks([1])), session.on_ticks(make_ticks([2]))
    assert len(first) == 0
    assert first is second, "the empty array is shared"
    assert (session.signals, session.failures) == (0, 0)


# Positions -----------------------------------------------------------------------------------


def test_the_position_is_that_of_the_ticks_instrument() -> None:
    strategy = Scripted()
    session = session_of(strategy)
    session.on_positions(
        positions_row(
            instrument=1, position_id=4, quantity=75, entry_price_e4=1_002_500, stop_e4=900_000
        )
    )
    session.on_ticks(both_instruments([1, 2]))
    assert strategy.positions_seen == [Position(), Position(4, 75, 100.25, 90.0, False, 1)]


def test_positions_may_come_as_the_cell_gives_them() -> None:
    strategy = Scripted()
    session = session_of(strategy)
    rows = np.zeros(1, positions_dtype(2))
    rows["positions"]["position_id"][0, 0] = 4
    rows["positions"]["quantity"][0, 0] = 75
    session.on_positions(rows)
    session.on_ticks(make_ticks([1]))
    assert strategy.positions_seen == [Position(4, 75)]


def test_a_position_that_did_not_change_stays_the_same_object() -> None:
    strategy = Scripted()
    session = session_of(strategy)
    for stop_of_the_other in (1, 2):
        row = positions_row(instrument=1, stop_e4=stop_of_the_other)
        row["positions"]["position_id"][0], row["positions"]["quantity"][0] = 4, 75
        session.on_positions(row)
        session.on_ticks(make_ticks([1]))
    assert strategy.positions_seen[0] is strategy.positions_seen[1]


@pytest.mark.parametrize("signal", [Signal.buy("in"), Signal.sell("out")])
def test_an_entry_is_pending_from_the_next_tick_until_risk_answered(signal: Signal) -> None:
    strategy = Scripted(signal)
    session = session_of(strategy)
    session.on_ticks(make_ticks([1, 2]))
    session.on_positions(positions_row(as_of_signal=0))
    session.on_ticks(make_ticks([3]))
    session.on_positions(positions_row(as_of_signal=1))
    session.on_ticks(make_ticks([4]))
    assert [position.is_flat for position in strategy.positions_seen] == [True, False, False, True]


def test_a_close_makes_nothing_pending() -> None:
    strategy = Scripted(Signal.close("enough"))
    session_of(strategy).on_ticks(make_ticks([1, 2]))
    assert strategy.positions_seen[1].is_flat


def test_an_answer_to_the_first_signal_does_not_answer_the_second() -> None:
    strategy = Scripted(Signal.buy("call"), Signal.buy("put"))
    session = session_of(strategy)
    session.on_ticks(both_instruments([1, 2]))
    session.on_positions(positions_row(as_of_signal=1))
    session.on_ticks(both_instruments([1, 2]))
    assert [position.is_flat for position in strategy.positions_seen[2:]] == [True, False]


def test_signals_are_counted_as_the_queue_numbers_them() -> None:
    strategy = Scripted(Signal.close("1"), Signal(Action.HOLD, ""), Signal.buy("2"))
    session = session_of(strategy)
    session.on_ticks(make_ticks([1, 2, 3]))
    session.on_positions(positions_row(as_of_signal=1))
    session.on_ticks(make_ticks([4]))
    session.on_positions(positions_row(as_of_signal=2))
    session.on_ticks(make_ticks([5]))
    assert [position.is_flat for position in strategy.positions_seen[3:]] == [False, True]


def test_a_filled_entry_shows_as_a_position() -> None:
    strategy = Scripted(Signal.buy("in"))
    session = session_of(strategy)
    session.on_ticks(make_ticks([1]))
    session.on_positions(positions_row(as_of_signal=1, position_id=1, quantity=75))
    session.on_ticks(make_ticks([2]))
    assert strategy.positions_seen[1] == Position(1, 75)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (ExitKind.STOP_LOSS, "Stop Loss"),
        (ExitKind.TRAILING_STOP, "Trailing Stop"),
        (ExitKind.TAKE_PROFIT, "Take Profit"),
        (ExitKind.SESSION_END, "Session End"),
        (ExitKind.OTHER, "Other"),
        (ExitKind.NONE, "Other"),
    ],
)
def test_a_closed_position_is_told_with_its_reason(kind: ExitKind, reason: str) -> None:
    strategy = Scripted()
    session = session_of(strategy)
    session.on_positions(positions_row(instrument=1, position_id=3, quantity=75))
    session.on_positions(positions_row(instrument=1, closed_id=3, closed_kind=kind))
    assert strategy.closed == [(3, reason, Position(instrument_index=1))]


def test_a_closed_position_is_told_once() -> None:
    strategy = Scripted()
    session = session_of(strategy)
    for stop_e4 in (0, 1, 2):
        session.on_positions(positions_row(closed_id=3, closed_kind=1, stop_e4=stop_e4))
    assert len(strategy.closed) == 1


def test_a_close_is_told_before_the_position_that_followed_it_is_ticked() -> None:
    strategy = Scripted()
    session = session_of(strategy)
    session.on_positions(positions_row(position_id=5, quantity=75, closed_id=4, closed_kind=1))
    assert strategy.closed == [(4, "Stop Loss", Position(5, 75))]


def test_a_record_of_another_run_is_not_taken() -> None:
    with pytest.raises(AssertionError, match="another run"):
        session_of(Scripted()).on_positions(np.zeros(1, positions_dtype(3))[0])


# Failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("BUY", "the strategy returned 'BUY'"),
        (False, "the strategy returned False"),
        (Signal("BUY", "x"), "action 'BUY'"),  # type: ignore[arg-type]
        (Signal(1, "x"), "action 1"),  # type: ignore[arg-type]
        (Signal.buy("x", price=float("nan")), "price nan"),
        (Signal.buy("x", price=float("inf")), "price inf"),
        (Signal.buy("x", price=0.0), "price 0.0"),
        (Signal.buy("x", price=-1), "price -1"),
        (Signal.buy("x", price=0.00001), "price 1e-05"),
        (Signal.buy("x", price=1e300), "price 1e+300"),
        (Signal.buy("x", price="100"), "price '100'"),
        (Signal.buy("x", stop_loss=float("nan")), "stop_loss nan"),
        (Signal.buy("x", take_profit=-5.0), "take_profit -5.0"),
        (Signal.buy("x", confidence=1.01), "confidence 1.01"),
        (Signal.buy("x", confidence=-0.01), "confidence -0.01"),
        (Signal.buy("x", confidence=float("nan")), "confidence nan"),
        (Signal.buy("x", confidence=None), "confidence None"),
        (Signal.buy("é" * 49), "of 98 bytes"),
        (Signal.buy(None), "reason None"),  # type: ignore[arg-type]
    ],
)
def test_a_bad_signal_is_a_failure_and_never_sent(wanted: object, message: str) -> None:
    session = session_of(Scripted(wanted), failures_max=1)
    rows = session.on_ticks(make_ticks([100]))
    assert rows["action"].tolist() == [Action.CLOSE, Action.CLOSE]
    assert session.failed is not None
    cause = session.failed.__cause__
    assert isinstance(cause, BadSignal)
    assert message in str(cause)
    assert "rule: " in str(cause)


def test_a_reason_may_fill_its_field() -> None:
    reason = "é" * (REASON_BYTES // 2)
    row = session_of(Scripted(Signal.buy(reason))).on_ticks(make_ticks([100]))[0]
    assert row["reason"].decode() == reason


def test_a_failure_costs_its_tick_only() -> None:
    strategy = Scripted(ValueError("odd"), Signal.buy("up"))
    session = session_of(strategy)
    rows = session.on_ticks(both_instruments([1, 2]))
    assert rows["reason"].tolist() == [b"up"]
    assert (session.failures, session.failures_in_a_row, session.failed) == (1, 0, None)
    assert session.last_failure == "on_tick at tick 1 of CALL: ValueError: odd"


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (Speechless(), "Speechless"),
        (SyntaxError("bad", ("user.py", 3, 1, "x ==", 3, 4)), "SyntaxError"),
        (ValueError("first line\nsecond line"), "ValueError: first line"),
        (KeyError("vwap"), "KeyError: 'vwap'"),
    ],
)
def test_the_last_failure_is_one_line_that_names_the_exception(
    error: Exception, named: str
) -> None:
    session = session_of(Scripted(error))
    session.on_ticks(make_ticks([1]))
    assert named in session.last_failure
    assert "\n" not in session.last_failure


def test_scattered_failures_never_end_the_session() -> None:
    answers = [ValueError("odd"), ValueError("odd"), None] * 5
    session = session_of(Scripted(*answers), failures_max=3)
    session.on_ticks(make_ticks([100] * 15))
    assert (session.failures, session.failed, session.ticks) == (10, None, 15)


def test_too_many_failures_in_a_row_close_every_instrument() -> None:
    odd = ValueError("odd")
    strategy = Scripted(Signal.buy("up"), None, odd, odd, odd, Signal.buy("too late"))
    session = session_of(strategy, failures_max=3)
    rows = session.on_ticks(both_instruments([10, 20, 11, 21, 12, 22]))
    assert rows["reason"].tolist() == [b"up"] + [b"NaN Threshold Exceeded"] * 2
    assert rows["action"].tolist() == [Action.BUY, Action.CLOSE, Action.CLOSE]
    assert rows["instrument"].tolist() == [0, 0, 1]
    assert rows["price_e4"].tolist() == [100_000, 120_000, 210_000], "each its own last price"
    assert rows["tick_seq"].tolist() == [1, 5, 5]
    assert (session.ticks, session.signals, len(strategy.seen)) == (5, 3, 5)


def test_the_failed_session_says_why() -> None:
    odd = ValueError("odd")
    session = session_of(Scripted(odd, odd), failures_max=2)
    session.on_ticks(make_ticks([1, 2, 3]))
    assert isinstance(session.failed, StrategyFailed)
    assert session.failed.__cause__ is odd
    assert "Scripted failed 2 times in a row" in str(session.failed)
    assert "on_tick at tick 2 of CALL: ValueError: odd" in str(session.failed)
    assert "strategy.failures_max = 2" in str(session.failed)


def test_a_failed_session_is_silent() -> None:
    strategy = Scripted(ValueError("odd"), Signal.buy("again"))
    session = session_of(strategy, failures_max=1)
    session.on_ticks(make_ticks([1]))
    session.on_positions(positions_row(closed_id=1, closed_kind=1))
    assert len(session.on_ticks(make_ticks([2]))) == 0
    assert (len(strategy.seen), strategy.closed) == (1, [])


def test_an_exception_about_a_closed_position_is_a_failure() -> None:
    session = session_of(Scripted(on_closed=LookupError("which?")))
    session.on_positions(positions_row(instrument=1, closed_id=9, closed_kind=1))
    assert session.failures == 1
    assert session.last_failure == "on_position_closed(9) of PUT: LookupError: which?"
    session.on_ticks(make_ticks([1]))
    assert session.failures_in_a_row == 0


def test_failures_about_closed_positions_close_everything_at_the_next_call() -> None:
    strategy = Scripted(on_closed=LookupError("which?"))
    session = session_of(strategy, failures_max=1)
    session.on_positions(positions_row(closed_id=9, closed_kind=1))
    assert session.failed is None, "set together with the CLOSE rows, never before them"
    rows = session.on_ticks(make_ticks([1]))
    assert rows["action"].tolist() == [Action.CLOSE, Action.CLOSE]
    assert session.failed is not None
    assert strategy.seen == []


def test_an_interrupt_is_not_a_failure() -> None:
    session = session_of(Scripted(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        session.on_ticks(make_ticks([1]))
    assert session.failures == 0


def test_a_strategy_cannot_end_its_process() -> None:
    session = session_of(Scripted(SystemExit(3)))
    session.on_ticks(make_ticks([1]))
    assert (session.failures, session.last_failure) == (
        1,
        "on_tick at tick 1 of CALL: SystemExit: 3",
    )


# Reading it ----------------------------------------------------------------------------------


def test_statistics_and_repr_say_what_happened() -> None:
    session = session_of(Scripted(Signal.buy("up"), ValueError("odd")))
    session.on_ticks(make_ticks([1, 2, 3]))
    assert session.statistics() == {
        "ticks": 3,
        "signals": 1,
        "unanswered": 1,
        "failures": 1,
        "failures_in_a_row": 0,
        "last_failure": "on_tick at tick 2 of CALL: ValueError: odd",
    }
    assert repr(session) == (
        "<StrategySession Scripted running ticks=3 signals=1 held=0 unanswered=1 failures=1>"
    )


class Vectorised(Strategy):
    """Answers each batch with the next of ``answers``; an exception is raised."""

    def __init__(self, *answers: object) -> None:
        super().__init__(make_strategy_settings())
        self.answers = list(answers)
        self.batches: list[NDArray[np.void]] = []
        self.gaps: list[Gap] = []

    def on_batch(self, ticks: NDArray[np.void]) -> Any:
        self.batches.append(ticks.copy())
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def on_gap(self, gap: Gap) -> None:
        self.gaps.append(gap)


def test_a_batch_strategy_gets_the_whole_batch_and_its_signals_name_their_rows() -> None:
    strategy = Vectorised([(0, Signal.buy("first")), (2, Signal.close("third"))])
    session = session_of(strategy)
    ticks = make_ticks([100.0, 101.0, 102.0])
    ticks["seq"] = (1, 2, 3)
    ticks["instrument"] = (1, 0, 1)
    signals = session.on_ticks(ticks)
    assert strategy.batches[0].tobytes() == ticks.tobytes()
    assert signals["tick_seq"].tolist() == [1, 3]
    assert signals["instrument"].tolist() == [1, 1]
    assert signals["price_e4"].tolist() == [1_000_000, 1_020_000]
    assert signals["action"].tolist() == [Action.BUY, Action.CLOSE]
    assert strategy.positions[1].entry_pending
    assert not strategy.positions[0].entry_pending


def test_a_batch_strategy_sees_every_position_where_risk_put_it() -> None:
    strategy = Vectorised()
    session = session_of(strategy)
    session.on_positions(positions_row(instrument=1, position_id=3, quantity=75))
    assert [position.quantity for position in strategy.positions] == [0, 75]


def test_rows_that_were_overwritten_cost_the_batch_and_are_told_as_a_gap() -> None:
    strategy = Vectorised([(0, Signal.buy("of torn rows"))], [(0, Signal.buy("of whole rows"))])
    session = session_of(strategy)
    assert not len(session.on_ticks(make_ticks([100.0, 101.0]), release=lambda: 1))
    assert strategy.gaps == [Gap(GapReason.LAPPED, 1)]
    assert not strategy.positions[0].entry_pending
    assert len(session.on_ticks(make_ticks([100.0]), release=lambda: 0)) == 1
    assert session.signals == 1


def test_an_error_on_rows_that_were_overwritten_is_not_the_strategys() -> None:
    strategy = Vectorised(ValueError("torn"))
    session = session_of(strategy)
    session.on_ticks(make_ticks([100.0]), release=lambda: 1)
    assert session.failures == 0


def test_a_batch_that_fails_costs_all_its_signals_and_the_next_one_counts() -> None:
    strategy = Vectorised(
        [(0, Signal.buy("sound")), (1, "unsound")], KeyError("x"), [(0, Signal.buy("sound"))]
    )
    session = session_of(strategy)
    ticks = make_ticks([100.0, 101.0])
    assert not len(session.on_ticks(ticks))
    assert isinstance(session.last_error, BadSignal)
    assert not strategy.positions[0].entry_pending
    assert not len(session.on_ticks(ticks))
    assert session.failures_in_a_row == 2
    assert "on_batch at ticks" in session.last_failure
    assert len(session.on_ticks(ticks)) == 1
    assert session.failures_in_a_row == 0


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Signal.buy("alone"), "it returns pairs of a row"),
        ([Signal.buy("alone")], "it returns pairs of a row"),
        ([(2, Signal.buy("beyond"))], "about row 2 of 2"),
        ([(-1, Signal.buy("before"))], "about row -1 of 2"),
        ([(0, None)], "the strategy returned None"),
    ],
)
def test_what_a_batch_may_not_return_is_refused_with_the_rule(answer: object, message: str) -> None:
    session = session_of(Vectorised(answer))
    session.on_ticks(make_ticks([100.0, 101.0]))
    assert message in str(session.last_error)


def test_a_batch_strategy_that_goes_on_failing_is_closed_at_its_last_price() -> None:
    session = session_of(Vectorised(*[ValueError()] * 2), failures_max=2)
    session.on_ticks(make_ticks([100.0, 101.0]))
    closing = session.on_ticks(make_ticks([102.0, 103.0]))
    assert session.failed is not None
    assert closing["price_e4"].tolist() == [1_030_000, 0]
    assert set(closing["action"].tolist()) == {Action.CLOSE}


def test_a_gap_is_told_to_the_strategy_and_its_failure_counts() -> None:
    class Fragile(Scripted):
        def on_gap(self, gap: Gap) -> None:
            raise RuntimeError(str(gap.lost))

    session = session_of(Fragile())
    session.on_gap(Gap(GapReason.RESTART, 12))
    assert session.failures == 1
    assert "12" in session.last_failure


# Depth ----------------------------------------------------------------------------------------


class Reading(Scripted):
    def __init__(self, *answers: object) -> None:
        super().__init__()
        self.depths: list[tuple[Depth, Position]] = []
        self.wrong = list(answers)

    def on_depth(self, depth: Depth) -> None:
        self.depths.append((depth, self.position))
        if self.wrong:
            raise self.wrong.pop()


def depth_row() -> np.void:
    rows = np.zeros(1, DEPTH)
    rows["tick_seq"], rows["ts_event_ns"], rows["ts_recv_ns"], rows["instrument"] = 9, 5, 6, 1
    rows["bid_e4"][0, :2], rows["bid_quantity"][0, :2] = [995_000, 990_000], [75, 150]
    rows["bid_orders"][0, :2] = [1, 2]
    rows["ask_e4"][0, :1], rows["ask_quantity"][0, :1] = [1_000_000], [225]
    row: np.void = rows[0]
    return row


def test_a_depth_has_the_levels_that_are_there_best_first() -> None:
    strategy = Reading()
    StrategySession(strategy, (CALL, PUT), 7).on_depth(depth_row())
    ((depth, position),) = strategy.depths
    bids = (DepthLevel(995_000, 75, 1), DepthLevel(990_000, 150, 2))
    assert depth == Depth(9, 5, 6, 1, bids, (DepthLevel(1_000_000, 225, 0),), PUT)
    assert (depth.symbol, depth.bids[0].price) == ("PUT", 99.5)
    assert position.instrument_index == 1


def test_an_exception_about_a_depth_is_a_failure() -> None:
    session = StrategySession(Reading(ValueError("deep")), (CALL, PUT), 7)
    session.on_depth(depth_row())
    assert session.failures == 1
    assert session.last_failure == "on_depth at tick 9 of PUT: ValueError: deep"


def test_a_failed_session_is_told_of_no_depth() -> None:
    strategy = Reading(ValueError("1"))
    session = StrategySession(strategy, (CALL, PUT), 1)
    session.on_depth(depth_row())
    session.on_ticks(make_ticks([100.0]))
    session.on_depth(depth_row())
    assert len(strategy.depths) == 1
