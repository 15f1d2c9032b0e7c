"""`sma_crossover`: a signal where the short moving average of the prices crosses the long one.

The averages are compared exactly: prices are integers, and instead of short_sum / short with
long_sum / long, short_sum × long is compared with long_sum × short. Floating point would decide ties
either way, and give other signals for the recorded files.
"""

from __future__ import annotations

from collections import deque
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


class _Windows:
    """One instrument's last prices, in units, with the sum of each window."""

    def __init__(self, short: int, long: int) -> None:
        self.short: deque[int] = deque(maxlen=short)
        self.long: deque[int] = deque(maxlen=long)
        self.short_sum = 0
        self.long_sum = 0
        self.previous: int | None = None
        """The difference at the last tick; None until the long window is full."""


class SmaCrossover(Strategy[SmaCrossoverParams]):
    """BUY when ``previous <= 0 < difference``, SELL when ``previous >= 0 > difference``, per instrument.

    The difference is (short average - long average) × short × long. It exists once the long window is
    full; the first one only sets ``previous``.
    """

    Params = SmaCrossoverParams

    def __init__(self, params: SmaCrossoverParams) -> None:
        super().__init__(params)
        self._windows: dict[tuple[str, str], _Windows] = {}

    def on_tick(self, tick: Tick) -> Signal | None:
        """Move the windows by one price; return a signal at a crossing."""
        short, long = self.params.short, self.params.long
        windows, price = self._get_windows(tick.instrument.key), tick.price_units
        if len(windows.short) == short:
            windows.short_sum -= windows.short[0]
        if len(windows.long) == long:
            windows.long_sum -= windows.long[0]
        windows.short.append(price)
        windows.long.append(price)
        windows.short_sum += price
        windows.long_sum += price
        if len(windows.long) < long:
            return None

        difference = windows.short_sum * long - windows.long_sum * short
        previous, windows.previous = windows.previous, difference
        if previous is None:
            return None
        if previous <= 0 < difference:
            return buy(tick, self.params.size, REASON)
        if previous >= 0 > difference:
            return sell(tick, self.params.size, REASON)
        return None

    def on_batch(self, batch: TickBatch) -> list[Signal]:
        """Return the signals of `on_tick` for many ticks, computed over whole columns.

        A strategy does not need this method; it is here for speed. Short batches, batches of several
        instruments, and prices whose sums could exceed 64 bits are shown to `on_tick` one by one.
        """
        short, long = self.params.short, self.params.long
        if len(batch) < 2 * long or not _has_one_instrument(batch):
            return list(super().on_batch(batch))
        windows = self._get_windows(batch.table[int(batch.instrument[0])].key)
        known = len(windows.long)
        prices = np.concatenate([np.array(windows.long, dtype=np.int64), batch.price])
        if int(prices.max()) > INT64_MAX // max(len(prices), 2 * short * long):
            return list(super().on_batch(batch))

        # One difference for every full window that ends at a tick of the batch; `first` is the first one's end.
        totals = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(prices)])
        first = max(known + 1, long)
        short_sums = totals[first:] - totals[first - short : -short]
        long_sums = totals[first:] - totals[first - long : -long]
        differences = short_sums * long - long_sums * short
        before = differences[0] if windows.previous is None else windows.previous
        previous = np.concatenate([np.array([before], dtype=np.int64), differences[:-1]])
        is_buy = (previous <= 0) & (differences > 0)
        is_sell = (previous >= 0) & (differences < 0)

        windows.short.extend(prices[-short:].tolist())
        windows.long.extend(prices[-long:].tolist())
        windows.short_sum, windows.long_sum = int(short_sums[-1]), int(long_sums[-1])
        windows.previous = int(differences[-1])

        signals = []
        for crossing in np.flatnonzero(is_buy | is_sell).tolist():
            tick = batch.tick(first + crossing - known - 1)
            signals.append((buy if is_buy[crossing] else sell)(tick, self.params.size, REASON))
        return signals

    def _get_windows(self, key: tuple[str, str]) -> _Windows:
        windows = self._windows.get(key)
        if windows is None:
            windows = self._windows[key] = _Windows(self.params.short, self.params.long)
        return windows


def _has_one_instrument(batch: TickBatch) -> bool:
    return len(batch.table) == 1 or not bool((batch.instrument != batch.instrument[0]).any())
