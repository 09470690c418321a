"""A trade: one exit row of a position, as the results show it."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple


class Trade(NamedTuple):
    """One exit of a position. Money in ₹ (exact), prices in 1/10 000 ₹, times in epoch ns.

    A position that is closed in three parts gives three trades; its entry charges are shared
    between them by quantity, and the shares add up exactly. MAE and MFE are the worst and the
    best the position stood at, per share, from entry to this exit, times this row's quantity.
    """

    trade_id: int
    position_id: int
    symbol: str
    side: str  # of the entry: BUY or SELL
    product: str
    quantity: int
    entry_ns: int
    exit_ns: int
    entry_price_e4: int
    exit_price_e4: int
    gross_pnl: Decimal
    entry_charges: Decimal
    exit_charges: Decimal
    slippage: Decimal
    mae: Decimal
    mfe: Decimal
    exit_reason: str
    entry_seq: int
    exit_seq: int
    entry_order_id: str
    exit_order_id: str
    tick_to_signal_ns: int  # of the entry
    signal_to_order_ns: int  # of the entry

    @property
    def charges(self) -> Decimal:
        return self.entry_charges + self.exit_charges

    @property
    def net_pnl(self) -> Decimal:
        """Gross less this row's charges, its share of the entry's included."""
        return self.gross_pnl - self.charges

    @property
    def return_percent(self) -> Decimal:
        """Net as a percentage of these shares' turnover at entry."""
        return self.net_pnl * 1_000_000 / (self.quantity * self.entry_price_e4)
