from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def config(configs: Path) -> dict[str, Any]:
    """Return configs/guide.toml as a dictionary that a test may spoil."""
    return tomllib.loads((configs / "guide.toml").read_text(encoding="utf-8"))
