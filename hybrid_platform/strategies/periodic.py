"""`periodic`: a signal at every N-th tick, BUY and SELL in turn. It exercises the platform, not a market view."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from hybrid_platform.domain.orders import Signal, buy, sell
from hybrid_platform.domain.ticks import Tick, TickBatch
from hybrid_platform.settings.base import Exact
from hybrid_platform.strategies.base import Params, Strategy

REASON = "PERIODIC_TRIGGER"


class PeriodicParams(Params):
    """Parameters of `periodic`."""

    every: Annotated[int, Field(ge=1, le=10**12)] = 10
    """Ticks between signals, all symbols together."""
    size: Annotated[Exact, Field(gt=0)] = Decimal("0.1")


class Periodic(Strategy[PeriodicParams]):
    """BUY at tick N, SELL at 2N, BUY at 3N …, counting the ticks that it receives."""

    Params = PeriodicParams

    def __init__(self, params: PeriodicParams) -> None:
        super().__init__(params)
        self._seen = 0

    def on_tick(self, tick: Tick) -> Signal | None:
        """Count a tick; return a signal at every N-th."""
        self._seen += 1
        turn, rest = divmod(self._seen, self.params.every)
        if rest:
            return None
        return (buy if turn % 2 else sell)(tick, self.params.size, REASON)

    def on_batch(self, batch: TickBatch) -> list[Signal]:
        """Return the same signals, building only the ticks that cause one."""
        every = self.params.every
        first = every - self._seen % every - 1
        turn = self._seen // every
        self._seen += len(batch)
        signals = []
        for position in range(first, len(batch), every):
            turn += 1
            signals.append((buy if turn % 2 else sell)(batch.tick(position), self.params.size, REASON))
        return signals
