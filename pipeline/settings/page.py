"""docs/settings.md, generated from the options."""

from __future__ import annotations

from datetime import time
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline.settings.options import Instrument, Settings


def settings_page() -> str:
    """Return docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Generated from `pipeline/settings/` by `scripts/settings-page`; do not edit.",
        "A setting without a default must stand in the file. Override one for a run with",
        "`--set section.key=value`.",
        "",
    ]
    for name, field in Settings.model_fields.items():
        section: Any = Instrument if name == "instruments" else field.annotation
        heading = f"[[{name}]]" if name == "instruments" else f"[{name}]"
        lines += [f"## `{heading}`", "", (section.__doc__ or "").strip(), ""]
        lines += ["| key | type | unit | default | meaning |", "|---|---|---|---|---|"]
        lines += [_settings_row(key, spec) for key, spec in section.model_fields.items()]
        lines.append("")
    return "\n".join(lines)


def _settings_row(key: str, spec: Any) -> str:
    extra = spec.json_schema_extra or {}
    default = "**required**" if spec.is_required() else f"`{_toml(spec.default)}`"
    kind = _type_name(spec.annotation)
    return f"| `{key}` | {kind} | {extra.get('unit', '')} | {default} | {spec.description} |"


def _toml(value: object) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return f'"{value}"' if isinstance(value, str | Path | time) else str(value)


def _type_name(annotation: Any) -> str:
    text = str(annotation).replace("typing.Annotated[", "")
    if "Literal" in str(annotation):
        return " \\| ".join(_toml(v) for v in annotation.__args__)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " \\| ".join(f'"{member.value}"' for member in annotation)
    for needle, name in (
        ("tuple[int", "list of integers"),
        ("tuple", "list of numbers"),
        ("dict", "table"),
        ("Path", "path"),
        ("Decimal", "number"),
        ("bool", "true \\| false"),
        ("time", "time"),
        ("float", "number"),
        ("int", "integer"),
        ("str", "text"),
    ):
        if needle in text:
            return name
    return text
