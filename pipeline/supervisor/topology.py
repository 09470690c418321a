"""Which CPUs this run may use, as Linux tells it in /sys and /proc."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

_CPUS = "sys/devices/system/cpu"
_CGROUPS = "sys/fs/cgroup"


@dataclass(frozen=True, slots=True)
class Topology:
    """The CPUs of this run. A CPU is what the scheduler hands out; two may share a core."""

    allowed: tuple[int, ...]  # taskset and cgroup cpuset, sorted
    core_of: dict[int, int]  # CPU -> its physical core, named by the core's lowest CPU
    isolated: tuple[int, ...] = ()  # isolcpus: the scheduler keeps them free; pin there by name
    quota_cpus: float | None = None  # CPU time per time that the cgroup grants; None = no limit


def read_topology(root: Path = Path("/"), allowed: Collection[int] | None = None) -> Topology:
    """Return the CPUs under ``root``; where a file is missing, each CPU counts as a core and
    nothing is isolated or limited. ``allowed`` is by default what this process may use."""
    cpus = tuple(sorted(os.sched_getaffinity(0) if allowed is None else allowed))
    isolated = tuple(_cpu_list(_read(root / _CPUS / "isolated")))
    return Topology(
        allowed=cpus,
        core_of={cpu: _core_of(root, cpu) for cpu in sorted({*cpus, *isolated})},
        isolated=isolated,
        quota_cpus=_quota_cpus(root),
    )


def _core_of(root: Path, cpu: int) -> int:
    siblings = _cpu_list(_read(root / _CPUS / f"cpu{cpu}" / "topology/thread_siblings_list"))
    return min(siblings, default=cpu)


def _quota_cpus(root: Path) -> float | None:
    """Return the smallest cpu.max from this process's cgroup (v2) up to the root."""
    lines = _read(root / "proc/self/cgroup").splitlines()
    paths = [line.removeprefix("0::/") for line in lines if line.startswith("0::/")]
    folder = root / _CGROUPS / paths[0] if paths else root / _CGROUPS
    limits = []
    for place in (folder, *folder.parents):
        quota_us, _, period_us = _read(place / "cpu.max").strip().partition(" ")
        if quota_us.isdigit() and period_us.isdigit():  # otherwise "max", or no such file
            limits.append(int(quota_us) / int(period_us))
    return min(limits, default=None)


def _cpu_list(text: str) -> list[int]:
    """Return the CPUs of the kernel's list form: "0-2,5" is 0, 1, 2, 5."""
    cpus: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return cpus


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:  # not Linux's usual /sys: a container may hide any of these files
        return ""
