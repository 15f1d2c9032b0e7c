"""Return against risk: Sharpe, Sortino, Calmar, volatility, drawdown. Plain functions on arrays.

Formulas as in empyrical (the tests compare with its figures), with every choice stated: simple returns over
equal steps, a risk-free rate of zero, sample deviation (n − 1) for Sharpe, downside deviation over all
steps for Sortino, arithmetic annualisation for Calmar. docs/measures.md explains the choices.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
YEAR_S = 365 * 86_400


def simple_returns(equity: Floats) -> Floats:
    """Return E[i] ÷ E[i−1] − 1, shape (n − 1,); empty if a value is not above zero."""
    if len(equity) < 2 or not bool((equity[:-1] > 0).all()):
        return np.empty(0)
    return equity[1:] / equity[:-1] - 1.0


def volatility(returns: Floats, per_year: float) -> float | None:
    """Return the sample deviation × √(steps a year); None below two returns."""
    if len(returns) < 2:
        return None
    return float(returns.std(ddof=1)) * math.sqrt(per_year)


def sharpe(returns: Floats, per_year: float) -> float | None:
    """Return mean ÷ sample deviation × √(steps a year) (Sharpe 1994); None without variation."""
    spread = volatility(returns, per_year)
    return float(returns.mean()) * per_year / spread if spread else None


def sortino(returns: Floats, per_year: float) -> float | None:
    """Return mean ÷ downside deviation × √(steps a year) (Sortino & Price 1994); None without a loss.

    The downside deviation is √(mean(min(r, 0)²)) over all steps.
    """
    if len(returns) < 2:
        return None
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    return float(returns.mean()) / downside * math.sqrt(per_year) if downside else None


def calmar(total_return: float | None, elapsed_s: float, drawdown: float | None) -> float | None:
    """Return (return × a year ÷ elapsed) ÷ maximum drawdown (Young 1991); both as shares.

    Arithmetic, because compounding half a minute to a year means nothing. None without a loss.
    """
    if total_return is None or not drawdown or elapsed_s <= 0:
        return None
    return total_return * YEAR_S / elapsed_s / drawdown


class DrawdownTracker:
    """The largest fall of equity below a peak, and its length, over consecutive blocks of values."""

    def __init__(self, start: int, equity: float) -> None:
        """``equity`` at ``start`` (ns) is the first peak."""
        self._peak, self._peak_at = equity, start
        self._end = start
        self._is_below = False
        self.usd = 0.0
        self.from_peak = equity
        """The peak before the largest fall."""
        self.peak_at = self.trough_at = start
        self.recovered_at: int | None = start
        self.longest = 0
        """Longest time below a peak, of any depth, in ns."""

    def update(self, clock: npt.NDArray[np.int64], equity: Floats) -> None:
        """Add values in order, with their instants (ns)."""
        if not len(equity):
            return
        peaks = np.maximum(np.maximum.accumulate(equity), self._peak)
        place = np.arange(len(equity))
        last_peak = np.maximum.accumulate(np.where(equity >= peaks, place, -1))
        peak_at = np.where(last_peak < 0, self._peak_at, clock[np.maximum(last_peak, 0)])
        fall = peaks - equity
        is_below = fall > 0
        was_below = np.concatenate(([self._is_below], is_below[:-1]))
        # The time below a peak ends at the value that reaches the peak again.
        since = np.where(is_below, peak_at, np.concatenate(([self._peak_at], peak_at[:-1])))
        self.longest = max(self.longest, int(np.where(is_below | was_below, clock - since, 0).max()))
        deepest = int(fall.argmax())
        if fall[deepest] > self.usd:
            self.usd, self.from_peak = float(fall[deepest]), float(peaks[deepest])
            self.peak_at, self.trough_at = int(peak_at[deepest]), int(clock[deepest])
            self.recovered_at = None
            self._recover(clock[deepest:], equity[deepest:])
        elif self.recovered_at is None:
            self._recover(clock, equity)
        self._peak, self._peak_at, self._end = float(peaks[-1]), int(peak_at[-1]), int(clock[-1])
        self._is_below = bool(is_below[-1])

    def _recover(self, clock: npt.NDArray[np.int64], equity: Floats) -> None:
        again = np.flatnonzero(equity >= self.from_peak)
        if len(again):
            self.recovered_at = int(clock[again[0]])

    @property
    def length(self) -> int:
        """Nanoseconds from the peak to the recovery, or to the last value."""
        return (self._end if self.recovered_at is None else self.recovered_at) - self.peak_at
