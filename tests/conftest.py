"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent

# Every process that a test starts inherits this mark, so that the last test can find survivors.
MARK = "TICKPIPE_TESTS"
os.environ[MARK] = str(os.getpid())

# How long an example takes says something of the machine only.
hypothesis.settings.register_profile("tickpipe", deadline=None)
hypothesis.settings.load_profile("tickpipe")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the look for leftovers last."""
    items.sort(key=lambda item: item.path.name == "test_leftovers.py")


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
