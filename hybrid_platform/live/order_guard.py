"""The second judge: holds what comes out of the guarded process against what an operator armed (S14, L1).

in: orders as the engine approved them, the prices that the op's process saw itself, the venue's reports · out:
approvals, refusals, and faults of an adapter's reports. It shares no code and no state with the risk engine, and
believes nothing of the guarded process: instrument, price and exposure are its own. It never waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, localcontext

import msgspec

from hybrid_platform.domain.exact import MONEY
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.orders import OrderRecord, OrderStatus, OrderType, Side
from hybrid_platform.trading.order import Order, Report

ZERO = Decimal(0)
MAX_REASON = 200
_FILLS = frozenset({OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED})
_ENDS = frozenset({OrderStatus.REJECTED, OrderStatus.CANCELED, OrderStatus.EXPIRED})
_TOLD = frozenset({OrderStatus.ACCEPTED, *_FILLS, *_ENDS})


class Sent:
    """One order at the venue, as far as the venue has told."""

    __slots__ = ("ended_at", "executed", "fills", "is_cancel_asked", "order", "status")

    def __init__(self, order: Order) -> None:
        self.order = order
        self.status = OrderStatus.SUBMITTED
        self.executed = ZERO
        """What we were told of."""
        self.ended_at: Decimal | None = None
        """All that the venue executed of it, where it said that it ended the order."""
        self.fills: set[int] = set()
        self.is_cancel_asked = False

    @property
    def is_open(self) -> bool:
        """Whether it may still rest at the venue, as far as we were told."""
        return self.ended_at is None and self.executed < self.order.qty

    @property
    def most(self) -> Decimal:
        """What can have been executed of it at most."""
        return self.order.qty if self.ended_at is None else self.ended_at


class ArmedAccount:
    """One account, one maximum notional, and everything that was sent there in this session."""

    def __init__(
        self, max_notional_usd: Decimal, max_open_orders: int, usd_rates: Mapping[str, Decimal], table: InstrumentTable
    ) -> None:
        """``table``: the op's own. ``usd_rates``: USD for one unit of a quote currency."""
        self._max_notional = max_notional_usd
        self._max_open = max_open_orders
        self._rates = usd_rates
        self._table = table
        self._prices: dict[int, Decimal] = {}
        self._net: dict[int, Decimal] = {}
        self.sent: dict[str, Sent] = {}
        """Every order that was handed to the adapter, by id."""
        self.pending: dict[str, Sent] = {}
        """Those of them of which something may still be executed: orders are judged against no others."""
        self._recorded: dict[str, OrderRecord] = {}

    def see(self, index: int, price: Decimal) -> None:
        """Take note of an instrument's last price, as ingest had it."""
        self._prices[index] = price

    def record(self, row: OrderRecord) -> None:
        """Take note of an order's row on its way to the database: what has none is not sent."""
        if row.status is OrderStatus.SUBMITTED:
            self._recorded[row.order_id] = row

    def why_not(self, order: Order) -> str | None:
        """Return why an order must not be sent, or None. Whatever raises is a reason too."""
        try:
            with localcontext(MONEY):
                return self._unsound(order) or self._unrecorded(order) or self._beyond(order)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            return f"expected to be judged, got not: {type(error).__name__}: {error}"

    def is_reducing(self, order: Order) -> bool:
        """Return whether an order, with all that is pending on its side, can only make the position smaller."""
        net = self._net.get(order.index, ZERO)
        against = -net if order.side is Side.BUY else net
        return against > ZERO and self._pending(order.index, order.side) + order.qty <= against

    def hand_over(self, order: Order) -> Sent:
        """Count an order as at the venue, from before it is sent."""
        sent = self.sent[order.order_id] = self.pending[order.order_id] = Sent(order)
        return sent

    def open_orders(self) -> list[Sent]:
        """Return what may still be filled at the venue, as far as we were told."""
        return [sent for sent in list(self.pending.values()) if sent.is_open]

    def hear(self, report: object) -> str | None:
        """Take a venue's report; return what is wrong with it, or None. A repetition changes nothing."""
        if not isinstance(report, Report):
            return f"expected a Report, got {type(report).__name__}"
        try:
            # A struct takes whatever it is made of; this asks every field for its type.
            sound = msgspec.convert(msgspec.to_builtins(report, builtin_types=(Decimal,)), Report)
            sent = self.sent.get(sound.order_id)
            if sent is None:
                return f"expected an order of this session, got {sound.order_id!r:.80}"
            with localcontext(MONEY):
                fault = self._impossible(sent, sound)
                if fault is None:
                    self._take(sent, sound)
                return fault
        except (msgspec.ValidationError, ArithmeticError, TypeError, ValueError) as error:
            return f"expected a sound report, was: {error}"

    def exposure_usd(self, candidate: Order | None = None) -> Decimal:
        """Return Σ |position|, the worse of both sides with all that is pending, at the last prices; one order more."""
        indices = {*self._net, *(sent.order.index for sent in list(self.pending.values()))}
        if candidate is not None:
            indices.add(candidate.index)
        return sum((self._worst_usd(index, candidate) for index in indices), ZERO)

    def _unsound(self, order: Order) -> str | None:
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

    def _unrecorded(self, order: Order) -> str | None:
        if order.order_id in self.sent:
            return "expected an order that was not sent before, got one"
        row = self._recorded.pop(order.order_id, None)
        if row is None:
            return "expected its row on the way to the database first, got none"
        price = order.reference_price if order.limit_price is None else order.limit_price
        item = order.instrument
        said = (row.signal_id, row.venue, row.symbol, row.side, row.type, row.qty, row.price, row.reduce_only)
        wanted = (order.signal_id, item.venue, item.symbol, order.side, order.type, order.qty, price, order.reduce_only)
        if said != wanted or row.time_in_force is not order.time_in_force or row.is_shadow:
            return f"expected the order of its row {said}, got {wanted}"
        return None

    def _beyond(self, order: Order) -> str | None:
        working = len(self.open_orders())
        if working >= self._max_open:
            return f"expected at most {self._max_open} open orders, would be {working + 1}"
        usd = self.exposure_usd(order)
        if usd > self._max_notional and not self.is_reducing(order):
            return f"expected at most {self._max_notional} USD at this account, would be {usd}"
        return None

    def _pending(self, index: int, side: Side) -> Decimal:
        own = (sent for sent in list(self.pending.values()) if sent.order.index == index and sent.order.side is side)
        return sum((sent.most - sent.executed for sent in own), ZERO)

    def _worst_usd(self, index: int, candidate: Order | None) -> Decimal:
        item, price, net = self._table[index], self._prices[index], self._net.get(index, ZERO)
        buys, sells = self._pending(index, Side.BUY), self._pending(index, Side.SELL)
        if candidate is not None and candidate.index == index:
            buys += candidate.qty if candidate.side is Side.BUY else ZERO
            sells += candidate.qty if candidate.side is Side.SELL else ZERO
            price = max(price, candidate.limit_price or ZERO)
        return max(abs(net + buys), abs(net - sells)) * price * item.multiplier * self._rates[item.quote]

    def _impossible(self, sent: Sent, report: Report) -> str | None:
        """Return why no venue could say that of this order."""
        qty, fill = sent.order.qty, report.fill
        if report.status not in _TOLD:
            return f"order {report.order_id}: expected what a venue can say, got {report.status}"
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
            if fill.number not in sent.fills and sent.executed + fill.qty > sent.most:
                return f"order {report.order_id}: expected at most {sent.most - sent.executed} more, got {fill.qty}"
        elif report.status in _ENDS and sent.ended_at is None and not sent.executed <= report.executed <= qty:
            return f"order {report.order_id}: expected executed from {sent.executed} to {qty}, got {report.executed}"
        return None

    def _take(self, sent: Sent, report: Report) -> None:
        fill, order = report.fill, sent.order
        if fill is not None and fill.number not in sent.fills:
            sent.fills.add(fill.number)
            sent.executed += fill.qty
            signed = fill.qty if order.side is Side.BUY else -fill.qty
            self._net[order.index] = self._net.get(order.index, ZERO) + signed
        if report.status in _ENDS and sent.ended_at is None:
            sent.ended_at, sent.status = report.executed, report.status
        elif sent.is_open and not (report.status is OrderStatus.ACCEPTED and sent.executed):
            sent.status = report.status
        if sent.executed == sent.most:
            self.pending.pop(order.order_id, None)
