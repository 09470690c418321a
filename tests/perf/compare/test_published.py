"""The page of docs says what the stored report says."""

from __future__ import annotations

import json

import pytest

from tests.perf.compare.__main__ import PUBLISHED
from tests.perf.compare.page import html_page, markdown_page


@pytest.mark.parametrize(("suffix", "write"), [(".md", markdown_page), (".html", html_page)])
def test_a_published_page_is_made_of_the_stored_report(suffix: str, write: object) -> None:
    stored = PUBLISHED / "modes.json"
    report = json.loads(stored.read_text(encoding="utf-8"))
    assert callable(write)
    assert stored.with_suffix(suffix).read_text(encoding="utf-8") == write(report), (
        "write it anew: python -m tests.perf.compare --pages"
    )
