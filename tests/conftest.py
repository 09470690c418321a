"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent

# Every process that a test starts inherits this mark, so that the last test can find survivors.
MARK = "TICKPIPE_TESTS"
os.environ[MARK] = str(os.getpid())

# And a folder for temporary files, so that it finds theirs alone; those of pytest stay where they
# are kept for people.
os.environ["PYTEST_DEBUG_TEMPROOT"] = tempfile.gettempdir()
os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(prefix="tests-of-tickpipe-")

# What a shell starts in the background ignores Ctrl-C, and so does what is started from there.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something of the machine only.
hypothesis.settings.register_profile("tickpipe", deadline=None)
hypothesis.settings.load_profile("tickpipe")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the look for leftovers last."""
    items.sort(key=lambda item: item.path.name == "test_leftovers.py")


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ["TMPDIR"])


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of recordings made by others, beside the checkout; skip without it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the recordings of others in {folder}, which are not shipped")
    return folder


@pytest.fixture(scope="session")
def configs() -> Path:
    """Return the folder of configurations that ship."""
    return ROOT / "configs"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system with next to no room."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k,mode=0700", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small file system, and not everywhere")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
