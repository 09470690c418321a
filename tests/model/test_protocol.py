"""Every interleaving of the protocol; and the wrong variants, each of which must be found.

The shortest trace to each fault: ``scripts/test tests/model -rP``.

What is modelled and what is not stands at the head of protocol.py and machine.py. In short: one
feed and two readers, or feed, strategy and risk; two slots and up to four records of two words;
a store buffer for each thread, that drains in order (x86) or out of order but for barriers (the
store side of ARM); futexes whose waits do not end by time. Loads are never reordered: a visit
that finds nothing wrong says "right on x86" and, out of order, "its stores are right on ARM" and
no more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.model.checker import Model, Report, explore
from tests.model.line import two_writers, whole_line
from tests.model.one_writer import STRATEGY, cell, one_writer
from tests.model.protocol import SLOTS, Protocol

TORN = "returns a torn record"
MISSED = "returns record 0 in place of 1"
SLEEPS = "sleeps with news and nobody will wake it"
ENDED = "ended too early, or counted wrongly"

POLLING: dict[str, Any] = {"limit": 1, "parking": False}
BATCHES: dict[str, Any] = {"limit": 2, "parking": False, "batches": (1, 2, 1)}


def visit(model: Model) -> Report:
    report = explore(model)
    print(report)
    return report


def out_of_order(model: Model) -> Model:
    return replace(model, ordered=False)


def finds(fault: str, model: Model) -> bool:
    """Return whether the checker finds ``fault``, and finds it too when it takes no short cut."""
    return all(fault in str(each.wrong) for each in (visit(model), explore(model, fused=False)))


# The protocol as it is -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "states_min"),
    [
        pytest.param(one_writer(batches=(1,) * 4, **POLLING), 150_000, id="tick by tick"),
        pytest.param(one_writer(**BATCHES), 60_000, id="in batches"),
        pytest.param(one_writer(Protocol(copied="backwards"), **BATCHES), 35_000, id="backwards"),
        pytest.param(one_writer(batches=(1, 2), limit=2), 650_000, id="parking"),
        pytest.param(
            one_writer(batches=(1, 2, 1), limit=2, readers=(STRATEGY,)), 8_000, id="parking alone"
        ),
        pytest.param(out_of_order(one_writer(**BATCHES)), 80_000, id="stores out of order"),
    ],
)
def test_no_record_is_torn_and_the_loss_is_exact(model: Model, states_min: int) -> None:
    report = visit(model)
    assert report.wrong is None
    assert report.states > states_min
    ends = [end[STRATEGY] for end in report.ends]
    assert any(end["lost"] == 0 for end in ends)
    assert any(end["lost"] == end["cursor"] - SLOTS for end in ends), "nobody was lapped"


@pytest.mark.parametrize("model", [cell(), out_of_order(cell())], ids=["x86", "out of order"])
def test_a_cell_returns_whole_records_only(model: Model) -> None:
    report = visit(model)
    assert report.wrong is None
    assert report.states > 10_000
    assert report.ends


@pytest.mark.parametrize(
    ("model", "states_min"),
    [
        pytest.param(one_writer(), 100_000, id="two readers"),
        pytest.param(two_writers(), 19_000, id="two writers"),
        pytest.param(two_writers(ticks=3, signals=3), 60_000, id="two writers, three times each"),
        pytest.param(out_of_order(one_writer()), 150_000, id="two readers, out of order"),
        pytest.param(out_of_order(two_writers()), 20_000, id="two writers, out of order"),
        pytest.param(replace(one_writer(), waits_end=True), 100_000, id="two readers, slices"),
        pytest.param(replace(two_writers(), waits_end=True), 19_000, id="two writers, slices"),
        pytest.param(whole_line(), 300_000, id="running freely"),
        pytest.param(whole_line(lockstep=True), 240_000, id="lockstep"),
    ],
)
def test_no_wake_up_is_lost(model: Model, states_min: int) -> None:
    report = visit(model)
    assert report.wrong is None
    assert report.states > states_min
    assert report.forsaken > 0, "nobody ever slept"


def test_a_bell_may_be_cleared_behind_parked_as_long_as_the_fence_comes_later() -> None:
    protocol = Protocol(bell_cleared="before fence")
    assert visit(one_writer(protocol)).wrong is None
    assert visit(two_writers(protocol)).wrong is None
    assert visit(out_of_order(two_writers(protocol))).wrong is None


def test_one_writer_alone_may_count_on_its_bell() -> None:
    assert visit(one_writer(Protocol(bell="increment"), batches=(1, 1))).wrong is None


def test_on_x86_a_claim_needs_no_barrier_behind_it() -> None:
    assert visit(one_writer(Protocol(claim="behind barrier"), **BATCHES)).wrong is None


# Wrong variants: records ---------------------------------------------------------------------


def test_a_copy_validated_by_published_can_be_torn() -> None:
    assert finds(TORN, one_writer(Protocol(validated_by="published"), **POLLING))


def test_a_copy_validated_before_it_is_made_can_be_torn() -> None:
    assert finds(TORN, one_writer(Protocol(validated_by="claimed before copy"), **POLLING))


def test_a_claim_behind_the_data_comes_too_late() -> None:
    assert finds(TORN, one_writer(Protocol(claim="behind data"), **POLLING))


def test_off_x86_a_release_store_of_the_claim_lets_the_data_overtake_it() -> None:
    released = one_writer(Protocol(claim="behind barrier"), **POLLING)
    assert finds(TORN, out_of_order(released))


def test_off_x86_published_overtakes_the_data_without_a_barrier() -> None:
    protocol = Protocol(barrier_before_published=False)
    assert finds(MISSED, out_of_order(one_writer(protocol, **POLLING)))


def test_off_x86_closed_overtakes_published_without_a_barrier() -> None:
    protocol = Protocol(barrier_before_closed=False)
    assert finds(ENDED, out_of_order(one_writer(protocol, batches=(1, 1), **POLLING)))


def test_a_loss_counted_by_laps_is_not_exact() -> None:
    assert finds(ENDED, one_writer(Protocol(loss_counted="by lap"), **BATCHES))


def test_a_cell_that_lets_the_claim_come_round_returns_torn_records() -> None:
    assert finds(TORN, cell(Protocol(cell_behind_max=SLOTS)))


# Wrong variants: wake-ups --------------------------------------------------------------------


@pytest.fixture(params=[one_writer, two_writers])
def model_of(request: pytest.FixtureRequest) -> Any:
    """Every wrong way to park shows with two readers and with two writers."""
    return request.param


def test_no_fence_between_published_and_the_look_at_parked(model_of: Any) -> None:
    assert finds(SLEEPS, model_of(Protocol(fence_behind_published=False)))


def test_no_fence_between_parked_and_the_second_look(model_of: Any) -> None:
    assert finds(SLEEPS, model_of(Protocol(fence_behind_parked=False)))


def test_no_second_look(model_of: Any) -> None:
    assert finds(SLEEPS, model_of(Protocol(second_look=False)))


def test_a_bell_cleared_behind_the_fence(model_of: Any) -> None:
    assert finds(SLEEPS, model_of(Protocol(bell_cleared="before look")))


def test_a_bell_cleared_behind_the_second_look(model_of: Any) -> None:
    assert finds(SLEEPS, model_of(Protocol(bell_cleared="before wait")))


def test_a_parked_byte_that_is_its_own_futex_and_that_no_writer_changes(model_of: Any) -> None:
    assert finds(SLEEPS, model_of(Protocol(bell="parked byte")))


def test_a_wake_that_overtakes_the_bell(model_of: Any) -> None:
    assert finds(SLEEPS, model_of(Protocol(wake_is_fence=False)))


def test_a_bell_that_two_writers_increment() -> None:
    assert finds(SLEEPS, two_writers(Protocol(bell="increment"), ticks=1))


def test_one_parked_byte_for_two_readers() -> None:
    assert finds(SLEEPS, one_writer(Protocol(parked="one for all")))


def test_a_lost_wake_up_is_found_before_the_next_tick_hides_it() -> None:
    report = visit(one_writer(Protocol(second_look=False), batches=(1, 1)))
    assert sum("goes to publish" in line for line in report.trace) == 1
