"""Round trips: a position from flat to flat, or until it changes sides; exact, from fills alone.

A fill that reverses a position ends one round trip and begins the next. Its fees are split by quantity; the
rounding remainder goes to the new one. With flat positions, the PnL of all round trips adds up to the cash earned.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import numpy as np

from hybrid_platform.domain.decimals import MONEY
from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import Side, TradeRecord
from hybrid_platform.report.measures.records import RoundTrips
from hybrid_platform.report.measures.sample import Sample
from hybrid_platform.trading.accounts import divide_rounded

ZERO = Decimal(0)
_add, _subtract, _multiply = MONEY.add, MONEY.subtract, MONEY.multiply


class RoundTrip(NamedTuple):
    """A completed round trip."""

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

    def add(self, change: Decimal, price: Decimal, multiplier: Decimal, fees: Decimal) -> None:
        self.net = _add(self.net, change)
        self.cash = _subtract(self.cash, _add(_multiply(_multiply(change, price), multiplier), fees))


class RoundTripBook:
    """Open round trips by instrument; fills come in order."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], _Open] = {}

    def apply(self, trade: TradeRecord, instrument: Instrument) -> RoundTrip | None:
        """Apply a fill; return the round trip that it completed, if any."""
        held = self._open.get(instrument.key)
        if held is None:
            held = self._open[instrument.key] = _Open(trade.ts)
        change = trade.fill_qty if trade.side is Side.BUY else trade.fill_qty.copy_negate()
        after = _add(held.net, change)
        if not held.net or (after and (after > ZERO) is (held.net > ZERO)):
            held.add(change, trade.fill_price, instrument.multiplier, trade.fees)
            return None
        closing = held.net.copy_negate()
        fees = trade.fees if not after else divide_rounded(_multiply(trade.fees, closing), change)
        held.add(closing, trade.fill_price, instrument.multiplier, fees)
        del self._open[instrument.key]
        if after:
            turned = self._open[instrument.key] = _Open(trade.ts)
            turned.add(after, trade.fill_price, instrument.multiplier, _subtract(trade.fees, fees))
        return RoundTrip(held.opened_at, trade.ts, held.cash)

    @property
    def open_count(self) -> int:
        """Number of open round trips."""
        return len(self._open)


class RoundTripTally:
    """Running figures of completed round trips: PnL after fees in USD, and duration."""

    def __init__(self) -> None:
        self._lengths = Sample()
        self._won = self._lost = 0
        self._gains = self._losses = 0.0
        self._best, self._worst = float("-inf"), float("inf")

    def add(self, pnl_usd: float, length_ns: int) -> None:
        """Add one round trip."""
        self._lengths.add(length_ns)
        if pnl_usd > 0:
            self._won, self._gains = self._won + 1, self._gains + pnl_usd
        elif pnl_usd < 0:
            self._lost, self._losses = self._lost + 1, self._losses - pnl_usd
        self._best, self._worst = max(self._best, pnl_usd), min(self._worst, pnl_usd)

    def summarize(self, open_count: int) -> RoundTrips:
        """Return the figures of all; the median duration covers the sampled ones."""
        count = self._lengths.count
        return RoundTrips(
            count=count,
            wins=self._won,
            losses=self._lost,
            win_rate=self._won / count if count else None,
            profit_factor=self._gains / self._losses if self._losses else None,
            expectancy=(self._gains - self._losses) / count if count else None,
            mean_win=self._gains / self._won if self._won else None,
            mean_loss=-self._losses / self._lost if self._lost else None,
            best=self._best if count else None,
            worst=self._worst if count else None,
            median_s=float(np.median(self._lengths.values)) / 1e9 if count else None,
            open=open_count,
        )
