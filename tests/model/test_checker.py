"""The checker against small programs whose outcomes are known from the books on memory order."""

from __future__ import annotations

from tests.model.checker import Model, Report, Sleeper, explore
from tests.model.program import (
    Barrier,
    Do,
    Fence,
    Instruction,
    Load,
    Registers,
    Rest,
    Store,
    Wait,
    Wake,
    When,
    Wrong,
)

Program = list[Instruction]


def report_of(left: Program, right: Program, *, ordered: bool = True) -> Report:
    memory = {"x": 0, "y": 0}
    return explore(Model(memory, {"left": left, "right": right}, ordered=ordered))


def outcomes(left: Program, right: Program, *, ordered: bool = True) -> set[tuple[int, ...]]:
    """Return what the registers of left and then of right can be in the end."""
    ends = report_of(left, right, ordered=ordered).ends
    return {(*end["left"].values(), *end["right"].values()) for end in ends}


def test_two_threads_may_both_miss_the_other_s_store() -> None:
    left: Program = [Store("x", 1), Load("y", "y")]
    right: Program = [Store("y", 1), Load("x", "x")]
    assert outcomes(left, right) == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_with_a_fence_in_each_one_of_them_sees_the_other_s_store() -> None:
    left: Program = [Store("x", 1), Fence(), Load("y", "y")]
    right: Program = [Store("y", 1), Fence(), Load("x", "x")]
    assert outcomes(left, right) == {(0, 1), (1, 0), (1, 1)}
    assert (0, 0) in outcomes(left, [right[0], right[2]])


def test_a_futex_call_is_a_fence() -> None:
    for call in (Wait("x", 2), Wake("x")):  # nobody stores 2, so that the wait does not sleep
        left: Program = [Store("x", 1), call, Load("y", "y")]
        right: Program = [Store("y", 1), call, Load("x", "x")]
        assert outcomes(left, right) == {(0, 1), (1, 0), (1, 1)}


def test_stores_are_seen_in_order_on_x86_and_elsewhere_behind_a_barrier_only() -> None:
    plain: Program = [Store("x", 1), Store("y", 1)]
    barred: Program = [Store("x", 1), Barrier(), Store("y", 1)]
    reader: Program = [Load("a", "y"), Load("b", "x")]
    assert outcomes(plain, reader) == {(0, 0), (0, 1), (1, 1)}
    assert outcomes(plain, reader, ordered=False) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert outcomes(barred, reader, ordered=False) == {(0, 0), (0, 1), (1, 1)}


def test_stores_to_one_address_are_never_reordered() -> None:
    reader: Program = [Load("a", "x"), Load("b", "x")]
    writer: Program = [Store("x", 1), Store("x", 2)]
    assert (2, 1) not in outcomes(writer, reader, ordered=False)
    assert (1, 2) in outcomes(writer, reader, ordered=False)


def test_a_thread_sees_its_own_store_before_the_others_do() -> None:
    left: Program = [Store("x", 1), Load("a", "x"), Load("b", "y")]
    right: Program = [Store("y", 1), Load("a", "y"), Load("b", "x")]
    assert (1, 0, 1, 0) in outcomes(left, right)


def test_of_two_own_stores_the_newest_is_seen() -> None:
    assert outcomes([Store("x", 1), Store("x", 2), Load("a", "x")], []) == {(2,)}


def waiting(wait: Program, wake: Program, *, waits_end: bool = False) -> Report:
    sleepers = {"sleeper": Sleeper(lambda memory, registers: memory["x"] == 1, ("waker",))}
    programs = {"sleeper": wait, "waker": wake}
    return explore(Model({"x": 0, "y": 0}, programs, sleepers, waits_end=waits_end))


def test_to_compare_and_to_fall_asleep_is_one_step() -> None:
    report = waiting([Wait("x", 0)], [Store("x", 1), Wake("x")])
    assert report.wrong is None
    assert report.ends


def test_a_sleeper_whom_nobody_wakes_is_found() -> None:
    report = waiting([Wait("y", 0)], [Store("x", 1)])
    assert report.wrong == "sleeper sleeps with news and nobody will wake it"


def test_a_sleeper_without_news_may_sleep() -> None:
    report = waiting([Wait("x", 0)], [Rest(), Store("x", 1), Wake("x")])
    assert report.wrong is None
    assert report.forsaken > 0


def test_a_wake_for_another_address_wakes_nobody() -> None:
    assert waiting([Wait("y", 0)], [Wake("y")]).ends
    assert not waiting([Wait("y", 0)], [Wake("x")]).ends


def test_a_wait_may_end_of_itself_where_that_is_asked_for() -> None:
    assert not waiting([Wait("x", 0)], []).ends
    assert waiting([Wait("x", 0)], [], waits_end=True).ends


def test_a_wake_goes_before_its_store_where_the_kernel_is_no_fence() -> None:
    assert waiting([Wait("x", 0)], [Store("x", 1), Wake("x", fence=False)]).wrong is not None


def refuse(r: Registers) -> None:
    raise Wrong("saw it")


def test_the_trace_is_a_shortest_one() -> None:
    looking: Program = [Load("x", "x"), When(lambda r: r["x"] == 2, [Do(refuse)])]
    report = report_of([Store("x", 1), Rest(), Store("x", 2)], looking)
    assert report.wrong == "right saw it"
    assert [line.strip() for line in report.trace] == [
        "left: x = 1 reaches memory",
        "left: goes to publish",
        "left: x = 2 reaches memory",
        "right: sees x = 2",
    ]


def test_an_end_at_which_something_is_missing_is_found() -> None:
    model = Model(
        {"x": 0},
        {"writer": [Store("x", 1)], "reader": [Load("x", "x")]},
        has_all={"reader": lambda memory, registers: registers["x"] == memory["x"]},
    )
    assert explore(model).wrong == "reader ended too early, or counted wrongly: {'x': 0}"
