"""The order guard: an independent check of every order against what an operator armed, before it is sent (S14, L1).

in: orders as the engine approved them, the prices that the host process saw itself, the venue's reports · out:
approvals, rejections, and faults of an adapter's reports. The guard shares no code and no state with the risk engine
and trusts nothing that the strategy process reports: instrument, price and exposure are its own. It never waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, localcontext

import msgspec

from hybrid_platform.domain.decimals import MONEY
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.orders import OrderRecord, OrderStatus, OrderType, Side
from hybrid_platform.trading.order import Order, Report

ZERO = Decimal(0)
MAX_REASON = 200
_FILLS = frozenset({OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED})
_ENDS = frozenset({OrderStatus.REJECTED, OrderStatus.CANCELED, OrderStatus.EXPIRED})
_REPORTABLE = frozenset({OrderStatus.ACCEPTED, *_FILLS, *_ENDS})


class SentOrder:
    """One order at the venue, with what the venue has reported about it."""

    __slots__ = ("cancel_requested", "fill_numbers", "filled_qty", "final_qty", "order", "status")

    def __init__(self, order: Order) -> None:
        self.order = order
        self.status = OrderStatus.SUBMITTED
        self.filled_qty = ZERO
        """Sum of the fills reported so far."""
        self.final_qty: Decimal | None = None
        """Total executed quantity that the venue reported with the end of the order."""
        self.fill_numbers: set[int] = set()
        self.cancel_requested = False

    @property
    def is_open(self) -> bool:
        """Whether the order may still rest at the venue, judging by its reports."""
        return self.final_qty is None and self.filled_qty < self.order.qty

    @property
    def max_fill_qty(self) -> Decimal:
        """The quantity that can have been executed at most."""
        return self.order.qty if self.final_qty is None else self.final_qty


class LiveOrderGuard:
    """One account's maximum notional, and every order sent there in this session.

    Owned by live execution; prices come from the tick sender's thread, order rows from the result receiver's.
    """

    def __init__(
        self, max_notional_usd: Decimal, max_open_orders: int, usd_rates: Mapping[str, Decimal], table: InstrumentTable
    ) -> None:
        """``table``: the host process's own. ``usd_rates``: USD for one unit of a quote currency."""
        self._max_notional = max_notional_usd
        self._max_open = max_open_orders
        self._rates = usd_rates
        self._table = table
        self._prices: dict[int, Decimal] = {}
        self._net: dict[int, Decimal] = {}
        self.sent: dict[str, SentOrder] = {}
        """Every order handed to the adapter, by id."""
        self.pending: dict[str, SentOrder] = {}
        """The sent orders that may still be filled; exposure counts only these and the positions."""
        self._recorded: dict[str, OrderRecord] = {}

    def update_price(self, index: int, price: Decimal) -> None:
        """Store an instrument's last price, as ingest received it."""
        self._prices[index] = price

    def add_row(self, row: OrderRecord) -> None:
        """Store an order's row that is on its way to the database; an order without a row is not sent."""
        if row.status is OrderStatus.SUBMITTED:
            self._recorded[row.order_id] = row

    def rejection_reason(self, order: Order) -> str | None:
        """Return why an order must not be sent, or None; an error while judging is a reason too."""
        try:
            with localcontext(MONEY):
                return self._invalid_field(order) or self._row_mismatch(order) or self._exceeded_limit(order)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            return f"could not be judged: {type(error).__name__}: {error}"

    def is_reducing(self, order: Order) -> bool:
        """Return whether an order, with everything pending on its side, can only reduce the position."""
        net = self._net.get(order.index, ZERO)
        against = -net if order.side is Side.BUY else net
        return against > ZERO and self._pending_qty(order.index, order.side) + order.qty <= against

    def mark_sent(self, order: Order) -> SentOrder:
        """Count an order as being at the venue; called before it is sent."""
        sent = self.sent[order.order_id] = self.pending[order.order_id] = SentOrder(order)
        return sent

    def open_orders(self) -> list[SentOrder]:
        """Return the orders that may still be filled at the venue."""
        return [sent for sent in list(self.pending.values()) if sent.is_open]

    def apply_report(self, report: object) -> str | None:
        """Apply a venue's report; return what is wrong with it, or None. A repeated report changes nothing."""
        if not isinstance(report, Report):
            return f"expected a Report, got {type(report).__name__}"
        try:
            # A msgspec struct does not validate its arguments; converting it checks the type of every field.
            checked = msgspec.convert(msgspec.to_builtins(report, builtin_types=(Decimal,)), Report)
            sent = self.sent.get(checked.order_id)
            if sent is None:
                return f"expected an order of this session, got {checked.order_id!r:.80}"
            with localcontext(MONEY):
                fault = self._report_fault(sent, checked)
                if fault is None:
                    self._store_report(sent, checked)
                return fault
        except (msgspec.ValidationError, ArithmeticError, TypeError, ValueError) as error:
            return f"expected a valid report, got: {error}"

    def exposure_usd(self, candidate: Order | None = None) -> Decimal:
        """Return the worst-case exposure Σ |position| at the last prices, pending orders and ``candidate`` included.

        Each instrument counts with the worse of its two sides.
        """
        indices = {*self._net, *(sent.order.index for sent in list(self.pending.values()))}
        if candidate is not None:
            indices.add(candidate.index)
        return sum((self._worst_case_usd(index, candidate) for index in indices), ZERO)

    def _invalid_field(self, order: Order) -> str | None:
        if not (order.qty.is_finite() and order.qty > ZERO):
            return f"qty: expected a finite number above 0, got {order.qty}"
        limit = order.limit_price
        if (order.type is OrderType.LIMIT) is (limit is None):
            return f"limit_price: expected with LIMIT and only then, got {order.type} with {limit}"
        if limit is not None and not (limit.is_finite() and limit > ZERO):
            return f"limit_price: expected a finite number above 0, got {limit}"
        if not 0 <= order.index < len(self._table) or self._table[order.index] != order.instrument:
            return f"instrument: expected one of this session, got {order.instrument}"
        if order.index not in self._prices:
            return f"{order.instrument.symbol}: expected a price in this session, got none"
        if order.instrument.quote not in self._rates:
            return f"{order.instrument.symbol}: expected a USD rate of {order.instrument.quote}, got none"
        return None

    def _row_mismatch(self, order: Order) -> str | None:
        if order.order_id in self.sent:
            return "expected an order that was not sent before, got one that was"
        row = self._recorded.pop(order.order_id, None)
        if row is None:
            return "expected its row on the way to the database first, got none"
        price = order.reference_price if order.limit_price is None else order.limit_price
        item = order.instrument
        recorded = (row.signal_id, row.venue, row.symbol, row.side, row.type, row.qty, row.price, row.reduce_only)
        requested = (
            order.signal_id,
            item.venue,
            item.symbol,
            order.side,
            order.type,
            order.qty,
            price,
            order.reduce_only,
        )
        if recorded != requested or row.time_in_force is not order.time_in_force or row.is_shadow:
            return f"expected the order of its row {recorded}, got {requested}"
        return None

    def _exceeded_limit(self, order: Order) -> str | None:
        open_count = len(self.open_orders())
        if open_count >= self._max_open:
            return f"expected at most {self._max_open} open orders, would be {open_count + 1}"
        usd = self.exposure_usd(order)
        if usd > self._max_notional and not self.is_reducing(order):
            return f"expected at most {self._max_notional} USD at this account, would be {usd}"
        return None

    def _pending_qty(self, index: int, side: Side) -> Decimal:
        own = (sent for sent in list(self.pending.values()) if sent.order.index == index and sent.order.side is side)
        return sum((sent.max_fill_qty - sent.filled_qty for sent in own), ZERO)

    def _worst_case_usd(self, index: int, candidate: Order | None) -> Decimal:
        item, price, net = self._table[index], self._prices[index], self._net.get(index, ZERO)
        buys, sells = self._pending_qty(index, Side.BUY), self._pending_qty(index, Side.SELL)
        if candidate is not None and candidate.index == index:
            buys += candidate.qty if candidate.side is Side.BUY else ZERO
            sells += candidate.qty if candidate.side is Side.SELL else ZERO
            price = max(price, candidate.limit_price or ZERO)
        return max(abs(net + buys), abs(net - sells)) * price * item.multiplier * self._rates[item.quote]

    def _report_fault(self, sent: SentOrder, report: Report) -> str | None:
        """Return why no venue could report that about this order, or None."""
        qty, fill = sent.order.qty, report.fill
        if report.status not in _REPORTABLE:
            return f"order {report.order_id}: expected a status that a venue can report, got {report.status}"
        if not 0 < len(report.reason) <= MAX_REASON or not report.reason.isprintable():
            return (
                f"order {report.order_id}: expected a reason of 1 to {MAX_REASON} characters, got {report.reason!r:.60}"
            )
        if (fill is not None) is not (report.status in _FILLS):
            return f"order {report.order_id} {report.status}: expected a fill with a fill's status and only then"
        if fill is not None:
            numbers = (fill.qty, fill.price, fill.fees)
            finite = all(number.is_finite() for number in numbers)
            if not finite or fill.number <= 0 or fill.qty <= ZERO or fill.price <= ZERO:
                return f"order {report.order_id}: expected number, quantity and price above 0, got {fill}"
            open_qty = sent.max_fill_qty - sent.filled_qty
            if fill.number not in sent.fill_numbers and fill.qty > open_qty:
                return f"order {report.order_id}: expected at most {open_qty} more, got {fill.qty}"
        elif report.status in _ENDS and sent.final_qty is None and not sent.filled_qty <= report.cum_qty <= qty:
            return f"order {report.order_id}: expected executed from {sent.filled_qty} to {qty}, got {report.cum_qty}"
        return None

    def _store_report(self, sent: SentOrder, report: Report) -> None:
        fill, order = report.fill, sent.order
        if fill is not None and fill.number not in sent.fill_numbers:
            sent.fill_numbers.add(fill.number)
            sent.filled_qty += fill.qty
            signed = fill.qty if order.side is Side.BUY else -fill.qty
            self._net[order.index] = self._net.get(order.index, ZERO) + signed
        if report.status in _ENDS and sent.final_qty is None:
            sent.final_qty, sent.status = report.cum_qty, report.status
        elif sent.is_open and not (report.status is OrderStatus.ACCEPTED and sent.filled_qty):
            sent.status = report.status
        if sent.filled_qty == sent.max_fill_qty:
            self.pending.pop(order.order_id, None)
