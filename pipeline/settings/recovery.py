"""The options of [paper] and [recovery]: what paper orders go through, and what is asked when."""

from __future__ import annotations

from typing import Literal

from pipeline.settings.kinds import Number, Section, Whole, option


class PaperSettings(Section):
    """What paper orders go through. The same orders and prices always give the same fills."""

    fill_at: Literal["last", "touch"] = option(
        "Price of a fill before slippage: the last price; or the best ask when buying and the best "
        "bid when selling, where the ticks have them",
        default="last",
    )
    latency_ms: Number = option(
        "Time from sending an order to its fill, and between its parts", unit="ms", default=0, ge=0
    )
    parts_max: Whole = option("An order fills in up to this many parts", default=1, ge=1, le=10)
    reject_percent: Number = option(
        "Part of the orders that are refused", unit="%", default=0, ge=0, le=100
    )
    seed: Whole = option("Chooses which are refused, and the parts", default=1, ge=0)


class RecoverySettings(Section):
    """How risk finds out what became of orders, and comes back after a crash."""

    reconcile_seconds: Number = option(
        "Compare the ledger with the broker's book this often", unit="s", default=60, gt=0
    )
    ask_seconds: Number = option(
        "Ask for the book this often while something is not known", unit="s", default=1, gt=0
    )
    lost_seconds_min: Number = option(
        "An order without an answer that the broker's books do not have never arrived, but not "
        "before this",
        unit="s",
        default=10,
        gt=0,
    )
    lost_books_min: Whole = option(
        "and not before so many books in a row do not have it", default=3, ge=1
    )
    restarts_max: Whole = option(
        "Start risk again this often when it dies within a run", default=3, ge=0
    )
    orphan_seconds_max: Number | None = option(
        "With the strategy dead for this long, close every position; unset means that risk guards "
        "it by its rules",
        unit="s",
        default=None,
        ge=0,
    )
