"""Round trips: a position from flat to flat, or until it turns to the other side; exact, from fills alone.

A fill that turns a position round ends one trip and begins the next: its fees are split by quantity, and
what the division rounds off goes to the trip that begins. Sum of all trips' PnL = cash earned, when flat.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import numpy as np

from hybrid_platform.domain.exact import MONEY
from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import Side, TradeRecord
from hybrid_platform.report.measures.records import Trips
from hybrid_platform.trading.accounts import divided

ZERO = Decimal(0)
_add, _subtract, _multiply = MONEY.add, MONEY.subtract, MONEY.multiply


class RoundTrip(NamedTuple):
    """One that is over."""

    opened_at: int
    closed_at: int
    pnl: Decimal
    """After fees, in quote currency."""


class _Open:
    __slots__ = ("cash", "net", "opened_at")

    def __init__(self, opened_at: int) -> None:
        self.opened_at = opened_at
        self.net = ZERO
        self.cash = ZERO

    def take(self, change: Decimal, price: Decimal, multiplier: Decimal, fees: Decimal) -> None:
        self.net = _add(self.net, change)
        self.cash = _subtract(self.cash, _add(_multiply(_multiply(change, price), multiplier), fees))


class RoundTripBook:
    """Takes fills in order; gives each trip when it is over."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], _Open] = {}

    def apply(self, trade: TradeRecord, instrument: Instrument) -> RoundTrip | None:
        """Take a fill; return the trip that it ended, if it ended one."""
        held = self._open.get(instrument.key)
        if held is None:
            held = self._open[instrument.key] = _Open(trade.ts)
        change = trade.fill_qty if trade.side is Side.BUY else trade.fill_qty.copy_negate()
        after = _add(held.net, change)
        if not held.net or (after and (after > ZERO) is (held.net > ZERO)):
            held.take(change, trade.fill_price, instrument.multiplier, trade.fees)
            return None
        closing = held.net.copy_negate()
        fees = trade.fees if not after else divided(_multiply(trade.fees, closing), change)
        held.take(closing, trade.fill_price, instrument.multiplier, fees)
        del self._open[instrument.key]
        if after:
            turned = self._open[instrument.key] = _Open(trade.ts)
            turned.take(after, trade.fill_price, instrument.multiplier, _subtract(trade.fees, fees))
        return RoundTrip(held.opened_at, trade.ts, held.cash)

    @property
    def open(self) -> int:
        """Trips that are not over."""
        return len(self._open)


def trips_of(pnl_usd: list[float], lengths_ns: list[int], still_open: int) -> Trips:
    """Return the figures of trips that are over: PnL after fees in USD, and how long each took."""
    pnl = np.array(pnl_usd, dtype=np.float64)
    won, lost = pnl[pnl > 0], pnl[pnl < 0]
    losses = float(-lost.sum())
    return Trips(
        count=len(pnl),
        wins=len(won),
        losses=len(lost),
        win_rate=len(won) / len(pnl) if len(pnl) else None,
        profit_factor=float(won.sum()) / losses if losses else None,
        expectancy=float(pnl.mean()) if len(pnl) else None,
        mean_win=float(won.mean()) if len(won) else None,
        mean_loss=float(lost.mean()) if len(lost) else None,
        best=float(pnl.max()) if len(pnl) else None,
        worst=float(pnl.min()) if len(pnl) else None,
        median_s=float(np.median(np.array(lengths_ns, dtype=np.int64))) / 1e9 if lengths_ns else None,
        open=still_open,
    )
