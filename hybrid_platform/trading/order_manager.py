"""The order manager: places approved orders and follows each until it is over (S10, S11, I3).

in: approved orders, cancels, venue reports (late, twice, out of order) · out: order rows, events and
trades in the journal, fills in the account, pending quantities in the exposure. It alone changes an
order's state. A report that it has seen before changes nothing.
"""

from __future__ import annotations

from hybrid_platform.domain.decimals import MONEY, canonical
from hybrid_platform.domain.orders import OrderStatus
from hybrid_platform.trading.accounts import Account
from hybrid_platform.trading.adapters.base import ExecutionAdapter
from hybrid_platform.trading.audit_journal import AuditJournal
from hybrid_platform.trading.order import ZERO, Fill, Order, Report
from hybrid_platform.trading.risk.engine import Approved, require_approved
from hybrid_platform.trading.risk.exposure import Exposure, Holding
from hybrid_platform.trading.states import CLOSED, IllegalTransitionError, Lifecycle, transition


class WorkingOrder:
    """The state of an order that may still receive fills."""

    __slots__ = (
        "end_report", "fill_numbers", "holding", "is_acknowledged", "is_cancel_requested", "order", "pending", "status",
    )  # fmt: skip

    def __init__(self, order: Order, holding: Holding) -> None:
        self.order = order
        self.holding = holding
        self.status = OrderStatus.INITIALIZED
        self.pending = order.qty
        """The quantity that may still be filled. Once the order has ended: executed, but not yet reported."""
        self.fill_numbers: tuple[int, ...] = ()
        """Fills seen."""
        self.is_acknowledged = False
        self.is_cancel_requested = False
        self.end_report: Report | None = None
        """The report that ended the order."""


class OrderManager:
    """Owned by the engine."""

    def __init__(self, journal: AuditJournal, account: Account, exposure: Exposure, adapter: ExecutionAdapter) -> None:
        self._journal = journal
        self._account = account
        self._exposure = exposure
        self._adapter = adapter
        self._working: dict[str, WorkingOrder] = {}
        self.open_orders = 0
        """Orders that are not closed."""
        self.orders = 0
        self.trades = 0
        self.rejects = 0
        self.ignored_reports = 0
        """Reports that were seen before, or were overtaken."""

    def place(self, approved: Approved[Order]) -> None:
        """Submit an approved order; its whole lifecycle happens now, or begins, as the adapter decides."""
        self.orders += 1
        order = require_approved(approved)
        execution = self._adapter.submit(approved, order.ts)
        if execution is None:
            self._open(order)
        else:
            self._apply_lifecycle(order, *execution)

    def cancel(self, order_id: str, reason: str, ts: int) -> bool:
        """Request a cancel; return False if the order is not open or a cancel is already requested."""
        working = self._working.get(order_id)
        if working is None or working.is_cancel_requested or working.status in CLOSED:
            return False
        working.is_cancel_requested = True
        self._transition(working, OrderStatus.PENDING_CANCEL, reason, ts)
        self._adapter.cancel(order_id, ts)
        return True

    def cancel_all(self, reason: str, ts: int) -> None:
        """Request a cancel of every open order."""
        for order_id in self._open_ids():
            self.cancel(order_id, reason, ts)

    def close(self, ts: int) -> None:
        """End the session: apply the reports that are still on their way, then cancel the open orders.

        Orders that outlive the session stay as they were last reported: only the venue can end them.
        """
        for report in self._adapter.close(ts):
            self.apply(report)
        if self._adapter.orders_outlive_session:
            return
        for order_id in self._open_ids():
            working = self._working[order_id]
            cum_qty = MONEY.subtract(working.order.qty, working.pending)
            self._end(working, Report(order_id, OrderStatus.CANCELED, "SESSION_END", ts, cum_qty=cum_qty))

    def apply(self, report: Report) -> None:
        """Apply a report; raise IllegalTransitionError if it does not fit the order's state."""
        working = self._working.get(report.order_id)
        if working is None or self._is_old(working, report):
            self.ignored_reports += 1
        elif report.fill is not None:
            self._fill(working, report, report.fill)
        elif report.status is OrderStatus.ACCEPTED:
            working.is_acknowledged = True
            self._transition(working, report.status, report.reason, report.ts)
        else:
            self._end(working, report)

    def _open(self, order: Order) -> None:
        """Begin an order's lifecycle: from now on its quantity is pending."""
        holding = self._exposure.holding(order.index, order.instrument)
        working = self._working[order.order_id] = WorkingOrder(order, holding)
        holding.add_pending(order.side, order.qty)
        self.open_orders += 1
        working.status = transition(order.order_id, working.status, OrderStatus.SUBMITTED)
        self._journal.order(order, OrderStatus.SUBMITTED)
        self._journal.event(order.order_id, OrderStatus.INITIALIZED, "RISK_APPROVED", order.ts)
        self._journal.event(order.order_id, OrderStatus.SUBMITTED, "SENT", order.ts)

    def _apply_lifecycle(self, order: Order, lifecycle: Lifecycle, fill: Fill | None) -> None:
        """Record an order that was decided in the instant in which it was judged: nothing was ever pending."""
        journal = self._journal
        journal.order(order, lifecycle[-1][0])
        journal.lifecycle(order.order_id, lifecycle, order.ts)
        if fill is not None:
            self._account.apply(journal.trade(order, fill, order.ts))
            self._exposure.holding(order.index, order.instrument).mark_changed()
            self.trades += 1

    def _open_ids(self) -> list[str]:
        return [order_id for order_id, working in self._working.items() if working.status not in CLOSED]

    def _is_old(self, working: WorkingOrder, report: Report) -> bool:
        if report.fill is not None:
            return report.fill.number in working.fill_numbers
        if report.status is OrderStatus.ACCEPTED:
            return working.is_acknowledged or working.end_report is not None
        return working.end_report is not None

    def _fill(self, working: WorkingOrder, report: Report, fill: Fill) -> None:
        order = working.order
        remaining = MONEY.subtract(working.pending, fill.qty)
        if remaining < ZERO or fill.qty <= ZERO:
            raise IllegalTransitionError(
                f"order {order.order_id}: expected a fill of at most {canonical(working.pending)}, "
                f"got {canonical(fill.qty)}"
            )
        working.is_acknowledged = True
        working.fill_numbers = (*working.fill_numbers, fill.number)
        working.holding.add_pending(order.side, fill.qty.copy_negate())
        working.pending = remaining
        end = working.end_report
        is_filled = not remaining and (end is None or end.cum_qty == order.qty)
        reason = report.reason if end is None else "LATE_FILL"
        self._transition(working, OrderStatus.FILLED if is_filled else OrderStatus.PARTIALLY_FILLED, reason, report.ts)
        self._account.apply(self._journal.trade(order, fill, report.ts))
        self.trades += 1
        if end is not None and not is_filled:
            self._transition(working, end.status, end.reason, report.ts)
        self._forget_if_over(working)

    def _end(self, working: WorkingOrder, report: Report) -> None:
        """End an order: from now on only executed quantity whose fills were not reported is pending."""
        order = working.order
        reported_qty = MONEY.subtract(order.qty, working.pending)
        unreported_qty = MONEY.subtract(report.cum_qty, reported_qty)
        if not ZERO <= unreported_qty <= working.pending:
            raise IllegalTransitionError(
                f"order {order.order_id} {report.status}: expected an executed quantity of "
                f"{canonical(reported_qty)} (reported) to {canonical(order.qty)}, got {canonical(report.cum_qty)}"
            )
        self._transition(working, report.status, report.reason, report.ts)
        working.end_report = report
        self.rejects += report.status is OrderStatus.REJECTED
        working.holding.add_pending(order.side, MONEY.subtract(unreported_qty, working.pending))
        working.pending = unreported_qty
        self._forget_if_over(working)

    def _transition(self, working: WorkingOrder, status: OrderStatus, reason: str, ts: int) -> None:
        before, order = working.status, working.order
        working.status = transition(order.order_id, before, status)
        self.open_orders -= (status in CLOSED) - (before in CLOSED)
        self._journal.event(order.order_id, status, reason, ts)
        if status is not before:
            self._journal.order(order, status)

    def _forget_if_over(self, working: WorkingOrder) -> None:
        """Drop an order without pending quantity: later reports of it can only be repetitions."""
        if not working.pending:
            del self._working[working.order.order_id]
