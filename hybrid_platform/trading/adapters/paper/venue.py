"""The simulated exchange: accepts approved orders and fills them against the real trades that came later.

in: approved orders, cancels, prints, the session clock · out: reports, each after its delay, so that they
may overtake one another as real ones do. Only the session clock drives it: events that fall due between
two inputs are processed, in order, before the next input, each at its own instant. The venue sees a trade
when we do.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from decimal import Decimal
from typing import ClassVar, Final

import msgspec

from hybrid_platform.domain.decimals import MONEY
from hybrid_platform.domain.orders import OrderStatus, Side, TimeInForce
from hybrid_platform.trading.adapters.paper.latency import VenueRandom
from hybrid_platform.trading.adapters.paper.matching import VenueOrder, fillable_qty, match, reaches_limit
from hybrid_platform.trading.adapters.paper.model import PaperModel
from hybrid_platform.trading.market_state import MarketState
from hybrid_platform.trading.order import ZERO, Fill, Order, Report, compute_fees
from hybrid_platform.trading.risk.engine import Approved, require_approved
from hybrid_platform.trading.risk.instrument_rules import find_violation

NEVER: Final = 2**63 - 1


class PaperVenue:
    """Owned by the engine."""

    orders_outlive_session: ClassVar[bool] = False

    def __init__(self, model: PaperModel, market: MarketState) -> None:
        self._model = model
        self._market = market
        self._random = VenueRandom(model.seed, model.latency.jitter, model.reject_rate)
        self._orders: dict[str, VenueOrder] = {}
        self._net: dict[int, Decimal] = {}
        self._agenda: list[tuple[int, int, Report | Callable[[int], None]]] = []
        self._scheduled = 0
        self.next_due = NEVER
        """When the next event is due (session clock, ns)."""
        self.resting: dict[int, list[VenueOrder]] = {}
        """Orders that a print may fill, by instrument, oldest first."""

    def submit(self, approved: Approved[Order], now: int) -> None:
        """Send an approved order on its way."""
        order = require_approved(approved)
        sent = self._orders[order.order_id] = VenueOrder(order)
        self._schedule(now + self._random.draw_delay(self._model.latency.submit_ns), lambda at: self._arrive(sent, at))

    def cancel(self, order_id: str, now: int) -> None:
        """Send a cancel on its way; a cancel that finds no open order has no effect."""
        arrives = now + self._random.draw_delay(self._model.latency.cancel_ns)
        self._schedule(arrives, lambda at: self._cancel(order_id, at))

    def process_next(self) -> tuple[int, Report | None]:
        """Process the next event; return its instant, and the report if one arrived."""
        at, _, event = heapq.heappop(self._agenda)
        self.next_due = self._agenda[0][0] if self._agenda else NEVER
        if isinstance(event, Report):
            return at, event
        event(at)
        return at, None

    def on_print(self, index: int, price: Decimal, size: Decimal, now: int) -> None:
        """Let a real trade fill the orders resting in its instrument, together up to their share of it."""
        share = MONEY.multiply(size, self._model.participation)
        for resting in tuple(self.resting[index]):
            share = MONEY.subtract(share, self._offer(resting, price, size, share, now))

    def close(self, now: int) -> list[Report]:
        """Return, as of now, every report on its way; an order or cancel on its way never reaches the venue."""
        agenda, self._agenda, self.next_due = sorted(self._agenda, key=lambda entry: entry[:2]), [], NEVER
        return [msgspec.structs.replace(event, ts=now) for _, _, event in agenda if isinstance(event, Report)]

    def _arrive(self, sent: VenueOrder, now: int) -> None:
        order = sent.order
        price = self._market.price(order.index)
        reason = self._find_reject_reason(order, price)
        if reason is not None:
            del self._orders[order.order_id]
            self._report(order, OrderStatus.REJECTED, reason, now)
            return
        self._report(order, OrderStatus.ACCEPTED, "VENUE", now)
        self.resting.setdefault(order.index, []).append(sent)
        sent.has_arrived = True
        if sent.is_canceled:
            self._end(sent, OrderStatus.CANCELED, "REQUESTED", now)
            return
        if not reaches_limit(price, order):
            self._rest(sent)
        if order.expires_at is not None:
            self._schedule(max(order.expires_at, now), lambda at: self._expire(sent, at))

    def _find_reject_reason(self, order: Order, price: Decimal) -> str | None:
        """Return why the venue rejects an order: its rules at the present price, or chance; or None."""
        if self._random.draw_reject():
            return "VENUE_REJECT"
        if order.reduce_only and not self._reducible_qty(order):
            return "REDUCE_ONLY"
        return find_violation(order, price)

    def _reducible_qty(self, order: Order) -> Decimal:
        """Return how much of an order would make our position at the venue smaller."""
        net = self._net.get(order.index, ZERO)
        against = net.copy_negate() if order.side is Side.BUY else net
        return min(max(against, ZERO), order.qty)

    def _rest(self, resting: VenueOrder) -> None:
        """Make an order a maker: it queues behind the orders that rest there already."""
        resting.is_taking = False
        if self._model.fills_at_limit:
            resting.queue_ahead = MONEY.multiply(
                self._market.mean_print_size(resting.order.index), self._model.queue_prints
            )

    def _cancel(self, order_id: str, now: int) -> None:
        order = self._orders.get(order_id)
        if order is None:
            return
        if order.has_arrived:
            self._end(order, OrderStatus.CANCELED, "REQUESTED", now)
        else:
            order.is_canceled = True

    def _expire(self, resting: VenueOrder, now: int) -> None:
        if resting.order.order_id in self._orders:
            self._end(resting, OrderStatus.EXPIRED, TimeInForce.GTD, now)

    def _offer(self, resting: VenueOrder, price: Decimal, size: Decimal, share: Decimal, now: int) -> Decimal:
        """Let an order take its part of a print; return the quantity taken."""
        order, terms = resting.order, resting.order.time_in_force
        offer = match(resting, price, size, self._model.slippage_bps, self._model.fills_at_limit)
        taken = ZERO
        if offer is not None:
            qty = min(offer.size, share)
            if order.reduce_only:
                qty = min(qty, self._reducible_qty(order))
            taken = fillable_qty(qty, resting)
            if taken and not (terms is TimeInForce.FOK and taken < resting.remaining):
                self._fill(resting, taken, offer.price, offer.is_maker, now)
            else:
                taken = ZERO
        if not resting.remaining:
            self._forget(resting)
        elif terms is TimeInForce.IOC or terms is TimeInForce.FOK:
            self._end(resting, OrderStatus.EXPIRED, terms, now)
        elif order.reduce_only and not self._reducible_qty(order):
            self._end(resting, OrderStatus.CANCELED, "REDUCE_ONLY", now)
        elif resting.is_taking and not reaches_limit(price, order):
            self._rest(resting)
        return taken

    def _fill(self, resting: VenueOrder, qty: Decimal, price: Decimal, is_maker: bool, now: int) -> None:
        order, item = resting.order, resting.order.instrument
        resting.remaining = MONEY.subtract(resting.remaining, qty)
        resting.fills += 1
        signed = qty if order.side is Side.BUY else qty.copy_negate()
        self._net[order.index] = MONEY.add(self._net.get(order.index, ZERO), signed)
        stated, general = (
            (item.maker_fee_bps, self._model.maker_fee_bps)
            if is_maker
            else (item.taker_fee_bps, self._model.taker_fee_bps)
        )
        fill = Fill(resting.fills, qty, price, compute_fees(qty, price, item, general if stated is None else stated))
        status = OrderStatus.PARTIALLY_FILLED if resting.remaining else OrderStatus.FILLED
        self._report(order, status, "MAKER" if is_maker else "TAKER", now, fill)

    def _end(self, resting: VenueOrder, status: OrderStatus, reason: str, now: int) -> None:
        order = resting.order
        self._forget(resting)
        self._report(order, status, reason, now, cum_qty=MONEY.subtract(order.qty, resting.remaining))

    def _forget(self, resting: VenueOrder) -> None:
        index = resting.order.index
        del self._orders[resting.order.order_id]
        self.resting[index].remove(resting)
        if not self.resting[index]:
            del self.resting[index]

    def _report(
        self,
        order: Order,
        status: OrderStatus,
        reason: str,
        now: int,
        fill: Fill | None = None,
        cum_qty: Decimal = ZERO,
    ) -> None:
        arrives = now + self._random.draw_delay(self._model.latency.report_ns)
        self._schedule(arrives, Report(order.order_id, status, reason, arrives, fill, cum_qty))

    def _schedule(self, at: int, event: Report | Callable[[int], None]) -> None:
        self._scheduled += 1
        heapq.heappush(self._agenda, (at, self._scheduled, event))
        self.next_due = self._agenda[0][0]
