"""The order desk: places what risk approved, and keeps every order until it is over (S10, S11, I3).

in: approved orders, cancels, venue reports (late, twice, out of order) · out: order rows, events and
trades in the journal, fills in the account, pending quantities in the exposure. It is the only owner
of an order's state. A report that was here before changes nothing.
"""

from __future__ import annotations

from hybrid_platform.domain.exact import MONEY, canonical
from hybrid_platform.domain.orders import OrderStatus
from hybrid_platform.trading.accounts import Account
from hybrid_platform.trading.adapters.live import Outbox
from hybrid_platform.trading.adapters.paper.venue import PaperVenue
from hybrid_platform.trading.adapters.shadow import ShadowAdapter
from hybrid_platform.trading.audit_journal import AuditJournal
from hybrid_platform.trading.order import ZERO, Fill, Order, Report
from hybrid_platform.trading.risk.engine import Approved
from hybrid_platform.trading.risk.exposure import Exposure, Holding
from hybrid_platform.trading.states import CLOSED, IllegalTransitionError, Lifecycle, transition


class WorkingOrder:
    """One order's life so far."""

    __slots__ = ("ended", "holding", "is_acknowledged", "is_cancel_asked", "numbers", "order", "pending", "status")

    def __init__(self, order: Order, holding: Holding) -> None:
        self.order = order
        self.holding = holding
        self.status = OrderStatus.INITIALIZED
        self.pending = order.qty
        """What may still be filled: the rest, or, once it ended, what the venue executed and has not yet told."""
        self.numbers: tuple[int, ...] = ()
        """Fills seen."""
        self.is_acknowledged = False
        self.is_cancel_asked = False
        self.ended: Report | None = None
        """The report that ended it."""


class OrderManager:
    """Owned by the engine."""

    def __init__(
        self, journal: AuditJournal, account: Account, exposure: Exposure, adapter: ShadowAdapter | PaperVenue | Outbox
    ) -> None:
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
        """Reports that were here before, or overtaken."""

    def place(self, approved: Approved[Order]) -> None:
        """Send an approved order: in SHADOW its whole life happens now, in PAPER and LIVE it begins."""
        self.orders += 1
        if isinstance(self._adapter, ShadowAdapter):
            self._live_at_once(approved.item, *self._adapter.execute(approved))
        else:
            self._open(approved.item)
            self._adapter.submit(approved, approved.item.ts)

    def cancel(self, order_id: str, reason: str, ts: int) -> bool:
        """Ask the venue to cancel; return False where the order is not open, or a cancel is under way."""
        working = self._working.get(order_id)
        if working is None or working.is_cancel_asked or working.status in CLOSED:
            return False
        working.is_cancel_asked = True
        self._go(working, OrderStatus.PENDING_CANCEL, reason, ts)
        if not isinstance(self._adapter, ShadowAdapter):
            self._adapter.cancel(order_id, ts)
        return True

    def cancel_all(self, reason: str, ts: int) -> None:
        """Ask the venue to cancel every open order."""
        for order_id in self._open_ids():
            self.cancel(order_id, reason, ts)

    def close(self, ts: int) -> None:
        """End the session: what the venue has executed is told, what is still open is CANCELED.

        What is still open at a live venue stays as it was told: only the venue can end it.
        """
        if isinstance(self._adapter, Outbox):
            return
        for report in self._adapter.close(ts) if isinstance(self._adapter, PaperVenue) else ():
            self.apply(report)
        for order_id in self._open_ids():
            working = self._working[order_id]
            executed = MONEY.subtract(working.order.qty, working.pending)
            self._end(working, Report(order_id, OrderStatus.CANCELED, "SESSION_END", ts, cum_qty=executed))

    def apply(self, report: Report) -> None:
        """Take a report; raise IllegalTransitionError where no order could have it."""
        working = self._working.get(report.order_id)
        if working is None or self._is_old(working, report):
            self.ignored_reports += 1
        elif report.fill is not None:
            self._fill(working, report, report.fill)
        elif report.status is OrderStatus.ACCEPTED:
            working.is_acknowledged = True
            self._go(working, report.status, report.reason, report.ts)
        else:
            self._end(working, report)

    def _open(self, order: Order) -> None:
        """Begin an order's life: it is pending from now on."""
        holding = self._exposure.holding(order.index, order.instrument)
        working = self._working[order.order_id] = WorkingOrder(order, holding)
        holding.pend(order.side, order.qty)
        self.open_orders += 1
        working.status = transition(order.order_id, working.status, OrderStatus.SUBMITTED)
        self._journal.order(order, OrderStatus.SUBMITTED)
        self._journal.event(order.order_id, OrderStatus.INITIALIZED, "RISK_APPROVED", order.ts)
        self._journal.event(order.order_id, OrderStatus.SUBMITTED, "SENT", order.ts)

    def _live_at_once(self, order: Order, whole: Lifecycle, fill: Fill | None) -> None:
        """Live an order's whole life in the instant in which it was judged: nothing was ever pending."""
        journal = self._journal
        journal.order(order, whole[-1][0])
        journal.life(order.order_id, whole, order.ts)
        if fill is not None:
            self._account.apply(journal.trade(order, fill, order.ts))
            self._exposure.holding(order.index, order.instrument).moved()
            self.trades += 1

    def _open_ids(self) -> list[str]:
        return [order_id for order_id, working in self._working.items() if working.status not in CLOSED]

    def _is_old(self, working: WorkingOrder, report: Report) -> bool:
        if report.fill is not None:
            return report.fill.number in working.numbers
        if report.status is OrderStatus.ACCEPTED:
            return working.is_acknowledged or working.ended is not None
        return working.ended is not None

    def _fill(self, working: WorkingOrder, report: Report, fill: Fill) -> None:
        order = working.order
        left = MONEY.subtract(working.pending, fill.qty)
        if left < ZERO or fill.qty <= ZERO:
            raise IllegalTransitionError(
                f"order {order.order_id}: expected a fill of at most {canonical(working.pending)}, "
                f"got {canonical(fill.qty)}"
            )
        working.is_acknowledged = True
        working.numbers = (*working.numbers, fill.number)
        working.holding.pend(order.side, fill.qty.copy_negate())
        working.pending = left
        ended = working.ended
        is_whole = not left and (ended is None or ended.cum_qty == order.qty)
        reason = report.reason if ended is None else "LATE_FILL"
        self._go(working, OrderStatus.FILLED if is_whole else OrderStatus.PARTIALLY_FILLED, reason, report.ts)
        self._account.apply(self._journal.trade(order, fill, report.ts))
        self.trades += 1
        if ended is not None and not is_whole:
            self._go(working, ended.status, ended.reason, report.ts)
        self._forget_if_over(working)

    def _end(self, working: WorkingOrder, report: Report) -> None:
        """The venue ended the order: what it never executed is pending no longer, what it did is until told."""
        order = working.order
        untold = MONEY.subtract(report.cum_qty, MONEY.subtract(order.qty, working.pending))
        if not ZERO <= untold <= working.pending:
            raise IllegalTransitionError(
                f"order {order.order_id} {report.status}: expected executed between what was told and "
                f"{canonical(order.qty)}, got {canonical(report.cum_qty)}"
            )
        self._go(working, report.status, report.reason, report.ts)
        working.ended = report
        self.rejects += report.status is OrderStatus.REJECTED
        working.holding.pend(order.side, MONEY.subtract(untold, working.pending))
        working.pending = untold
        self._forget_if_over(working)

    def _go(self, working: WorkingOrder, status: OrderStatus, reason: str, ts: int) -> None:
        before, order = working.status, working.order
        working.status = transition(order.order_id, before, status)
        self.open_orders -= (status in CLOSED) - (before in CLOSED)
        self._journal.event(order.order_id, status, reason, ts)
        if status is not before:
            self._journal.order(order, status)

    def _forget_if_over(self, working: WorkingOrder) -> None:
        """Nothing more can be told of an order without pending quantity: later reports are repetitions."""
        if not working.pending:
            del self._working[working.order.order_id]
