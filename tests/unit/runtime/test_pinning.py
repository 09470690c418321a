from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pipeline.errors import SettingsError
from pipeline.runtime.pinning import pin


@pytest.fixture
def allowed() -> Iterator[list[int]]:
    before = os.sched_getaffinity(0)
    yield sorted(before)
    os.sched_setaffinity(0, before)


def test_the_process_runs_on_the_cpus_it_was_given(allowed: list[int]) -> None:
    assert pin(allowed[-1:]) == (allowed[-1],)
    assert os.sched_getaffinity(0) == {allowed[-1]}


def test_several_cpus_come_back_sorted(allowed: list[int]) -> None:
    assert pin(allowed[::-1]) == tuple(allowed)


@pytest.mark.parametrize("permit", [False, True], ids=["unknown to the run", "unknown to Linux"])
def test_a_cpu_that_does_not_exist_is_refused_and_nothing_changes(
    allowed: list[int], permit: bool
) -> None:
    with pytest.raises(SettingsError) as refusal:
        pin([4_000], allowed=[*allowed, 4_000] if permit else None)
    assert "cannot pin to CPUs [4000]: [4000] cannot be used" in str(refusal.value)
    assert sorted(os.sched_getaffinity(0)) == allowed


def test_a_request_that_linux_would_cut_down_without_a_word_is_refused(
    allowed: list[int],
) -> None:
    absent = 1_000
    with pytest.raises(SettingsError, match=r"\[1000\] cannot be used"):
        pin([allowed[0], absent], allowed=[*allowed, absent])
    assert sorted(os.sched_getaffinity(0)) == allowed


def test_a_cpu_outside_of_what_the_supervisor_was_given_is_refused(allowed: list[int]) -> None:
    others = [cpu + 1 for cpu in allowed]
    with pytest.raises(SettingsError) as refusal:
        pin(allowed[:1], allowed=others)
    assert f"rule: a process is pinned to CPUs this run may use: {others}" in str(refusal.value)
    assert "cure:" in str(refusal.value)


def test_a_child_of_a_pinned_parent_may_use_what_the_supervisor_was_given(
    allowed: list[int],
) -> None:
    if len(allowed) < 2:
        pytest.skip("needs two CPUs")
    os.sched_setaffinity(0, allowed[:1])
    assert pin(allowed[1:], allowed=allowed) == tuple(allowed[1:])


def test_no_cpu_at_all_is_refused(allowed: list[int]) -> None:
    with pytest.raises(SettingsError):
        pin([])
    assert sorted(os.sched_getaffinity(0)) == allowed
