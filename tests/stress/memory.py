"""The memory of a process as the kernel counts it: a shared page counts in parts."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Memory(NamedTuple):
    """Bytes. ``own`` leaves out files: programs and libraries, which other programs share."""

    pss: int
    own: int


def memory_of(pid: int | str = "self") -> Memory | None:
    """Return the memory of a process; None when it has ended, also where nobody waited for it."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    rows = (line.split() for line in text.splitlines()[1:])
    kilobytes = {name.rstrip(":"): int(number) for name, number, *_ in rows}
    if not kilobytes:
        return None
    own = kilobytes["Pss_Anon"] + kilobytes["Pss_Shmem"]
    return Memory(1_024 * kilobytes["Pss"], 1_024 * own)
