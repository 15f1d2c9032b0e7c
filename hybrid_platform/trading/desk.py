"""The order desk: every order that is not over yet, and what each report makes of it (S10, S11, I3).

in: approved orders, venue reports (late, twice, out of order) · out: order events and trades in the
journal, fills in the account, pending quantities in the exposure. It is the only owner of an
order's state. A report that was here before changes nothing.
"""

from __future__ import annotations

from decimal import Decimal

from hybrid_platform.domain.exact import MONEY, canonical
from hybrid_platform.domain.orders import OrderStatus
from hybrid_platform.trading.accounts import Account
from hybrid_platform.trading.exposure import Exposure, Holding
from hybrid_platform.trading.journal import Journal
from hybrid_platform.trading.order import ZERO, Fill, Order, Report
from hybrid_platform.trading.states import CLOSED, IllegalTransition, Life, transition

APPROVED, SENT, CANCEL_ASKED, LATE_FILL = "RISK_APPROVED", "SENT_TO_VENUE", "CANCEL_REQUESTED", "LATE_FILL"


class WorkingOrder:
    """One order's life so far."""

    __slots__ = ("acknowledged", "ended", "holding", "numbers", "order", "pending", "status")

    def __init__(self, order: Order, holding: Holding) -> None:
        self.order = order
        self.holding = holding
        self.status = OrderStatus.INITIALIZED
        self.pending = order.qty
        """What may still be filled: the rest, or, once it ended, what the venue executed and has not yet told."""
        self.numbers: tuple[int, ...] = ()
        """Fills seen."""
        self.acknowledged = False
        self.ended: Report | None = None
        """The report that canceled or expired the rest."""


class OrderDesk:
    """Owned by the engine."""

    def __init__(self, journal: Journal, account: Account, exposure: Exposure) -> None:
        self._journal = journal
        self._account = account
        self._exposure = exposure
        self._working: dict[str, WorkingOrder] = {}
        self.open_orders = 0
        """Orders that are not closed."""
        self.orders = 0
        self.trades = 0
        self.rejects = 0
        self.ignored_reports = 0
        """Reports that were here before, or overtaken."""

    def open(self, order: Order) -> None:
        """Begin an approved order's life: it is pending from now on."""
        holding = self._exposure.holding(order.index, order.instrument)
        working = self._working[order.order_id] = WorkingOrder(order, holding)
        holding.pend(order.side, order.qty)
        self.orders += 1
        self.open_orders += 1
        self._journal.event(order.order_id, OrderStatus.INITIALIZED, APPROVED, order.ts)
        self._go(working, OrderStatus.SUBMITTED, SENT, order.ts)

    def execute_at_once(self, order: Order, whole: Life, fill: Fill | None) -> None:
        """Live an approved order's whole life in the instant in which it was judged, as the shadow model does."""
        journal = self._journal
        journal.order(order, whole[-1][0])
        for status, reason in whole:
            journal.event(order.order_id, status, reason, order.ts)
        if fill is not None:
            self._account.apply(journal.trade(order, fill, order.ts))
            self._exposure.holding(order.index, order.instrument).moved()
            self.trades += 1
        self.orders += 1

    def status(self, order_id: str) -> OrderStatus | None:
        """Return the state of an order that is not over yet; None for all others."""
        working = self._working.get(order_id)
        return working.status if working else None

    def apply(self, report: Report) -> None:
        """Take a report; raise IllegalTransition where no order could have it."""
        working = self._working.get(report.order_id)
        if working is None or self._is_old(working, report):
            self.ignored_reports += 1
        elif report.fill is not None:
            self._fill(working, report, report.fill)
        elif report.status is OrderStatus.ACCEPTED:
            working.acknowledged = True
            self._go(working, report.status, report.reason, report.ts)
        else:
            self._end(working, report)

    def _is_old(self, working: WorkingOrder, report: Report) -> bool:
        if report.fill is not None:
            return report.fill.number in working.numbers
        if report.status is OrderStatus.ACCEPTED:
            return working.acknowledged or working.ended is not None
        return working.ended is not None

    def _fill(self, working: WorkingOrder, report: Report, fill: Fill) -> None:
        order = working.order
        left = MONEY.subtract(working.pending, fill.qty)
        if left < ZERO or fill.qty <= ZERO:
            raise IllegalTransition(
                f"order {order.order_id}: expected a fill of at most {canonical(working.pending)}, "
                f"was {canonical(fill.qty)}"
            )
        working.acknowledged = True
        working.numbers = (*working.numbers, fill.number)
        working.holding.pend(order.side, fill.qty.copy_negate())
        working.pending = left
        ended = working.ended
        whole = not left and (ended is None or ended.executed == order.qty)
        reason = report.reason if ended is None else LATE_FILL
        self._go(working, OrderStatus.FILLED if whole else OrderStatus.PARTIALLY_FILLED, reason, report.ts)
        self._account.apply(self._journal.trade(order, fill, report.ts))
        self.trades += 1
        if ended is not None and not whole:
            self._go(working, ended.status, ended.reason, report.ts)
        self._forget_if_over(working)

    def _end(self, working: WorkingOrder, report: Report) -> None:
        """The venue ended the order: what it never executed is pending no longer, what it did is until told."""
        order = working.order
        unseen = MONEY.subtract(report.executed, MONEY.subtract(order.qty, working.pending))
        if not ZERO <= unseen <= working.pending:
            raise IllegalTransition(
                f"order {order.order_id} {report.status}: expected executed between what was seen and "
                f"{canonical(order.qty)}, was {canonical(report.executed)}"
            )
        self._go(working, report.status, report.reason, report.ts)
        working.ended = report
        self.rejects += report.status is OrderStatus.REJECTED
        working.holding.pend(order.side, MONEY.subtract(unseen, working.pending))
        working.pending = unseen
        self._forget_if_over(working)

    def _go(self, working: WorkingOrder, status: OrderStatus, reason: str, ts: int) -> None:
        before, order_id = working.status, working.order.order_id
        working.status = transition(order_id, before, status)
        self.open_orders -= (status in CLOSED) - (before in CLOSED)
        self._journal.event(order_id, status, reason, ts)

    def _forget_if_over(self, working: WorkingOrder) -> None:
        """Nothing more can be told of an order without pending quantity: later reports are repetitions."""
        if not working.pending:
            del self._working[working.order.order_id]
