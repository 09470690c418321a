"""Which process runs on which CPUs, and how a reader may spin there.

A bare spinner that shares its CPU keeps the others from running for a whole time slice of the
scheduler: three on two CPUs handed a tick around 124 times a second, yielding ones 230 000
times. So a bare spinner has a CPU of its own, and one more is left for everybody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import SettingsError, explain
from pipeline.settings import Mode, Settings
from pipeline.supervisor.topology import Topology

FEED = "feed"
ROLES = (FEED, "strategy", "risk")
READERS = ("strategy", "risk")
_BY_NEED = ("strategy", "risk", "feed")  # who chooses a CPU first

Spin = Literal["bare", "yield"]


@dataclass(frozen=True, slots=True)
class Seat:
    """Where one process runs."""

    cpus: tuple[int, ...]
    spin: Spin = "yield"  # how it spins where its mode spins at all


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everybody runs, and what a person should know about it."""

    roles: Mapping[str, Seat]
    notes: tuple[str, ...]


def plan(topology: Topology, settings: Settings) -> Plan:
    """Return the plan of a run.

    [pinning] is honoured or refused; who is not named there gets a CPU of the rest, on a
    physical core of its own as long as there are any, the first CPU being left to the system.
    Raises SettingsError when a CPU cannot be used or a bare spinner has none of its own.
    """
    # A feed that spins alone has its CPU for itself. Where all spin, the strategy has: on few CPUs
    # a tick waits less for a turn of the feed, which yields, than for one of risk.
    feed_alone = _spinners(settings) == (FEED,)
    cpus = _choose_cpus(topology, _explicit(topology, settings), feed_alone)
    spin, notes = _choose_spin(topology, settings, cpus)
    spinners = _spinners(settings)
    roles = {role: Seat(cpus[role], spin if role in spinners else "yield") for role in ROLES}
    taken = {cpu for seat in roles.values() for cpu in seat.cpus}
    rest = [cpu for cpu in topology.allowed if cpu not in taken]
    roles["recorder"] = Seat(tuple(rest or topology.allowed))  # which never spins
    return Plan(
        roles=roles,
        notes=(*notes, *_sibling_notes(topology, settings, cpus), *_isolated_notes(topology, cpus)),
    )


# CPUs ----------------------------------------------------------------------------------------


def _explicit(topology: Topology, settings: Settings) -> dict[str, tuple[int, ...]]:
    """Return the CPUs that [pinning] names."""
    usable = {*topology.allowed, *topology.isolated}
    named: dict[str, tuple[int, ...]] = {}
    for role in ROLES:
        cpus: tuple[int, ...] | None = getattr(settings.pinning, role)
        if cpus is None:
            continue
        refused = sorted(set(cpus) - usable)
        if refused:
            raise SettingsError(
                explain(
                    f"pinning.{role} = {list(cpus)}: this run may not use {refused}",
                    rule=f"a process is pinned to CPUs this run may use: {sorted(usable)}",
                    cure=f"correct pinning.{role}, or widen the run's CPUs (taskset, cgroup)",
                )
            )
        named[role] = cpus
    return named


def _choose_cpus(
    topology: Topology, named: dict[str, tuple[int, ...]], feed_alone: bool
) -> dict[str, tuple[int, ...]]:
    chosen = dict(named)
    for role in (FEED, *READERS) if feed_alone else _BY_NEED:
        if role not in chosen:
            best = min(topology.allowed, key=lambda cpu: _crowd(topology, chosen, cpu, feed_alone))
            chosen[role] = (best,)
    return chosen


def _crowd(
    topology: Topology, chosen: Mapping[str, tuple[int, ...]], cpu: int, feed_alone: bool
) -> tuple[int, int, int, int, int, int, int]:
    """Return what speaks against ``cpu`` for one more process, weightiest first."""
    core = topology.core_of[cpu]
    first = topology.allowed[0]  # the kernel's own work gathers there
    here = [role for role, cpus in chosen.items() if cpu in cpus]
    beside = [r for r, cpus in chosen.items() if core in {topology.core_of[c] for c in cpus}]
    return (
        feed_alone and FEED in here,
        "strategy" in here,
        len(here),
        sum(role in READERS for role in beside),
        (cpu == first) + (core == topology.core_of[first]),
        len(beside),
        cpu,
    )


# Spinning ------------------------------------------------------------------------------------


def _choose_spin(
    topology: Topology, settings: Settings, cpus: Mapping[str, tuple[int, ...]]
) -> tuple[Spin, list[str]]:
    wanted, spinners = settings.waiting.spin, _spinners(settings)
    if not spinners or wanted == "yield":
        return "yield", []
    obstacle = _obstacle(topology, cpus, spinners)
    if obstacle is None:
        return "bare", []
    if wanted == "auto" or settings.channels.lockstep:
        return "yield", [f"{_listed(spinners)} between polls: {obstacle}"]
    raise SettingsError(
        explain(
            f'waiting.spin = "bare" in poll mode: {obstacle}',
            rule="a bare spinner has a CPU of its own, and one more is left for everybody else",
            cure='set waiting.spin = "auto", or waiting.mode = "callback" and '
            'feed.receive = "block", or give the run more CPUs and each process its own in '
            "[pinning]",
        )
    )


def _spinners(settings: Settings) -> tuple[str, ...]:
    """Return who looks again and again by the settings."""
    receives = settings.feed.broker != "recorded" and settings.feed.receive == "poll"
    readers = READERS if settings.waiting.mode is Mode.POLL else ()
    return (*readers, FEED) if receives else readers


def _listed(spinners: tuple[str, ...]) -> str:
    if len(spinners) == 1:
        return f"{spinners[0]} yields"
    return f"{', '.join(spinners[:-1])} and {spinners[-1]} yield"


def _obstacle(
    topology: Topology, cpus: Mapping[str, tuple[int, ...]], spinners: tuple[str, ...]
) -> str | None:
    """Return why ``spinners`` cannot all spin bare; None when they can."""
    needed = len(spinners) + 1
    few = f"{len(spinners)} spinner{'s need' if len(spinners) > 1 else ' needs'} {needed} CPUs"
    usable = set(topology.allowed).union(*cpus.values())
    if len(usable) < needed:
        return f"{few}, this run has {len(usable)}"
    if topology.quota_cpus is not None and topology.quota_cpus < needed:
        return f"{few}, the cgroup grants this run the time of {topology.quota_cpus:g}"
    for role in spinners:
        others = {cpu for other in ROLES if other != role for cpu in cpus[other]}
        if others.issuperset(cpus[role]):
            return f"{role} on {list(cpus[role])} has no CPU that no other process uses"
    return None


# Notes ---------------------------------------------------------------------------------------


def _sibling_notes(
    topology: Topology, settings: Settings, cpus: Mapping[str, tuple[int, ...]]
) -> list[str]:
    if settings.waiting.mode is not Mode.POLL:
        return []
    strategy, risk = (set(cpus[role]) for role in READERS)
    cores = [{topology.core_of[cpu] for cpu in own} for own in (strategy, risk)]
    if strategy & risk or not cores[0] & cores[1]:
        return []
    return [
        f"strategy on {sorted(strategy)} and risk on {sorted(risk)} share a physical core: "
        "each slows the other down while both spin"
    ]


def _isolated_notes(topology: Topology, cpus: Mapping[str, tuple[int, ...]]) -> list[str]:
    idle = sorted(set(topology.isolated).difference(*cpus.values()))
    if not idle:
        return []
    return [f"CPUs {idle} are isolated from the scheduler and unused: [pinning] may name them"]
