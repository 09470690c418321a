from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SettingsError
from pipeline.settings import Settings, parse_settings
from pipeline.supervisor.plan import ROLES, Plan, plan
from pipeline.supervisor.topology import Topology

PAPER = tomllib.loads(
    (Path(__file__).resolve().parents[3] / "configs/paper.toml").read_text(encoding="utf-8")
)


def wanted(mode: str = "poll", spin: str = "auto", lockstep: bool = False, **pins: Any) -> Settings:
    changes = {
        "waiting": {"mode": mode, "spin": spin},
        "channels": {"lockstep": lockstep},
        "pinning": pins,
    }
    return parse_settings(PAPER | changes)


def cores(count: int, **more: Any) -> Topology:
    return Topology(tuple(range(count)), {cpu: cpu for cpu in range(count)}, **more)


def threads(core_count: int) -> Topology:
    """CPU n and n + core_count share core n, as Linux numbers them on Intel and AMD."""
    cpus = range(2 * core_count)
    return Topology(tuple(cpus), {cpu: cpu % core_count for cpu in cpus})


def placed(made: Plan) -> dict[str, tuple[int, ...]]:
    return {role: made.roles[role].cpus for role in ROLES}


def spins(made: Plan) -> dict[str, str]:
    return {role: made.roles[role].spin for role in ROLES}


BARE = {"feed": "yield", "strategy": "bare", "risk": "bare"}
YIELDING = {"feed": "yield", "strategy": "yield", "risk": "yield"}


# Where each process runs ---------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["poll", "callback", "adaptive"])
@pytest.mark.parametrize(
    ("topology", "expected"),
    [
        (cores(1), {"feed": (0,), "strategy": (0,), "risk": (0,)}),
        (cores(2), {"feed": (0,), "strategy": (1,), "risk": (0,)}),
        (cores(3), {"feed": (0,), "strategy": (1,), "risk": (2,)}),
        (cores(4), {"feed": (3,), "strategy": (1,), "risk": (2,)}),
        (cores(8), {"feed": (3,), "strategy": (1,), "risk": (2,)}),
        (threads(2), {"feed": (3,), "strategy": (1,), "risk": (2,)}),
        (threads(4), {"feed": (3,), "strategy": (1,), "risk": (2,)}),
    ],
    ids=["1", "2", "3", "4", "8", "2 with threads", "4 with threads"],
)
def test_the_automatic_plan(
    mode: str, topology: Topology, expected: dict[str, tuple[int, ...]]
) -> None:
    made = plan(topology, wanted(mode))
    assert placed(made) == expected


def test_cores_are_shared_last_where_siblings_are_numbered_side_by_side() -> None:
    topology = Topology((0, 1, 2, 3, 4, 5), {0: 0, 1: 0, 2: 2, 3: 2, 4: 4, 5: 4})
    made = plan(topology, wanted())
    assert placed(made) == {"feed": (1,), "strategy": (2,), "risk": (4,)}
    assert made.notes == ()


def test_a_core_without_the_feed_is_preferred() -> None:
    topology = Topology((0, 1, 2, 3, 4, 5), {0: 0, 1: 0, 2: 2, 3: 2, 4: 4, 5: 4})
    assert plan(topology, wanted(feed=[2])).roles["strategy"].cpus == (4,)


def test_the_plan_stays_within_the_allowed_cpus() -> None:
    made = plan(Topology((5, 9), {5: 5, 9: 9}), wanted("callback"))
    assert placed(made) == {"feed": (5,), "strategy": (9,), "risk": (5,)}


def test_named_cpus_are_honoured_and_the_others_go_around_them() -> None:
    made = plan(cores(4), wanted(strategy=[2, 3], feed=[1]))
    assert placed(made) == {"feed": (1,), "strategy": (2, 3), "risk": (0,)}


def test_an_isolated_cpu_may_be_named() -> None:
    topology = Topology((0, 1), {0: 0, 1: 1, 2: 2, 3: 3}, isolated=(2, 3))
    made = plan(topology, wanted(strategy=[2], risk=[3]))
    assert placed(made) == {"feed": (1,), "strategy": (2,), "risk": (3,)}
    assert spins(made) == BARE
    assert made.notes == ()


def test_unused_isolated_cpus_are_noted() -> None:
    topology = Topology((0, 1), {0: 0, 1: 1, 2: 2}, isolated=(2,))
    (note,) = plan(topology, wanted("callback")).notes
    assert note == "CPUs [2] are isolated from the scheduler and unused: [pinning] may name them"


def test_a_cpu_that_is_not_allowed_is_refused_with_rule_value_and_cure() -> None:
    with pytest.raises(SettingsError) as refusal:
        plan(cores(2), wanted(risk=[1, 7]))
    assert str(refusal.value) == (
        "pinning.risk = [1, 7]: this run may not use [7]\n"
        "  rule: a process is pinned to CPUs this run may use: [0, 1]\n"
        "  cure: correct pinning.risk, or widen the run's CPUs (taskset, cgroup)"
    )


# Who may spin bare ---------------------------------------------------------------------------


@pytest.mark.parametrize("topology", [cores(3), cores(4), threads(2)])
@pytest.mark.parametrize("spin", ["auto", "bare"])
def test_readers_spin_bare_where_the_cpus_suffice(topology: Topology, spin: str) -> None:
    assert spins(plan(topology, wanted(spin=spin))) == BARE


@pytest.mark.parametrize("count", [1, 2])
def test_auto_yields_where_they_do_not_and_says_why(count: int) -> None:
    made = plan(cores(count), wanted())
    assert spins(made) == YIELDING
    assert made.notes == (
        f"strategy and risk yield between polls: 2 spinners need 3 CPUs, this run has {count}",
    )


def test_bare_is_refused_there_with_the_numbers() -> None:
    with pytest.raises(SettingsError) as refusal:
        plan(cores(2), wanted(spin="bare"))
    message = str(refusal.value)
    assert 'waiting.spin = "bare" in poll mode: 2 spinners need 3 CPUs, this run has 2' in message
    assert "rule: a bare spinner has a CPU of its own" in message
    assert 'cure: set waiting.spin = "auto"' in message


def test_yield_yields_on_any_machine() -> None:
    made = plan(cores(16), wanted(spin="yield"))
    assert spins(made) == YIELDING
    assert made.notes == ()


@pytest.mark.parametrize("mode", ["callback", "adaptive"])
def test_nobody_counts_as_spinning_in_the_other_modes(mode: str) -> None:
    made = plan(cores(1), wanted(mode, spin="bare"))
    assert spins(made) == YIELDING
    assert made.notes == ()


def test_lockstep_yields_rather_than_refuse() -> None:
    made = plan(cores(2), wanted(spin="bare", lockstep=True))
    assert spins(made) == YIELDING
    assert "2 spinners need 3 CPUs" in made.notes[0]


def test_lockstep_spins_bare_where_the_cpus_suffice() -> None:
    assert spins(plan(cores(3), wanted(lockstep=True))) == BARE


@pytest.mark.parametrize(("quota", "bare"), [(2.5, False), (3.0, True), (None, True)])
def test_a_container_with_less_time_than_spinners_need_yields(
    quota: float | None, bare: bool
) -> None:
    made = plan(cores(8, quota_cpus=quota), wanted())
    assert spins(made) == (BARE if bare else YIELDING)


def test_a_container_with_too_little_time_refuses_bare_with_the_numbers() -> None:
    with pytest.raises(SettingsError, match=r"need 3 CPUs, the cgroup grants .* time of 1\.5"):
        plan(cores(8, quota_cpus=1.5), wanted(spin="bare"))


@pytest.mark.parametrize(
    ("pins", "who"),
    [
        ({"strategy": [1], "risk": [1]}, r"strategy on \[1\]"),
        ({"strategy": [1], "risk": [1, 2]}, r"strategy on \[1\]"),
        ({"strategy": [1, 2], "risk": [2]}, r"risk on \[2\]"),
        ({"strategy": [1], "risk": [2], "feed": [2]}, r"risk on \[2\]"),
    ],
)
def test_a_bare_spinner_that_shares_its_cpu_by_name_is_refused(
    pins: dict[str, Any], who: str
) -> None:
    with pytest.raises(SettingsError, match=who + " has no CPU that no other process uses"):
        plan(cores(4), wanted(spin="bare", **pins))
    assert spins(plan(cores(4), wanted(**pins))) == YIELDING


def test_spinners_on_one_physical_core_are_noted() -> None:
    made = plan(threads(4), wanted(strategy=[1], risk=[5]))
    assert spins(made) == BARE
    assert made.notes == (
        "strategy on [1] and risk on [5] share a physical core: "
        "each slows the other down while both spin",
    )


# A feed that polls ---------------------------------------------------------------------------


def polling_feed(mode: str = "poll", spin: str = "auto", **pins: Any) -> Settings:
    settings = wanted(mode, spin, **pins)
    feed = settings.feed.model_copy(update={"receive": "poll"})
    return settings.model_copy(update={"feed": feed})


@pytest.mark.parametrize(
    ("mode", "count", "expected"),
    [
        ("poll", 4, {"feed": "bare", "strategy": "bare", "risk": "bare"}),
        ("poll", 3, YIELDING),
        ("callback", 2, YIELDING | {"feed": "bare"}),
        ("callback", 1, YIELDING),
    ],
)
def test_a_feed_that_polls_is_one_spinner_more(
    mode: str, count: int, expected: dict[str, str]
) -> None:
    assert spins(plan(cores(count), polling_feed(mode))) == expected


def test_on_two_cpus_a_feed_that_polls_is_alone_where_nobody_else_spins_else_the_strategy_is() -> (
    None
):
    alone = {"feed": (1,), "strategy": (0,), "risk": (0,)}
    assert placed(plan(cores(2), polling_feed("callback"))) == alone
    among_spinners = {"feed": (0,), "strategy": (1,), "risk": (0,)}
    assert placed(plan(cores(2), polling_feed("poll"))) == among_spinners


def test_a_feed_that_polls_on_few_cpus_yields_or_is_refused_with_the_numbers() -> None:
    assert plan(cores(3), polling_feed()).notes == (
        "strategy, risk and feed yield between polls: 3 spinners need 4 CPUs, this run has 3",
    )
    assert plan(cores(1), polling_feed("callback")).notes == (
        "feed yields between polls: 1 spinner needs 2 CPUs, this run has 1",
    )
    with pytest.raises(SettingsError, match="3 spinners need 4 CPUs, this run has 3"):
        plan(cores(3), polling_feed(spin="bare"))


def test_a_feed_that_polls_on_the_cpu_of_another_is_refused() -> None:
    pins = {"feed": [1], "risk": [1]}
    with pytest.raises(SettingsError, match=r"feed on \[1\] has no CPU that no other"):
        plan(cores(4), polling_feed("callback", "bare", **pins))


# Every machine -------------------------------------------------------------------------------


@st.composite
def machines(draw: st.DrawFn) -> Topology:
    allowed = sorted(draw(st.sets(st.integers(0, 15), min_size=1, max_size=16)))
    sharing = draw(st.sampled_from([16, 8, 4]))
    return Topology(tuple(allowed), {cpu: cpu % sharing for cpu in allowed})


@given(topology=machines(), mode=st.sampled_from(["poll", "callback"]))
def test_the_automatic_plan_of_any_machine_is_sound(topology: Topology, mode: str) -> None:
    made = plan(topology, wanted(mode))
    cpus = placed(made)
    used = [cpu for each in cpus.values() for cpu in each]
    assert set(used) <= set(topology.allowed)
    if len(topology.allowed) >= 2:
        assert cpus["strategy"] != cpus["risk"]
    core_count = len(set(topology.core_of.values()))
    if len(topology.allowed) >= 3:
        assert len(set(used)) == 3
    if core_count >= 4:
        assert topology.allowed[0] not in used
    if core_count >= 2:
        assert topology.core_of[cpus["strategy"][0]] != topology.core_of[cpus["risk"][0]]
    bare = mode == "poll" and len(topology.allowed) >= 3
    assert spins(made) == (BARE if bare else YIELDING)
