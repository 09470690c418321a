"""What a number is worthless without: the machine, and who else wanted it meanwhile."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path

SYSTEM = Path("/sys/devices/system")


def describe_machine() -> dict[str, str]:
    """Return the machine and the state it is in."""
    cpus = sorted(os.sched_getaffinity(0))
    return {
        "cpu": _cpu_model(),
        "cores": str(len(cpus)),
        "virtual": "yes" if "hypervisor" in _read(Path("/proc/cpuinfo")) else "no",
        "kernel": platform.release(),
        "governor": _first_line(SYSTEM / "cpu/cpu0/cpufreq/scaling_governor", "not visible"),
        "isolated CPUs": _first_line(SYSTEM / "cpu/isolated", "none"),
        "clocksource": _first_line(
            SYSTEM / "clocksource/clocksource0/current_clocksource", "unknown"
        ),
        "pinning": f"writer on CPU {cpus[0]}, reader on CPU {cpus[-1]}, SCHED_OTHER",
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "python": platform.python_version(),
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _first_line(path: Path, absent: str) -> str:
    return _read(path).strip() or absent


def _cpu_model() -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _commit() -> str:
    """Return the commit, with a + where files differ from it."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    commit = git("rev-parse", "--short", "HEAD") or "unknown"
    return commit + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


class Disturbance:
    """The part of a stretch of time in which somebody waited for a CPU (the kernel's pressure
    stall information), or the host took one away (steal)."""

    def __init__(self) -> None:
        self._waited, self._stolen = _waited_seconds(), _stolen_seconds()
        self._started = time.monotonic()

    def part(self) -> float:
        """Return it since this was made: 0 is a machine of one's own."""
        waited = _waited_seconds() - self._waited + _stolen_seconds() - self._stolen
        return waited / (time.monotonic() - self._started)


def _waited_seconds() -> float:
    words = _read(Path("/proc/pressure/cpu")).split()
    return int(words[4].partition("=")[2]) / 1e6 if words else 0.0


def _stolen_seconds() -> float:
    words = _read(Path("/proc/stat")).split()
    return int(words[8]) / os.sysconf("SC_CLK_TCK") if words else 0.0
