"""Loss limits, and vetoes or rejects in a row: the conditions that halt trading automatically.

Equity is checked after every fill and, while a position is open and a limit is set, at every tick, so
that the result does not depend on how ticks are cut into steps. After an operator's resume both
measures start again from the equity of that moment.
"""

from __future__ import annotations

from decimal import Decimal

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.domain.decimals import MONEY, canonical
from hybrid_platform.domain.orders import VetoReason

NS_PER_DAY = 86_400 * NS_PER_S
_subtract = MONEY.subtract


class LossMonitor:
    """Loss since midnight UTC and drawdown from the peak, in USD."""

    def __init__(
        self, max_daily_loss_usd: Decimal | None, max_drawdown_usd: Decimal | None, equity_usd: Decimal
    ) -> None:
        self.is_set = max_daily_loss_usd is not None or max_drawdown_usd is not None
        self._max_daily_loss = max_daily_loss_usd
        self._max_drawdown = max_drawdown_usd
        self._day = -1
        self._equity = self._day_start = self._peak = equity_usd

    def update(self, now: int, equity_usd: Decimal) -> None:
        """Take the equity at an instant (session clock, ns)."""
        day = now // NS_PER_DAY
        if day > self._day:
            self._day, self._day_start = day, self._equity
        self._equity = equity_usd
        self._peak = max(self._peak, equity_usd)

    def restart(self, equity_usd: Decimal) -> None:
        """Count loss and drawdown from here: an operator resumed, knowing the loss so far."""
        self._equity = self._day_start = self._peak = equity_usd

    def daily_loss(self) -> str | None:
        """Return how the daily loss exceeds its limit, or None."""
        return _describe_excess("max_daily_loss_usd", self._max_daily_loss, _subtract(self._day_start, self._equity))

    def drawdown(self) -> str | None:
        """Return how the drawdown exceeds its limit, or None."""
        return _describe_excess("max_drawdown_usd", self._max_drawdown, _subtract(self._peak, self._equity))


class ConsecutiveRejects:
    """Vetoes in a row without an approved order, rejects in a row without an accepted one."""

    NOT_COUNTED = (VetoReason.HALTED, VetoReason.REDUCING)
    """Vetoes that only follow from a halt."""

    def __init__(self, max_vetoes: int | None, max_rejects: int | None) -> None:
        self._max_vetoes = max_vetoes
        self._max_rejects = max_rejects
        self.vetoes = 0
        self.rejects = 0

    def on_veto(self, reason: VetoReason) -> str | None:
        """Count a veto; return that there are too many in a row, or None."""
        self.vetoes += reason not in self.NOT_COUNTED
        return _describe_run("halt_after_vetoes", self._max_vetoes, self.vetoes)

    def on_reject(self) -> str | None:
        """Count a reject by the venue; return that there are too many in a row, or None."""
        self.rejects += 1
        return _describe_run("halt_after_rejects", self._max_rejects, self.rejects)

    def restart(self) -> None:
        """Reset both counts."""
        self.vetoes = self.rejects = 0


def _describe_excess(name: str, limit: Decimal | None, value: Decimal) -> str | None:
    if limit is None or value <= limit:
        return None
    return f"{name}: limit {canonical(limit)}, got {canonical(value)}"


def _describe_run(name: str, limit: int | None, count: int) -> str | None:
    return None if limit is None or count < limit else f"{name}: {count} in a row, the last of them now"
