"""docs/settings.md is the page that pipeline/settings.py generates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.settings import Instrument, Settings, settings_page

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
SECTIONS: dict[str, Any] = {
    name: Instrument if name == "instruments" else field.annotation
    for name, field in Settings.model_fields.items()
}
KEYS = [(name, key) for name, section in SECTIONS.items() for key in section.model_fields]


def test_the_page_is_the_generated_one() -> None:
    assert PAGE.read_text(encoding="utf-8") == settings_page(), "run scripts/settings-page"


@pytest.mark.parametrize(("section", "key"), KEYS, ids=[".".join(pair) for pair in KEYS])
def test_every_setting_has_help_and_one_row(section: str, key: str) -> None:
    heading = f"[[{section}]]" if section == "instruments" else f"[{section}]"
    part = settings_page().split(f"## `{heading}`\n")[1].split("\n## ")[0]
    rows = [line for line in part.splitlines() if line.startswith(f"| `{key}` |")]
    assert len(rows) == 1
    assert SECTIONS[section].model_fields[key].description in rows[0]


def test_a_setting_without_a_default_is_marked_required() -> None:
    row = next(line for line in settings_page().splitlines() if "| `base_sl_points` |" in line)
    assert (
        row
        == "| `base_sl_points` | number | ₹ | **required** | Stop-loss, worse than the entry by |"
    )


def test_no_row_shows_the_name_of_a_python_type() -> None:
    kinds = {
        line.replace("\\|", "/").split("|")[2].strip()
        for line in settings_page().splitlines()
        if line.startswith("| `")
    }
    plain = {kind for kind in kinds if '"' not in kind}
    assert plain <= {
        "text",
        "path",
        "number",
        "integer",
        "time",
        "table",
        "true / false",
        "false",
        "list of numbers",
        "list of integers",
    }
