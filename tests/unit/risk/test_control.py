"""What risk answers to who asks it."""

from __future__ import annotations

import pytest

from pipeline.brokers.paper.orders import PaperGateway
from pipeline.records import Action
from pipeline.risk.control import CONTROL, Control
from pipeline.risk.desk import Desk
from pipeline.risk.ledger import MEMORY, Ledger
from pipeline.risk.mandate import Mandate, TradingState
from pipeline.risk.session import RiskSession
from tests.money import guide, signal, tick


class Rig:
    def __init__(self) -> None:
        settings = guide('run.name="nifty"')
        self.session = RiskSession(settings)
        self.ledger = Ledger.open(MEMORY)
        self.desk = Desk(self.session, self.ledger, PaperGateway(0))
        self.told: list[tuple[str, str]] = []
        self.control = Control(
            "nifty", self.desk, lambda kind, text: self.told.append((kind, text))
        )

    def ask(self, verb: str, **more: str) -> dict[str, object]:
        return dict(self.control.answer({"verb": verb, "by": "asha", **more}))

    def buy(self) -> None:
        self.desk.on_tick(tick(1, 100), 1_000)
        self.desk.on_signal(signal(1, Action.BUY, tick_seq=1), 1_000)
        assert not self.session.is_flat


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_halt_keeps_entries_out_and_what_is_held(rig: Rig) -> None:
    rig.buy()
    answer = rig.ask("halt", reason="news")
    assert rig.session.mandate == Mandate(TradingState.HALTED, "halt by asha: news")
    assert not rig.session.is_flat
    assert "held: +" in str(answer["text"])
    assert (CONTROL, "halt by asha: news") in rig.told


def test_a_halt_refuses_the_next_entry(rig: Rig) -> None:
    rig.ask("halt")
    rig.desk.on_tick(tick(1, 100), 1_000)
    rig.desk.on_signal(signal(1, Action.BUY, tick_seq=1), 1_000)
    rig.desk.write_now()
    assert [refusal.code for refusal in rig.ledger.refusals()] == ["TRADING_HALTED"]


def test_to_flatten_halts_and_closes(rig: Rig) -> None:
    rig.buy()
    rig.ask("flatten")
    assert rig.session.is_flat
    assert rig.session.mandate.is_halted
    assert [trade.exit_reason for trade in rig.ledger.trades()] == ["kill_switch"]


def test_to_close_goes_on(rig: Rig) -> None:
    rig.buy()
    rig.ask("close", reason="my own")
    assert rig.session.is_flat
    assert rig.session.mandate.takes_entries
    assert [trade.exit_reason for trade in rig.ledger.trades()] == ["my own"]


def test_a_close_without_a_reason_is_manual(rig: Rig) -> None:
    rig.buy()
    rig.ask("close")
    assert [trade.exit_reason for trade in rig.ledger.trades()] == ["manual"]


def test_a_reason_that_does_not_fit_closes_nothing(rig: Rig) -> None:
    rig.buy()
    assert "96 bytes" in str(rig.ask("close", reason="σ" * 49)["refused"])
    assert not rig.session.is_flat


@pytest.mark.parametrize("typed", ["", "NIFTY", "yes", "nifty "])
def test_only_the_name_of_the_run_resumes(rig: Rig, typed: str) -> None:
    rig.ask("halt")
    assert "type nifty" in str(rig.ask("resume", unlock=typed)["refused"])
    assert rig.session.mandate.is_halted


def test_the_name_of_the_run_resumes(rig: Rig) -> None:
    rig.ask("halt")
    assert rig.ask("resume", unlock="nifty") == {"text": "resumed"}
    assert rig.session.mandate.takes_entries


def test_what_keeps_entries_out_besides_is_said_and_not_lifted(rig: Rig) -> None:
    rig.ask("halt")
    rig.session.obstacles["reconcile"] = "1 difference"
    assert "reconcile: 1 difference" in str(rig.ask("resume", unlock="nifty")["text"])
    assert rig.session.halted


def test_each_request_is_durable(rig: Rig) -> None:
    rig.ask("halt", reason="lunch")
    rig.ask("resume", unlock="nifty")
    states = [event.text for event in rig.ledger.events() if event.kind == "state"]
    assert states == ["HALTED halt by asha: lunch", "ACTIVE resume by asha"]


def test_the_status_has_positions_and_what_keeps_entries_out(rig: Rig) -> None:
    rig.buy()
    rig.ask("halt")
    status = rig.ask("status")
    facts, positions = status["facts"], status["positions"]
    assert isinstance(facts, dict)
    assert facts["trading"] == "HALTED halt by asha"
    assert facts["entries"] == "none: HALTED halt by asha"
    assert isinstance(positions, list)
    assert positions[0]["entry"] == "₹100.00"
    assert status["orders"] == []


@pytest.mark.parametrize("message", [{}, {"verb": "sell"}, {"verb": None}, {"verb": 3}])
def test_what_is_not_understood_is_refused_with_what_is(
    rig: Rig, message: dict[str, object]
) -> None:
    assert "halt, flatten, resume" in str(rig.control.answer(message)["refused"])
    assert rig.session.mandate.takes_entries


def test_a_reason_with_lines_is_one_line_in_the_ledger(rig: Rig) -> None:
    rig.ask("halt", reason="two\nlines")
    assert rig.session.mandate.reason == "halt by asha: two lines"
