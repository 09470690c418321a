"""What processes cost while they were measured: CPU, memory, wake-ups, context switches.

From /proc, all threads of a process together. CPU is the scheduler's own nanoseconds, as a part
of one core. Memory is the proportional set size: a page that n processes share counts 1/n in each
of them, so the sum over the processes of a run is what the run really holds. It grows while the
ring, whose pages are taken at the start, is gone through for the first time; the heap (pages of
no file) is what allocating would make grow. A wake-up is counted as a voluntary switch: a thread
that slept or waited and went on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic_ns


@dataclass(frozen=True)
class Sample:
    """The counters of one process at one moment."""

    at_ns: int
    cpu_ns: int
    memory_bytes: int
    heap_bytes: int
    voluntary: int
    involuntary: int


@dataclass(frozen=True)
class Usage:
    """What one process took between two samples."""

    cpu_percent: float  # of one core
    memory_mb: float  # at the end
    heap_start_mb: float
    heap_mb: float
    wakeups_per_second: float
    switches_per_second: float  # wake-ups included

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def sample(pids: Mapping[str, int]) -> dict[str, Sample]:
    """Return the counters of each process now."""
    return {name: _sample(Path(f"/proc/{pid}")) for name, pid in pids.items()}


def used(before: Mapping[str, Sample], after: Mapping[str, Sample]) -> dict[str, Usage]:
    """Return what each process took between the two."""
    return {name: _used(before[name], after[name]) for name in before}


def _sample(process: Path) -> Sample:
    cpu_ns = voluntary = involuntary = 0
    for task in (process / "task").iterdir():
        cpu_ns += int((task / "schedstat").read_text().split()[0])
        counters = _numbers((task / "status").read_text())
        voluntary += counters["voluntary_ctxt_switches"]
        involuntary += counters["nonvoluntary_ctxt_switches"]
    sizes = _numbers((process / "smaps_rollup").read_text())
    memory, heap = sizes["Pss"] * 1_024, sizes["Pss_Anon"] * 1_024
    return Sample(monotonic_ns(), cpu_ns, memory, heap, voluntary, involuntary)


def _numbers(text: str) -> dict[str, int]:
    """Return the lines "Name:  number …" of a /proc file."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        first = rest.split()[:1]
        if first and first[0].isdigit():
            found[name] = int(first[0])
    return found


def _used(before: Sample, after: Sample) -> Usage:
    seconds = (after.at_ns - before.at_ns) / 1e9
    woken = after.voluntary - before.voluntary
    return Usage(
        cpu_percent=(after.cpu_ns - before.cpu_ns) / 1e7 / seconds,
        memory_mb=after.memory_bytes / 1e6,
        heap_start_mb=before.heap_bytes / 1e6,
        heap_mb=after.heap_bytes / 1e6,
        wakeups_per_second=woken / seconds,
        switches_per_second=(woken + after.involuntary - before.involuntary) / seconds,
    )
