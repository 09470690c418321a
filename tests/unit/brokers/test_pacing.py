"""How many requests leave for the broker."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.brokers.pacing import MINUTE_NS, SECOND_NS, Pacing


def test_entries_leave_room_for_exits() -> None:
    pacing = Pacing(per_second=3, per_minute=100, reserved=1)
    for now_ns in (1, 2):
        assert pacing.wait_ns(now_ns, is_entry=True) == 0
        pacing.count(now_ns)
    assert pacing.wait_ns(3, is_entry=True) > 0
    assert pacing.wait_ns(3, is_entry=False) == 0
    pacing.count(3)
    assert pacing.wait_ns(4, is_entry=False) > 0


@given(st.lists(st.tuples(st.integers(0, 2 * SECOND_NS), st.booleans()), max_size=150))
def test_no_second_and_no_minute_has_more_than_its_share(
    wanted: list[tuple[int, bool]],
) -> None:
    pacing = Pacing(per_second=5, per_minute=40, reserved=2)
    now_ns, left = 0, []
    for pause_ns, is_entry in wanted:
        now_ns += pause_ns // 20
        now_ns += pacing.wait_ns(now_ns, is_entry=is_entry)
        assert pacing.wait_ns(now_ns, is_entry=is_entry) == 0
        pacing.count(now_ns)
        left.append(now_ns)
    for start in left:
        assert sum(start <= at < start + SECOND_NS for at in left) <= 5
        assert sum(start <= at < start + MINUTE_NS for at in left) <= 40
