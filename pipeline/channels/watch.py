"""The heartbeats of a run, from outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.cell import CellReader
from pipeline.channels.line import RECORDER, ROLES
from pipeline.records import HEARTBEAT


class Watch:
    """Reads the heartbeats of a run from outside; attaches to each as it appears."""

    def __init__(self, directory: Path) -> None:
        self._paths = {role: directory / f"{role}.beat" for role in (*ROLES, RECORDER)}
        self._cells: dict[str, CellReader] = {}
        self._rows: dict[str, NDArray[np.void]] = {}

    def latest(self) -> dict[str, NDArray[np.void]]:
        """Return the newest heartbeat of every role that has one, shape ``(1,)`` each."""
        for role, path in self._paths.items():
            if role in self._cells and self._cells[role].superseded:
                self._cells.pop(role).close()
            if role not in self._cells and path.exists():
                self._cells[role] = CellReader(path, HEARTBEAT)
            if role in self._cells and (row := self._cells[role].latest()) is not None:
                self._rows[role] = row
        return self._rows

    def close(self) -> None:
        for cell in self._cells.values():
            cell.close()
