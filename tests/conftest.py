"""Fixtures that every room's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


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
