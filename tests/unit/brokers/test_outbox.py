"""What leaves for the broker next, and what nobody has answered yet."""

from __future__ import annotations

from pipeline.brokers.outbox import WAITING_MAX, Outbox
from pipeline.brokers.pacing import SECOND_NS, Pacing
from tests.money import order

NOW_NS = 1_000 * SECOND_NS


def outbox(per_second: int = 10) -> Outbox:
    return Outbox(Pacing(per_second, 200, 1))


def put(box: Outbox, number: int, *, is_exit: bool = False, now_ns: int = NOW_NS) -> str:
    order_id = f"E{number}"
    assert box.put(order(order_id=order_id), is_exit=is_exit, now_ns=now_ns)
    return order_id


def leave(box: Outbox, now_ns: int = NOW_NS) -> list[str]:
    """Take what may leave now."""
    left = []
    while box.wait_ns(now_ns) == 0:
        left.append(box.take(now_ns).order_id)
    return left


def test_cancels_leave_before_exits_and_exits_before_entries_each_in_its_order() -> None:
    box = outbox()
    first, second = put(box, 1), put(box, 2)
    exit_id = put(box, 3, is_exit=True)
    box.put_cancel("old", "77", NOW_NS)
    assert leave(box) == ["old", exit_id, first, second]
    assert box.wait_ns(NOW_NS) is None


def test_entries_wait_for_the_pacing_and_leave_room_for_an_exit() -> None:
    box = outbox(per_second=2)
    first, second = put(box, 1), put(box, 2)
    assert leave(box) == [first]
    exit_id = put(box, 3, is_exit=True)
    assert leave(box) == [exit_id]
    wait_ns = box.wait_ns(NOW_NS)
    assert wait_ns
    assert leave(box, NOW_NS + wait_ns) == [second]
    assert (box.sent, box.waited_ns_max) == (3, wait_ns)


def test_what_waits_is_withdrawn_once_and_what_left_is_not() -> None:
    box = outbox()
    left, waits, other = put(box, 1), put(box, 2), put(box, 3)
    assert box.take(NOW_NS).order_id == left
    assert [box.withdraw(left), box.withdraw(waits), box.withdraw(waits)] == [False, True, False]
    assert leave(box) == [other]
    box.answered(left)
    box.answered(other)
    assert box.answered_before(box.mark()), "nobody waits for what was withdrawn"


def test_a_cancel_that_waits_is_not_taken_for_its_order() -> None:
    box = outbox()
    box.put_cancel("E1", "77", NOW_NS)
    assert not box.withdraw("E1")
    assert leave(box) == ["E1"]


def test_a_cancel_without_the_brokers_id_waits_for_the_answer_that_brings_it() -> None:
    box = outbox()
    order_id = put(box, 1)
    assert leave(box) == [order_id]
    for later_ns in (1, 2):
        box.put_cancel(order_id, "", NOW_NS + later_ns)
    assert leave(box) == []
    box.put_cancel(order_id, "77", NOW_NS)
    assert leave(box) == [order_id], "with the id it leaves at once"
    box.answered(order_id)
    assert leave(box) == [order_id]
    assert leave(box) == []
    assert box.waited_ns_max == 0


def test_an_order_too_many_is_not_taken_and_nobody_waits_for_its_answer() -> None:
    box = outbox()
    taken = [put(box, number + 1) for number in range(WAITING_MAX)]
    one_more = order(order_id="X1")
    assert not box.put(one_more, is_exit=True, now_ns=NOW_NS)
    for order_id in taken:
        box.answered(order_id)
    assert box.answered_before(box.mark())
    assert box.drop() == WAITING_MAX
    assert box.wait_ns(NOW_NS) is None


def test_what_was_put_before_a_mark_has_to_be_answered_and_what_comes_later_has_not() -> None:
    box = outbox()
    before = put(box, 1)
    mark = box.mark()
    put(box, 2)
    leave(box)
    assert not box.answered_before(mark)
    box.answered(before)
    assert box.answered_before(mark)
    assert not box.answered_before(box.mark())
