"""Time in a session: moves the session clock from tick to tick and processes what falls due on the way.

in: positions in the tick batch, timers, commands, venue reports · out: fills, equity checks, halts. Ticks
at which nothing can happen are skipped as a batch; ticks are stepped through one by one only while a
resting order, a report on its way or a loss limit depends on them.
"""

from __future__ import annotations

from hybrid_platform.domain.decimals import from_units
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.orders import OrderStatus
from hybrid_platform.trading.accounts import Account
from hybrid_platform.trading.adapters.paper.venue import NEVER, PaperVenue
from hybrid_platform.trading.market_state import MarketState
from hybrid_platform.trading.order import Report
from hybrid_platform.trading.order_manager import OrderManager
from hybrid_platform.trading.risk.kill_switch import KillSwitch

_STRIDE = 64
"""Ticks stepped through before checking again whether that is still needed."""


class SessionTime:
    """Owned by the engine."""

    def __init__(
        self,
        table: InstrumentTable,
        market: MarketState,
        orders: OrderManager,
        account: Account,
        kill_switch: KillSwitch,
        venue: PaperVenue | None,
    ) -> None:
        self._table = table
        self._market = market
        self._orders = orders
        self._account = account
        self._kill_switch = kill_switch
        self._venue = venue
        self._ignores_ticks = venue is None and not kill_switch.watches_equity

    def advance_to_tick(self, stop: int) -> None:
        """Pass the ticks of the batch before position ``stop``."""
        market = self._market
        if self._ignores_ticks:
            market.advance(stop)
            return
        while market.position < stop:
            quiet_until = self._find_quiet_until(stop)
            if quiet_until > market.position:
                market.advance(quiet_until)
            else:
                self._step_through(min(market.position + _STRIDE, stop))

    def advance_to(self, ts: int) -> None:
        """Move the session clock to an instant between ticks: a timer's or a command's."""
        self._process_until(ts)
        self._market.advance_clock(ts)
        self._kill_switch.check_equity()

    def process_due(self) -> None:
        """Check the equity after an order or a command, and process what is due by now."""
        if not self._ignores_ticks:
            self._kill_switch.check_equity()
            self._process_until(self._market.now)

    def on_report(self, report: Report) -> None:
        """Apply a venue's report at the present session clock."""
        rejects = self._orders.rejects
        self._orders.apply(report)
        if self._orders.rejects > rejects:
            self._kill_switch.on_reject()
        elif report.status is OrderStatus.ACCEPTED:
            self._kill_switch.on_accepted()
        self._kill_switch.check_equity()

    def _find_quiet_until(self, stop: int) -> int:
        """Return the position before which nothing can happen."""
        venue = self._venue
        if (venue is not None and venue.resting) or (self._kill_switch.watches_equity and not self._account.is_flat):
            return self._market.position
        return stop if venue is None or venue.next_due == NEVER else self._market.find_first_at(venue.next_due, stop)

    def _step_through(self, stop: int) -> None:
        market, venue, watches_equity = self._market, self._venue, self._kill_switch.watches_equity
        for position, now, index, price, size in market.iter_ticks(stop):
            if venue is not None:
                if venue.next_due <= now:
                    market.advance(position)
                    self._process_until(now)
                if size and index in venue.resting:
                    market.advance(position)
                    item = self._table[index]
                    venue.on_print(index, from_units(price, item.price_scale), from_units(size, item.size_scale), now)
                    if venue.next_due <= now:
                        market.advance(position + 1)
                        self._process_until(now)
            if watches_equity and not self._account.is_flat:
                market.advance(position + 1)
                self._kill_switch.check_equity()
        market.advance(stop)

    def _process_until(self, until: int) -> None:
        """Process every event that is due until an instant, each at its own."""
        venue = self._venue
        while venue is not None and venue.next_due <= until:
            at, report = venue.process_next()
            self._market.advance_clock(at)
            if report is None:
                continue
            self.on_report(report)
