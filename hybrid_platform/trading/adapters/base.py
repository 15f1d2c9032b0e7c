"""The interface between the order manager and the place where approved orders are executed (I1, I2).

in: approved orders and cancels · out: an order's whole lifecycle at once, or reports that arrive later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from hybrid_platform.trading.order import Fill, Order, Report
from hybrid_platform.trading.risk.engine import Approved
from hybrid_platform.trading.states import Lifecycle

Execution = tuple[Lifecycle, Fill | None]
"""An order's whole lifecycle and its fill, if it has one."""


class ExecutionAdapter(Protocol):
    """Executes approved orders, or passes them on; implemented for SHADOW, PAPER and LIVE."""

    orders_outlive_session: ClassVar[bool]
    """Whether an order that is open when the session ends stays open, because only its venue can end it."""

    def submit(self, approved: Approved[Order], now: int) -> Execution | None:
        """Take an approved order at an instant of the session clock (ns).

        Return its whole lifecycle if it is decided at once, or None if reports follow. A report never
        arrives before this call returns. Raises NotApprovedError for an order that risk has not approved.
        """

    def cancel(self, order_id: str, now: int) -> None:
        """Request a cancel; a request that finds no open order has no effect."""

    def close(self, now: int) -> Sequence[Report]:
        """End the session; return the reports that have not arrived yet."""
