"""The interface of a live execution adapter; none ships (S14, L1).

An installed package offers one as entry point in the group ``hybrid_platform.live_adapters``: a class that
the LIVE gate makes, with account and maximum notional, once every condition holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from hybrid_platform.trading.order import Order, Report
from hybrid_platform.trading.risk import Approved


class LiveAdapter(Protocol):
    """A way to a real venue. It is given approved orders only, and says what became of them."""

    def __init__(self, account: str, max_notional_usd: Decimal) -> None:
        """Be made for one account; open no connection yet."""

    def submit(self, approved: Approved[Order], now: int) -> None:
        """Send an order; ``now`` is the session clock."""

    def cancel(self, order_id: str, now: int) -> None:
        """Ask for a cancel."""

    def reports(self) -> Sequence[Report]:
        """Return what the venue has said since the last call."""

    def close(self, now: int) -> Sequence[Report]:
        """End the connection; return the last reports."""


METHODS = ("submit", "cancel", "reports", "close")
