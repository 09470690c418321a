"""Settings from a TOML file: read, overridden, checked, and every mistake told at once."""

from __future__ import annotations

import difflib
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.errors import SettingsError, explain
from pipeline.settings.options import Instrument, Settings
from pipeline.settings.secrets import SECRET_NAMES, SECRETS_PREFIX

# From the table of a configuration and its source to the table with what another file adds.
Complete = Callable[[Mapping[str, Any], str], Mapping[str, Any]]

_DEFAULT_CONFIG = Path("configs/paper.toml")


def default_config() -> Path:
    """Return configs/paper.toml: here, else in the checkout, else where it was installed."""
    places = [
        _DEFAULT_CONFIG,
        Path(__file__).resolve().parents[2] / _DEFAULT_CONFIG,
        Path(sys.prefix) / "share/tickpipe" / _DEFAULT_CONFIG,
    ]
    return next((place for place in places if place.exists()), _DEFAULT_CONFIG)


def as_written(table: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """Be the ``Complete`` that adds nothing."""
    return table


def load_settings(
    path: Path, overrides: Sequence[str] = (), complete: Complete = as_written
) -> Settings:
    """Read the TOML file ``path``, apply ``overrides`` ("section.key=value") and check it all.

    ``complete`` may add to it before it is checked. Raises SettingsError that lists every mistake
    with the rule, the value and the cure.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            explain(
                f"no configuration file {path}",
                rule="--config names an existing TOML file",
                cure="start from configs/paper.toml",
            )
        ) from None
    except OSError as error:
        raise SettingsError(
            explain(
                f"{path}: {error.strerror}",
                rule="--config names a file that can be read",
                cure=f"look at it with ls -l {path}",
            )
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            explain(
                f"{path}: {error}",
                rule="a configuration is valid TOML in UTF-8",
                cure="correct the line named above",
            )
        ) from None
    for override in overrides:
        _apply_override(table, override)
    return parse_settings(complete(table, str(path)), source=str(path))


def parse_settings(table: Mapping[str, Any], source: str = "settings") -> Settings:
    """Check ``table`` (the shape of the TOML file) and return it frozen."""
    settings, mistakes = check_settings(table, source)
    if settings is None:
        cure = f"correct the lines above, then `tickpipe check-config --config {source}`"
        raise mistaken(source, mistakes, cure)
    return settings


def check_settings(table: Mapping[str, Any], source: str) -> tuple[Settings | None, list[str]]:
    """Return the settings, or None and every mistake in ``table``. Raises SettingsError for a
    secret in it."""
    _refuse_secrets(table, source)
    try:
        return Settings.model_validate(table), []
    except ValidationError as error:
        return None, [_describe(problem) for problem in error.errors(include_url=False)]


def mistaken(source: str, mistakes: Sequence[str], cure: str) -> SettingsError:
    """Return the error that lists ``mistakes``."""
    return SettingsError(
        explain(
            f"{source}: {len(mistakes)} mistake(s)\n" + "\n".join(f"  - {m}" for m in mistakes),
            rule="every key is known, present and valid (docs/settings.md)",
            cure=cure,
        )
    )


def _apply_override(table: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not equals or len(keys) < 2:
        raise SettingsError(
            explain(
                f"--set {override!r} is not understood",
                rule="--set section.key=value",
                cure="for example --set session.gates=true",
            )
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise SettingsError(
                explain(
                    f"--set {override!r}: {key} is not a section",
                    rule="--set section.key=value",
                    cure="put repeated sections in the configuration file",
                )
            )
    table[keys[-1]] = value


def _refuse_secrets(table: Mapping[str, Any], source: str) -> None:
    for name in ("feed", "orders"):
        section = table.get(name)
        found = sorted(set(SECRET_NAMES) & set(section)) if isinstance(section, Mapping) else []
        if found:
            shown = ", ".join(f"{name}.{secret}" for secret in found)
            raise SettingsError(
                explain(
                    f"{source}: {shown} is a secret (value not shown)",
                    rule="secrets never stand in a configuration file",
                    cure=f"export {SECRETS_PREFIX}{found[0].upper()}=…, "
                    "or name a 0600 secrets_file",
                )
            )


_FORMS = {"string_type": "text, in quotes", "tuple_type": "a list, as [1, 2]"}


def _describe(problem: ErrorDetails) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    kind = problem["type"]
    if kind == "extra_forbidden":
        return f"{where}: unknown key{_nearest(problem)}"
    if kind == "missing":
        return f"{where}: missing{_help_of(problem)}"
    shown = problem["input"]
    if kind == "string_pattern_mismatch":
        return f"{where}: not of the form that it has{_help_of(problem)}, got {shown!r}"
    if kind in _FORMS:
        return f"{where}: write {_FORMS[kind]}, got {shown!r}"
    message = problem["msg"].removeprefix("Value error, ")
    parts = shown if isinstance(shown, list | tuple) else [shown]
    whole_section = any(isinstance(part, Mapping | BaseModel) for part in parts)
    return f"{where}: {message}" if whole_section else f"{where}: {message}, got {shown!r}"


def _section_at(loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Return the section class that holds the key at ``loc``."""
    model: Any = Settings
    for part in loc[:-1]:
        if isinstance(part, int):
            continue
        if part == "instruments":
            model = Instrument
            continue
        field = model.model_fields.get(part)
        model = field.annotation if field else None
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return None
    return model  # type: ignore[no-any-return]


def _nearest(problem: ErrorDetails) -> str:
    section = _section_at(problem["loc"])
    names = list(section.model_fields) if section else []
    near = difflib.get_close_matches(str(problem["loc"][-1]), names, n=1, cutoff=0.5)
    if near:
        return f"; the nearest valid name is {near[0]!r}"
    return f"; valid names are {', '.join(names)}" if names else ""


def _help_of(problem: ErrorDetails) -> str:
    section = _section_at(problem["loc"])
    field = section.model_fields.get(str(problem["loc"][-1])) if section else None
    return f" ({field.description})" if field and field.description else ""
