"""Bind this process to CPUs."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

import psutil

from pipeline.errors import SettingsError, explain


def pin(cpus: Sequence[int], allowed: Collection[int] | None = None) -> tuple[int, ...]:
    """Bind the calling thread, and threads it starts later, to ``cpus``; return them sorted.

    ``allowed`` is what the supervisor was given (taskset, cgroup); by default what this process
    may use now. A pinned parent hands its own narrow mask to its children, so a child passes the
    supervisor's. Raises SettingsError when a CPU does not exist or is not allowed.
    """
    permitted = os.sched_getaffinity(0) if allowed is None else set(allowed)
    refused = sorted(set(cpus) - permitted)
    if refused:
        raise _refusal(cpus, refused, permitted)
    process = psutil.Process()
    before = process.cpu_affinity()
    try:
        process.cpu_affinity(list(cpus))
    except ValueError:
        raise _refusal(cpus, cpus, permitted) from None
    # The kernel binds to what the cgroup leaves of the request and reports no error.
    got = process.cpu_affinity()
    if set(got) != set(cpus):
        process.cpu_affinity(before)
        raise _refusal(cpus, sorted(set(cpus) - set(got)), got)
    return tuple(got)


def _refusal(
    cpus: Sequence[int], refused: Sequence[int], permitted: Collection[int]
) -> SettingsError:
    return SettingsError(
        explain(
            f"cannot pin to CPUs {list(cpus)}: {list(refused)} cannot be used",
            rule=f"a process is pinned to CPUs this run may use: {sorted(permitted)}",
            cure="correct [pinning], or widen the run's CPUs (taskset, cgroup cpuset)",
        )
    )
