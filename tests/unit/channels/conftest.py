from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.channels import NATIVE_MISSING, Implementation
from pipeline.channels import ring as reference
from pipeline.channels.readers import Readers
from pipeline.settings import Settings, load_settings
from tests.rig import Ring
from tests.rig import channels as channels
from tests.rig import processes as processes

FOREVER_NS = 3_600 * 10**9


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


@pytest.fixture
def endless_parks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no park of wait_for_rows end by itself, so that a wake-up that is missed is found."""
    monkeypatch.setattr(reference, "PARK_SLICE_NS", FOREVER_NS)
    if not NATIVE_MISSING:
        from pipeline.channels import native

        monkeypatch.setattr(native, "PARK_SLICE_NS", FOREVER_NS)
