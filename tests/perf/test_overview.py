"""docs/performance.md says what the stored numbers say."""

from __future__ import annotations

import json

from tests.perf.overview import PAGE, STORED, TEXTS, page


def test_the_page_is_made_of_the_stored_numbers() -> None:
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    assert stored.keys() == TEXTS.keys()
    assert PAGE.read_text(encoding="utf-8") == page(stored), (
        "write it anew: scripts/bench backtest replay orders rehearsal recording receive --publish"
    )
