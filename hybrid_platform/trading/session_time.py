"""Time passes: takes the session clock from tick to tick, and lets happen what falls due on the way.

Ticks at which nothing can happen are skipped by the batch; one by one go only those that a resting
order, a report on its way or a limit on loss could care for.
"""

from __future__ import annotations

from hybrid_platform.domain.exact import from_units
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.orders import OrderStatus
from hybrid_platform.trading.accounts import Account
from hybrid_platform.trading.adapters.paper.venue import NEVER, PaperVenue
from hybrid_platform.trading.market_state import MarketState
from hybrid_platform.trading.order import Report
from hybrid_platform.trading.order_manager import OrderManager
from hybrid_platform.trading.risk.kill_switch import KillSwitch

_STRIDE = 64
"""Ticks taken one by one before looking again whether that is still needed."""


class SessionTime:
    """Owned by the engine."""

    def __init__(
        self,
        table: InstrumentTable,
        marks: MarketState,
        desk: OrderManager,
        account: Account,
        control: KillSwitch,
        venue: PaperVenue | None,
    ) -> None:
        self._table = table
        self._marks = marks
        self._desk = desk
        self._account = account
        self._control = control
        self._venue = venue
        self._is_plain = venue is None and not control.watches_equity

    def to(self, stop: int) -> None:
        """Take the ticks of the batch before position ``stop`` as seen."""
        marks = self._marks
        if self._is_plain:
            marks.advance(stop)
            return
        while marks.at < stop:
            calm = self._calm_until(stop)
            if calm > marks.at:
                marks.advance(calm)
            else:
                self._stride(min(marks.at + _STRIDE, stop))

    def until(self, ts: int) -> None:
        """Move the session clock to an instant that is no tick's: a timer's or a command's."""
        self._happen(ts)
        self._marks.tell(ts)
        self._control.look()

    def settle(self) -> None:
        """Look at what an order or a command has changed, and let happen what is due by now."""
        if not self._is_plain:
            self._control.look()
            self._happen(self._marks.now)

    def hear(self, report: Report) -> None:
        """Take a venue's report, as of now."""
        rejects = self._desk.rejects
        self._desk.apply(report)
        if self._desk.rejects > rejects:
            self._control.rejected()
        elif report.status is OrderStatus.ACCEPTED:
            self._control.accepted()
        self._control.look()

    def _calm_until(self, stop: int) -> int:
        """Return the position up to which nothing can happen."""
        venue = self._venue
        if (venue is not None and venue.resting) or (self._control.watches_equity and not self._account.is_flat):
            return self._marks.at
        return stop if venue is None or venue.due == NEVER else self._marks.first_at(venue.due, stop)

    def _stride(self, stop: int) -> None:
        marks, venue, watches = self._marks, self._venue, self._control.watches_equity
        for position, now, index, price, size in marks.prints(stop):
            if venue is not None:
                if venue.due <= now:
                    marks.advance(position)
                    self._happen(now)
                if size and index in venue.resting:
                    marks.advance(position)
                    item = self._table[index]
                    venue.on_print(index, from_units(price, item.price_scale), from_units(size, item.size_scale), now)
                    if venue.due <= now:
                        marks.advance(position + 1)
                        self._happen(now)
            if watches and not self._account.is_flat:
                marks.advance(position + 1)
                self._control.look()
        marks.advance(stop)

    def _happen(self, until: int) -> None:
        """Let everything happen that is due until an instant, each at its own."""
        venue = self._venue
        while venue is not None and venue.due <= until:
            at, report = venue.happen()
            self._marks.tell(at)
            if report is None:
                continue
            self.hear(report)
