from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.channels import Implementation
from pipeline.channels.readers import Readers
from pipeline.settings import Settings, load_settings
from tests.rig import Ring
from tests.rig import channels as channels
from tests.rig import processes as processes


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a private directory for segments."""
    path = tmp_path / "segments"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def readers(channels: Implementation, directory: Path) -> Iterator[Readers]:
    """Return the table of readers ``a`` and ``b``."""
    table = channels.Readers.create(directory, ("a", "b"))
    yield table
    table.close()


@pytest.fixture
def ring(channels: Implementation, directory: Path, readers: Readers) -> Iterator[Ring]:
    """Return a ring of eight slots with its writer."""
    opened = Ring(channels, directory, readers)
    yield opened
    opened.close()


@pytest.fixture
def run_settings(
    channels: Implementation, tmp_path: Path, configs: Path
) -> Callable[..., Settings]:
    """Return what makes the guide's settings, with the run directory below ``tmp_path``."""
    implementation = f"channels.implementation='{channels.name}'"

    def make(*overrides: str) -> Settings:
        directory = f"channels.directory='{tmp_path / 'tickpipe-tests' / 'one'}'"
        return load_settings(configs / "guide.toml", [directory, implementation, *overrides])

    return make
