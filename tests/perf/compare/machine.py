"""What the numbers were measured on, without which they are worth nothing."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.channels import NATIVE_MISSING
from tests.perf.compare.measure import percentiles
from tests.perf.compare.ways import ROOT


def describe_machine() -> dict[str, str]:
    return {
        "cpu": _cpu_model(),
        "cpus": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "clocksource": _read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "isolated cpus": _read("/sys/devices/system/cpu/isolated"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "channels": f"reference ({NATIVE_MISSING})" if NATIVE_MISSING else "native (C)",
        "commit": _commit(),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip() or "none"
    except OSError:
        return "unknown"


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "--short", "HEAD") or "unknown") + changed


def bare_wake_up(rate: int, count: int) -> dict[str, int]:
    """Return how long a sleeping process takes to run after it was woken, ns: an eventfd, a writer
    on one CPU and a blocked reader on another, ``rate`` times a second. What any event-driven way
    pays once, at least; more, the longer the CPU slept."""
    seen_ns = memoryview(mmap.mmap(-1, 8 * count)).cast("q")
    event, cpus = os.eventfd(0, os.EFD_SEMAPHORE), sorted(os.sched_getaffinity(0))

    def be_woken() -> None:
        os.sched_setaffinity(0, {cpus[-1]})
        for at in range(count):
            os.eventfd_read(event)
            seen_ns[at] = time.monotonic_ns()

    reader = multiprocessing.get_context("fork").Process(target=be_woken, daemon=True)
    reader.start()
    os.sched_setaffinity(0, {cpus[0]})
    woken_ns = np.zeros(count, np.int64)
    for at in range(count):
        time.sleep(1 / rate)
        woken_ns[at] = time.monotonic_ns()
        os.eventfd_write(event, 1)
    reader.join()
    os.close(event)
    os.sched_setaffinity(0, cpus)
    return percentiles(np.array(seen_ns, np.int64) - woken_ns)


def hiccups(seconds: float) -> dict[str, Any]:
    """Return how late this process itself is woken while nothing of ours runs, ns: what the
    machine, and others on it, do to everybody."""
    late_ns, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        due_ns = time.monotonic_ns() + 1_000_000
        time.sleep(0.001)
        late_ns.append(time.monotonic_ns() - due_ns)
    return percentiles(np.array(late_ns, np.int64))
