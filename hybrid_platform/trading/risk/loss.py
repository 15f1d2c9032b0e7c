"""Equity against the limits on loss, and what comes in a row: what may halt trading by itself.

Equity is looked at after every fill and, while a position is open and a limit is set, at every tick;
so the result does not depend on how ticks are cut into steps. A person's resume starts both measures
afresh from the equity of that moment.
"""

from __future__ import annotations

from decimal import Decimal

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.domain.exact import MONEY, canonical
from hybrid_platform.domain.orders import VetoReason

NS_PER_DAY = 86_400 * NS_PER_S


class LossMonitor:
    """Loss since midnight UTC and drawdown from the peak, in USD."""

    def __init__(self, max_daily_loss: Decimal | None, max_drawdown: Decimal | None, equity: Decimal) -> None:
        self.is_set = max_daily_loss is not None or max_drawdown is not None
        self._max_daily_loss = max_daily_loss
        self._max_drawdown = max_drawdown
        self._day = -1
        self._equity = self._day_start = self._peak = equity

    def look(self, now: int, equity: Decimal) -> None:
        """Take note of the equity at an instant (session clock, ns)."""
        day = now // NS_PER_DAY
        if day > self._day:
            self._day, self._day_start = day, self._equity
        self._equity = equity
        self._peak = max(self._peak, equity)

    def restart(self, equity: Decimal) -> None:
        """Count loss and drawdown from here: a person resumed, knowing the loss so far."""
        self._equity = self._day_start = self._peak = equity

    def daily_loss(self) -> str | None:
        """Return in words how the daily loss is beyond its limit, or None."""
        return _beyond("max_daily_loss_usd", self._max_daily_loss, MONEY.subtract(self._day_start, self._equity))

    def drawdown(self) -> str | None:
        """Return in words how the drawdown is beyond its limit, or None."""
        return _beyond("max_drawdown_usd", self._max_drawdown, MONEY.subtract(self._peak, self._equity))


class ConsecutiveRejects:
    """Vetoes in a row without an approved order, rejects in a row without an accepted one."""

    NOT_COUNTED = (VetoReason.HALTED, VetoReason.REDUCING)
    """A halt's own vetoes are no news."""

    def __init__(self, max_vetoes: int | None, max_rejects: int | None) -> None:
        self._max_vetoes = max_vetoes
        self._max_rejects = max_rejects
        self.vetoes = 0
        self.rejects = 0

    def vetoed(self, reason: VetoReason) -> str | None:
        """Count a veto; return in words that there are too many in a row, or None."""
        self.vetoes += reason not in self.NOT_COUNTED
        return _too_many("halt_after_vetoes", self._max_vetoes, self.vetoes)

    def rejected(self) -> str | None:
        """Count a reject by the venue; return in words that there are too many in a row, or None."""
        self.rejects += 1
        return _too_many("halt_after_rejects", self._max_rejects, self.rejects)

    def restart(self) -> None:
        """Forget both."""
        self.vetoes = self.rejects = 0


def _beyond(name: str, limit: Decimal | None, was: Decimal) -> str | None:
    if limit is None or was <= limit:
        return None
    return f"{name}: limit {canonical(limit)}, got {canonical(was)}"


def _too_many(name: str, limit: int | None, was: int) -> str | None:
    return None if limit is None or was < limit else f"{name}: {was} in a row, the last of them now"
