"""`sma_crossover`: two moving averages of the last prices; a signal where the short one crosses the long.

Compared exactly: prices are integers, and short_sum / short against long_sum / long is compared as
short_sum x long against long_sum x short. In floating point ties fall either way, and the recorded
files then give other signals.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from hybrid_platform.domain.decimals import INT64_MAX
from hybrid_platform.domain.orders import Signal, buy, sell
from hybrid_platform.domain.ticks import Tick, TickBatch
from hybrid_platform.settings.base import Exact
from hybrid_platform.strategies.base import Params, Strategy

REASON = "SMA_CROSSOVER"


class SmaCrossoverParams(Params):
    """Parameters of `sma_crossover`; windows in ticks of one instrument."""

    short: Annotated[int, Field(ge=1, le=100_000)] = 5
    long: Annotated[int, Field(ge=2, le=100_000)] = 20
    size: Annotated[Exact, Field(gt=0)] = Decimal("0.1")

    @model_validator(mode="after")
    def _ordered(self) -> SmaCrossoverParams:
        if self.short >= self.long:
            raise ValueError(f"`short` below `long`, not {self.short} and {self.long}")
        return self


class _Window:
    """One instrument's last ``long`` prices and the sums that the averages need."""

    __slots__ = ("count", "long_sum", "previous", "prices", "short_sum")

    def __init__(self, long: int) -> None:
        self.prices = [0] * long
        self.count = 0
        self.short_sum = 0
        self.long_sum = 0
        self.previous: int | None = None


class SmaCrossover(Strategy[SmaCrossoverParams]):
    """BUY when ``previous <= 0 < diff``, SELL when ``previous >= 0 > diff``, per instrument.

    ``diff`` = short average - long average (times short x long). Nothing before the long window is
    full; the first full window only sets ``previous``.
    """

    Params = SmaCrossoverParams

    def __init__(self, params: SmaCrossoverParams) -> None:
        super().__init__(params)
        self._windows: dict[tuple[str, str], _Window] = {}

    def _window(self, key: tuple[str, str]) -> _Window:
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window(self.params.long)
        return window

    def on_tick(self, tick: Tick) -> Signal | None:
        """Move the windows by one price; return a signal at a crossing."""
        short, long = self.params.short, self.params.long
        window = self._window(tick.instrument.key)
        price, count, prices = tick.price_units, window.count, window.prices
        slot = count % long
        # Slots not yet written hold 0, so before the window is full nothing is taken away.
        window.long_sum += price - prices[slot]
        window.short_sum += price - (prices[slot - short] if count >= short else 0)
        prices[slot] = price
        window.count = count + 1
        if window.count < long:
            return None
        diff = window.short_sum * long - window.long_sum * short
        previous, window.previous = window.previous, diff
        if previous is None:
            return None
        if previous <= 0 < diff:
            return buy(tick, self.params.size, REASON)
        if previous >= 0 > diff:
            return sell(tick, self.params.size, REASON)
        return None

    def on_batch(self, batch: TickBatch) -> list[Signal]:
        """The same over columns; falls back to tick by tick where 64 bits could overflow or few ticks came."""
        short, long = self.params.short, self.params.long
        first = int(batch.instrument[0]) if len(batch) else 0
        if (
            len(batch) < 2 * long
            or (len(batch.table) > 1 and bool((batch.instrument != first).any()))
            or int(batch.price.max()) > INT64_MAX // (2 * short * long * (len(batch) + long))
        ):
            return list(super().on_batch(batch))
        window = self._window(batch.table[first].key)
        signals = []
        for position, is_buy in self._crossings(window, batch.price):
            signals.append((buy if is_buy else sell)(batch.tick(position), self.params.size, REASON))
        return signals

    def _crossings(self, window: _Window, prices: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[tuple[int, bool]]:
        """Advance one instrument's window over prices of at least two long windows; return (position, is BUY)."""
        short, long = self.params.short, self.params.long
        n, known = len(prices), min(window.count, long)
        slot = window.count % long
        before = (window.prices[slot:] + window.prices[:slot])[long - known :]
        joined = np.concatenate([np.array(before, dtype=np.int64), prices])
        sums = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(joined)])
        ends = np.arange(max(known + 1, long), known + n + 1)
        """Ends (exclusive) of every full window that a new price closes."""
        diffs = (sums[ends] - sums[ends - short]) * long - (sums[ends] - sums[ends - long]) * short
        previous = np.concatenate(
            [np.array([0 if window.previous is None else np.sign(window.previous)]), np.sign(diffs[:-1])]
        )
        signs = np.sign(diffs)
        up, down = (previous <= 0) & (signs > 0), (previous >= 0) & (signs < 0)
        if window.previous is None:
            up[0] = down[0] = False

        last = joined[-long:].tolist()
        window.count += n
        slot = window.count % long
        window.prices = last[long - slot :] + last[: long - slot] if slot else last
        window.long_sum, window.short_sum = sum(last), sum(last[-short:])
        window.previous = int(diffs[-1])
        where = np.flatnonzero(up | down)
        return list(zip((ends[where] - known - 1).tolist(), up[where].tolist(), strict=True))
