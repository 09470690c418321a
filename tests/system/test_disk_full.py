"""A disk without room: an exit leaves all the same, an entry does not, nothing is forgotten."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.risk.desk import Desk
from pipeline.risk.history import Event
from pipeline.risk.ledger import Ledger
from pipeline.risk.session import RiskSession
from tests.money import LOT, Recorder, guide, signal, tick

pytestmark = pytest.mark.system

DISK_BYTES = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill_up(disk: Path) -> Path:
    """Write a file until there is no room for another byte."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (4096, 1):
            while True:
                try:
                    file.write(b"x" * size)
                except OSError:
                    break
    assert os.statvfs(disk).f_bavail == 0
    return ballast


def test_on_a_full_disk_an_exit_leaves_and_is_in_the_ledger_when_there_is_room(
    disk: Path,
) -> None:
    with Ledger.open(disk / "ledger.sqlite") as ledger:
        session, gateway = RiskSession(guide()), Recorder(ledger)
        desk = Desk(session, ledger, gateway)
        desk.on_tick(tick(1, 100), 0)
        desk.on_signal(signal(1), 0)
        assert session.book.held == [13 * LOT]
        ballast = fill_up(disk)
        while not ledger.failed:  # the write-ahead log has some room of its own
            ledger.put(Event("filler", "x" * 4_000, 0))
            ledger.try_commit()
        desk.on_tick(tick(2, 80), 0)
        assert [order.reason for order in gateway.orders][1:] == ["Stop Loss"]
        assert session.is_flat
        desk.on_signal(signal(2, tick_seq=2), 0)
        assert len(gateway.orders) == 2
        assert session.halted.startswith("ledger: ")
        ballast.unlink()
        desk.look(1)
        assert session.halted == ""
        assert ledger.failed == ""
    with Ledger.read(disk / "ledger.sqlite") as written:
        assert [order.order_id for order, _ in written.orders()] == [
            "251001N0001E0",
            "251001N0001X1",
        ]
        assert [trade.exit_reason for trade in written.trades()] == ["Stop Loss"]
