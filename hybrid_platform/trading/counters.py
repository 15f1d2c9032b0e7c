"""A snapshot of what execution did, for heartbeats, logs and metrics."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from hybrid_platform.domain.commands import TradingState


class TradingCounters(msgspec.Struct, frozen=True):
    """Counts since the session began; money in USD."""

    signals: int
    """Signals that came, repeated ones included."""
    vetoes: int
    veto_reasons: dict[str, int]
    orders: int
    """Orders that risk approved."""
    trades: int
    """Fills."""
    rejects: int
    """Orders that the venue refused."""
    open_orders: int
    exposure_usd: Decimal
    """Σ |position| at the last prices, without collar and without what is pending."""
    equity_usd: Decimal
    """Starting cash and everything earned, open positions at the last prices."""
    state: TradingState
    halts: int
    """Commands that halted or reduced trading, a person's and automatic ones."""
