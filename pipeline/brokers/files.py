"""Reads the instrument dump that a configuration names, and completes [[instruments]] by it."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pipeline.brokers.instruments import Dump, fill
from pipeline.brokers.kite.instruments import KiteDump
from pipeline.brokers.smartapi.instruments import SmartApiDump
from pipeline.errors import SettingsError, explain
from pipeline.records import IST
from pipeline.settings import mistaken

JSON_STARTS = b"["


def complete_instruments(
    table: Mapping[str, Any],
    source: str,
    *,
    day: date | None,
    report: Callable[[str], None] = lambda note: None,
) -> Mapping[str, Any]:
    """Return the configuration ``table`` with its instruments as feed.instruments_file has them.

    A contract that expired before ``day`` is refused; None, a recorded day and the simulator look
    at no expiry. What was taken goes to ``report``. Raises SettingsError.
    """
    feed, rows = table.get("feed"), table.get("instruments")
    if not isinstance(feed, Mapping) or not isinstance(feed.get("instruments_file"), str | Path):
        return table
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        return table  # refused with everything else that is wrong in the file
    path = Path(feed["instruments_file"])
    dump = read_dump(path)
    if feed.get("broker") in ("kite", "smartapi") and feed["broker"] != dump.broker:
        raise _refusal(
            path, f"it is a dump of {dump.broker}", f"name the one of {feed['broker']}, feed.broker"
        )
    if feed.get("broker") == "recorded" or feed.get("credentials") == "simulator":
        day = None
    filled = fill(rows, dump, day)
    if filled.mistakes:
        cure = f"correct these, or get today's dump: {path} may be an old one"
        raise mistaken(source, [f"{mistake} ({path})" for mistake in filled.mistakes], cure)
    for note in filled.notes:
        report(f"{note} (from {path})")
    return {**table, "instruments": filled.rows}


def complete_live(table: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """Be the ``Complete`` of a run that trades today."""
    return complete_instruments(table, source, day=datetime.now(IST).date())


def read_dump(path: Path) -> Dump:
    """Return the dump in ``path``, plain or .gz. Raises SettingsError with file and place."""
    try:
        data = path.read_bytes()
        text = gzip.decompress(data) if path.suffix == ".gz" else data
        if text.lstrip().startswith(JSON_STARTS):
            return SmartApiDump(text.decode("utf-8-sig"))
        return KiteDump(io.StringIO(text.decode("utf-8-sig"), newline=""))
    except OSError as error:  # gzip.BadGzipFile is one, without strerror
        raise _refusal(path, error.strerror or str(error), "get it from the broker") from None
    except (EOFError, zlib.error) as error:
        raise _refusal(path, f"the .gz is broken or cut short: {error}", "get it again") from None
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ones
        raise _refusal(path, f"{error}", "get it from the broker again") from None


def _refusal(path: Path, what: str, cure: str) -> SettingsError:
    return SettingsError(
        explain(
            f"feed.instruments_file = {str(path)!r}: {what}",
            rule="it is the broker's own instrument dump: Kite's CSV or SmartAPI's JSON, plain or "
            ".gz",
            cure=cure,
        )
    )
