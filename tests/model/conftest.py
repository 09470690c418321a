"""Visits of hundreds of thousands of states, of which none is forgotten before the end."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """Keep the garbage collector from looking at them again and again: there are no cycles."""
    gc.disable()
    yield
    gc.enable()
