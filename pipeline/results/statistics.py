"""From trades to figures, each with its formula; n/a, with the reason, where it would say nothing.

A trade is one exit row: a position that was closed in three parts counts three times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from pipeline.results.trades import Trade

PAISA = Decimal("0.01")
_MINUTE_NS = 60 * 1_000_000_000
_NOTHING = Decimal(0)


class Figure(NamedTuple):
    """One figure as people read it."""

    name: str
    value: str
    formula: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures of a run, unrounded; money in ₹. None = the sample cannot give it."""

    positions: int
    trades: int
    wins: int  # net > 0
    losses: int  # net < 0
    initial_capital: Decimal
    gross_pnl: Decimal
    charges: Decimal
    net_pnl: Decimal
    sum_of_wins: Decimal
    sum_of_losses: Decimal  # <= 0
    max_drawdown: Decimal  # <= 0
    max_drawdown_part: Decimal  # of the highest equity before it, <= 0
    best: Decimal | None
    worst: Decimal | None
    duration_minutes: Decimal | None

    @property
    def win_rate(self) -> Decimal | None:
        return Decimal(self.wins) / self.trades if self.trades else None

    @property
    def profit_factor(self) -> Decimal | None:
        return self.sum_of_wins / -self.sum_of_losses if self.losses else None

    @property
    def expectancy(self) -> Decimal | None:
        """Share of wins × average win − share of losses × average loss: ₹ a trade."""
        return (self.sum_of_wins + self.sum_of_losses) / self.trades if self.trades else None

    def figures(self) -> list[Figure]:
        """Return every figure with its formula, rounded half up."""
        no_trade = "n/a (needs a trade)"
        no_loss = "n/a (needs a losing trade)"
        drawdown = "min(equity − highest equity before), start included, after each trade"
        return [
            Figure("Positions", str(self.positions), "distinct position_id"),
            Figure("Trades", str(self.trades), "exit rows"),
            Figure("Winning Trades", str(self.wins), "net > 0"),
            Figure("Losing Trades", str(self.losses), "net < 0"),
            Figure("Win Rate %", _percent(self.win_rate, no_trade), "winning trades / trades"),
            Figure(
                "Gross P&L",
                money(self.gross_pnl),
                "Σ (sale − purchase) × quantity",
            ),
            Figure("Charges", money(self.charges), "Σ (entry charges + exit charges)"),
            Figure("Net P&L", money(self.net_pnl), "gross − charges"),
            Figure("Final Cash", money(self.initial_capital + self.net_pnl), "initial + Σ net"),
            Figure("Profit Factor", _rounded(self.profit_factor, no_loss), "Σ wins / |Σ losses|"),
            Figure(
                "Expectancy",
                _rounded(self.expectancy, no_trade),
                "wins/trades × average win − losses/trades × |average loss|",
            ),
            Figure("Max Drawdown", money(self.max_drawdown), drawdown),
            Figure(
                "Max Drawdown %",
                _percent(self.max_drawdown_part, no_trade),
                "min(equity / highest equity before − 1), start included, after each trade",
            ),
            Figure("Best Trade", _rounded(self.best, no_trade), "max net"),
            Figure("Worst Trade", _rounded(self.worst, no_trade), "min net"),
            Figure(
                "Average Duration (min)",
                _rounded(self.duration_minutes, no_trade),
                "Σ (exit time − entry time) / trades",
            ),
        ]


def summarise(trades: Sequence[Trade], initial_capital: Decimal) -> Summary:
    """Return the summary of ``trades``, oldest first."""
    nets = [trade.net_pnl for trade in trades]
    drawdown, drawdown_part = _drawdowns(nets, initial_capital)
    duration_ns = sum(trade.exit_ns - trade.entry_ns for trade in trades)
    return Summary(
        positions=len({trade.position_id for trade in trades}),
        trades=len(trades),
        wins=sum(net > 0 for net in nets),
        losses=sum(net < 0 for net in nets),
        initial_capital=initial_capital,
        gross_pnl=sum((trade.gross_pnl for trade in trades), _NOTHING),
        charges=sum((trade.charges for trade in trades), _NOTHING),
        net_pnl=sum(nets, _NOTHING),
        sum_of_wins=sum((net for net in nets if net > 0), _NOTHING),
        sum_of_losses=sum((net for net in nets if net < 0), _NOTHING),
        max_drawdown=drawdown,
        max_drawdown_part=drawdown_part,
        best=max(nets, default=None),
        worst=min(nets, default=None),
        duration_minutes=Decimal(duration_ns) / _MINUTE_NS / len(trades) if trades else None,
    )


def money(amount: Decimal) -> str:
    """Return ``amount`` rounded half up to the paisa."""
    return str(amount.quantize(PAISA, ROUND_HALF_UP))


def _drawdowns(nets: Sequence[Decimal], initial_capital: Decimal) -> tuple[Decimal, Decimal]:
    """Return the deepest fall below the highest equity so far, in ₹ and as a part of it."""
    falls = list(_falls(nets, initial_capital))
    return (
        min((equity - peak for equity, peak in falls), default=_NOTHING),
        min((equity / peak - 1 for equity, peak in falls), default=_NOTHING),
    )


def _falls(nets: Sequence[Decimal], initial_capital: Decimal) -> Iterator[tuple[Decimal, Decimal]]:
    equity = peak = initial_capital
    for net in nets:
        equity += net
        peak = max(peak, equity)
        yield equity, peak


def _rounded(value: Decimal | None, absent: str) -> str:
    return absent if value is None else money(value)


def _percent(part: Decimal | None, absent: str) -> str:
    return absent if part is None else money(part * 100)
