"""The options of [risk]: position rules, limits, charges.

The rules without a default are the guide's. Every other one is off until it is asked for.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, Self

from pydantic import model_validator

from pipeline.records import WhenLapped
from pipeline.settings.kinds import Exact, Number, Price, Section, Switch, Whole, option


class RiskSettings(Section):
    """Position rules, limits and charges, in the guide's words where it has them."""

    max_positions_per_day: Whole = option("Entries allowed in a day", ge=1)
    base_sl_points: Price = option("Stop-loss, worse than the entry by", unit="₹", gt=0)
    tp_points: tuple[Price, ...] = option("Profit targets, better than the entry by", unit="₹")
    tp_percents: tuple[Exact, ...] = option(
        "Part of the initial lots closed at each target; the last target closes the rest",
        unit="of 1",
    )
    use_trail_stop: Switch = option("Arm a trailing stop")
    trail_activation_points: Price = option("Gain that arms it", unit="₹", ge=0)
    trail_distance_points: Price = option("Its distance from the best price", unit="₹", gt=0)
    charges: Literal["guide", "zerodha"] = option(
        "guide: the five percentages below, unrounded. zerodha: that broker's brokerage with the "
        "taxes and exchange charges of the day, from the dated data; the five are not looked at",
        default="guide",
    )
    commission_percent: Exact = option("Brokerage, part of turnover", unit="%", ge=0)
    commission_per_trade: Exact = option("Brokerage, at least", unit="₹ an order", ge=0)
    stt_percent: Exact = option("Securities transaction tax, sells only", unit="%", ge=0)
    exchange_charges_percent: Exact = option("Exchange charges, part of turnover", unit="%", ge=0)
    gst_percent: Exact = option("GST on brokerage + exchange charges", unit="%", ge=0)
    slippage_points: Price = option(
        "Paper fills are worse than the last price by this", unit="₹", ge=0
    )
    entry_price_max: Price = option("Refuse entries above", unit="₹", default=Decimal(10_000), gt=0)
    allow_short: Switch = option("SELL opens a short position; else it is refused", default=False)
    order_type: Literal["market", "limit"] = option(
        "market leaves the price to the market; limit fills at most `risk.collar_points` worse "
        "than the last price, rounded to the tick away from it",
        default="market",
    )
    collar_points: Price | None = option(
        "Refuse an entry whose price is farther from the last one than this; unset = any",
        unit="₹",
        default=None,
        gt=0,
    )
    breakeven_gain_points: Price | None = option(
        "Gain after which the stop goes to the entry price; unset = never",
        unit="₹",
        default=None,
        gt=0,
    )
    breakeven_stop_points: Price = option(
        "Better than the entry price by this, there", unit="₹", default=Decimal(0), ge=0
    )
    time_limit_minutes: Whole | None = option(
        "Close a position that is this old; unset = any age", unit="min", default=None, ge=1
    )
    open_positions_max: Whole | None = option(
        "Positions held at once; unset = one in each instrument", default=None, ge=1
    )
    position_value_max: Price | None = option(
        "Entries have no more lots than are worth this; unset = what the cash pays",
        unit="₹",
        default=None,
        gt=0,
    )
    order_value_max: Price | None = option(
        "Refuse an entry with an order worth more; unset = any", unit="₹", default=None, gt=0
    )
    orders_per_second_max: Whole | None = option(
        "Orders in any second, exits included; unset = any", default=None, ge=1
    )
    orders_per_minute_max: Whole | None = option(
        "Orders in any minute, exits included; unset = any", default=None, ge=1
    )
    orders_per_day_max: Whole | None = option(
        "Orders in a day, exits included; unset = any", default=None, ge=1
    )
    orders_reserved_for_exits: Whole = option(
        "Of each of these, so many are not for entries; exits are sent in any case",
        default=0,
        ge=0,
    )
    daily_loss_max: Price | None = option(
        "A loss in a day, realised and open, that closes everything and halts; unset = any",
        unit="₹",
        default=None,
        gt=0,
    )
    drawdown_max: Price | None = option(
        "A fall below the highest equity that closes everything and halts; unset = any",
        unit="₹",
        default=None,
        gt=0,
    )
    exit_retry_seconds: Number = option(
        "An exit that the broker refused is asked for again after this, then twice this, up to 30 "
        "times this, until one is filled; a person's flatten does not wait",
        unit="s",
        default=1.0,
        ge=0,
    )
    limit_order_seconds_max: Number = option(
        'With `risk.order_type` = "limit": cancel an order that is not filled after this; an exit '
        "is then decided again at the price of then",
        unit="s",
        default=5.0,
        gt=0,
    )
    cool_down_stops: Whole | None = option(
        "Stop-losses in a row after which entries pause; unset = never", default=None, ge=1
    )
    cool_down_minutes: Whole | None = option("How long they pause", unit="min", default=None, ge=1)
    tick_age_ms_max: Whole | None = option(
        "Refuse entries in an instrument whose last tick is older; unset = any age",
        unit="ms",
        default=None,
        ge=1,
    )
    when_lapped: WhenLapped = option(
        "If risk is so late that the feed overwrote ticks it had not read: raise closes every "
        "position and ends, latest goes on with the newest tick, oldest with the oldest there is",
        default=WhenLapped.RAISE,
    )
    signal_ttl_ms: Whole = option(
        "Refuse a signal whose tick is older than this", unit="ms", default=1_000, ge=1
    )
    dead_feed_seconds_max: Number = option(
        "With the feed dead for this long and no other one started, close every position and end "
        "(stale_feed)",
        unit="s",
        default=10.0,
        gt=0,
    )
    silent_feed_seconds_max: Number = option(
        "With no tick for this long, close every position (stale_feed)",
        unit="s",
        default=60.0,
        gt=0,
    )

    @property
    def needs_clock(self) -> bool:
        """Whether a rule that is on asks for the exchange's time of a tick."""
        rules = (
            self.time_limit_minutes,
            self.cool_down_stops,
            self.orders_per_second_max,
            self.orders_per_minute_max,
            self.orders_per_day_max,
        )
        return any(rule is not None for rule in rules)

    @model_validator(mode="after")
    def _targets_match(self) -> Self:
        points, parts = self.tp_points, self.tp_percents
        if len(points) != len(parts):
            raise ValueError(f"tp_points has {len(points)} values, tp_percents has {len(parts)}")
        if list(points) != sorted(set(points)) or any(p <= 0 for p in points):
            raise ValueError(f"tp_points must rise from above 0, got {[str(p) for p in points]}")
        if any(p <= 0 for p in parts) or (parts and sum(parts) > 1):
            raise ValueError(
                f"tp_percents must each be above 0 and at most 1 together, "
                f"got {[str(p) for p in parts]}"
            )
        return self

    @model_validator(mode="after")
    def _breakeven_is_below_its_gain(self) -> Self:
        gain, stop = self.breakeven_gain_points, self.breakeven_stop_points
        if gain is not None and stop >= gain:
            raise ValueError(
                f"breakeven_stop_points {stop} is not below breakeven_gain_points {gain}"
            )
        return self

    @model_validator(mode="after")
    def _pairs_are_whole(self) -> Self:
        if self.order_type == "limit" and self.collar_points is None:
            raise ValueError('order_type = "limit" needs collar_points')
        if (self.cool_down_stops is None) != (self.cool_down_minutes is None):
            raise ValueError("cool_down_stops and cool_down_minutes need each other")
        return self

    @model_validator(mode="after")
    def _entries_have_orders_left(self) -> Self:
        reserved = self.orders_reserved_for_exits
        for name in ("orders_per_second_max", "orders_per_minute_max", "orders_per_day_max"):
            most = getattr(self, name)
            if most is not None and reserved >= most:
                raise ValueError(
                    f"orders_reserved_for_exits {reserved} leaves no order of {name} {most}"
                )
        return self
