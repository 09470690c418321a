"""Where every verb prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

COLUMNS_OF_A_FILE = 240  # nothing is cut where no terminal is


class _Terminal(Console):
    def on_broken_pipe(self) -> None:
        """Go on in silence when nobody reads any more, as behind `| head`: the verb's exit code
        is about what it did."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


console = _Terminal(
    markup=False,
    highlight=False,
    width=None if sys.stdout.isatty() else COLUMNS_OF_A_FILE,
)


def say(note: str) -> None:
    console.print(f"note: {note}", soft_wrap=True)


def print_rows(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows of one form as a table, "none" where there is none."""
    if not rows:
        console.print(f"{title}: none")
        return
    table = Table(title=title, title_justify="left", box=None)
    for name in rows[0]:
        table.add_column(name, overflow="fold")  # half an id is none
    for row in rows:
        table.add_row(*map(str, row.values()))
    console.print(table)
