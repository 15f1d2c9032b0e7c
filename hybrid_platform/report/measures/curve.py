"""Equity and exposure at the prices that came: every valued tick counts, some hundred equal steps are kept.

in: blocks of prices in order, and a `Tape` that goes with them · out: a `Curve`, the drawdown over every value,
means over time, and the prices at which unfilled orders ended. Memory does not grow with the session.

A fill counts from the first tick at which the session clock has reached it, and never before its order's tick.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hybrid_platform.domain.clocks import NS_PER_MS, NS_PER_S
from hybrid_platform.domain.ticks import Int64s
from hybrid_platform.report.measures.marks import FillMarks
from hybrid_platform.report.measures.returns import DrawdownWatch, Floats
from hybrid_platform.report.measures.tape import Columns, Tape, Working

MAX_STEPS = 600
_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
STEPS_NS: tuple[int, ...] = (
    *(factor * 10**power * NS_PER_MS for power in range(3) for factor in (1, 2, 5)),
    *(seconds * NS_PER_S for seconds in _SECONDS),
)


def step_of(elapsed_ns: int) -> int:
    """Return the shortest round step (ns) that cuts a time into at most `MAX_STEPS`; whole days for long ones."""
    longest = STEPS_NS[-1]
    several_days = longest * -(-elapsed_ns // (longest * MAX_STEPS))
    return next((step for step in STEPS_NS if step * MAX_STEPS >= elapsed_ns), several_days)


class Curve(NamedTuple):
    """One value for each step of the session clock, at its end."""

    ts: Int64s
    """Ends of the steps, ns."""
    equity: Floats
    low: Floats
    """Lowest equity within the step."""
    high: Floats
    exposure: Floats
    """Highest within the step; where no tick came, what was held."""
    price: Floats
    """Last price of each instrument, shape (steps, instruments); NaN before its first."""
    marks: FillMarks
    """Where fills are marked."""


class CurveBuilder:
    """Takes price blocks in order; owned by one reader."""

    def __init__(self, tape: Tape, start: int, end: int, starting_cash: float) -> None:
        """``start``, ``end``: the session clock at the first tick and at the last tick or fill, ns."""
        self._cash = starting_cash
        self._start, self._step = start, step_of(max(1, end - start))
        steps = max(1, -(-max(1, end - start) // self._step))
        self._equity, self._exposure, self._at_end = (np.full(steps, np.nan) for _ in range(3))
        self._low, self._high = np.full(steps, np.nan), np.full(steps, np.nan)
        self._price = np.full((steps, len(tape.instruments)), np.nan)
        self._tape = tape
        self._fills = tape.take_fills()
        self._marks = FillMarks(start + self._step, start + self._step * steps)
        self._units = np.array([float(tape.rate(item) * item.multiplier) for item in tape.instruments])
        self._quanta = np.array([10.0**-item.price_scale for item in tape.instruments])
        self._paid = 0.0
        self._net, self._last = np.zeros(len(tape.instruments)), np.full(len(tape.instruments), np.nan)
        self._clock = start
        self._held = 0.0
        self._area = self._in_market = 0.0
        self.most = 0.0
        self.drawdown = DrawdownWatch(start, starting_cash)
        self._wanted: list[Working] = []
        """Orders that ended with a rest, and wait for the price at that instant."""

    def look(self, block: Int64s) -> None:
        """Take a block of ``(seq, instrument, price units, receive time)``."""
        seq, instrument, ts = block[:, 0], block[:, 1], block[:, 3]
        clock = np.maximum(np.maximum.accumulate(ts), self._clock)
        price = block[:, 2] * self._quanta[instrument]
        self._advance(int(clock[-1]))
        fills, places = self._fills_of(clock, seq)
        cash = _stepped(places, fills["cash_usd"], self._paid, len(block))
        equity, exposure = self._cash + cash, np.zeros(len(block))
        self._look_up(clock, instrument, price)
        traded = np.flatnonzero(self._net != 0).tolist()
        for item in sorted({*traded, *fills["instrument"].tolist()}):
            own = fills["instrument"] == item
            net = _stepped(places[own], fills["net"][own], self._net[item], len(block))
            last = _carried(instrument == item, price, self._last[item])
            worth = np.where(net == 0, 0.0, net * last) * self._units[item]
            equity += worth
            exposure += np.abs(worth)
            self._net[item] = net[-1]
        self._keep(clock, equity, exposure, instrument, price)
        self._paid = float(cash[-1])
        self._clock = int(clock[-1])

    def finish(self) -> Curve:
        """Value what came after the last tick, and return the curve."""
        self._tape.finish()
        self._take(self._tape.take_fills())
        rest = self._fills
        for item, net in zip(rest["instrument"].tolist(), rest["net"], strict=True):
            self._net[item] = net
        self._paid = float(rest["cash_usd"][-1]) if len(rest["ts"]) else self._paid
        worth = np.where(self._net == 0, 0.0, self._net * self._last) * self._units
        at = np.array([max(self._clock, int(rest["ts"].max(initial=self._clock)))])
        self._keep(at, np.array([self._cash + self._paid + worth.sum()]), np.array([np.abs(worth).sum()]))
        self._clock = int(at[0])
        for working in (*self._wanted, *self._tape.take_ended()):
            working.price_at_end = float(self._last[working.instrument])
        self._tape.settle(dict(enumerate(self._last.tolist())))
        equity = _filled_forward(self._equity, self._cash)
        ends = self._start + self._step * np.arange(1, len(equity) + 1)
        low = np.where(np.isnan(self._low), equity, self._low)
        high = np.where(np.isnan(self._high), equity, self._high)
        exposure = np.where(np.isnan(self._exposure), _filled_forward(self._at_end, 0.0), self._exposure)
        return Curve(ends, equity, low, high, exposure, self._price, self._marks)

    @property
    def step_ns(self) -> int:
        """How long a step is."""
        return self._step

    @property
    def elapsed_ns(self) -> int:
        """The session clock from the first tick to the last event."""
        return self._clock - self._start

    @property
    def mean_exposure(self) -> float:
        """Weighted by time."""
        return self._area / self.elapsed_ns if self.elapsed_ns else self._held

    @property
    def in_market(self) -> float:
        """The share of the time with a position."""
        return self._in_market / self.elapsed_ns if self.elapsed_ns else float(self._held > 0)

    def _advance(self, until: int) -> None:
        """Let the tape go on to an instant; what it tells is what happened until then."""
        self._tape.advance(until)
        self._take(self._tape.take_fills())
        self._wanted += self._tape.take_ended()

    def _take(self, new: Columns) -> None:
        self._marks.note(*(new[name] for name in ("instrument", "side", "ts", "price", "qty")))
        self._fills = {name: np.concatenate((waiting, new[name])) for name, waiting in self._fills.items()}

    def _fills_of(self, clock: Int64s, seq: Int64s) -> tuple[Columns, Int64s]:
        """Take the fills that count within a block, and from which of its ticks; the others wait."""
        by_clock = np.searchsorted(clock, self._fills["ts"], side="left")
        by_seq = np.searchsorted(seq, self._fills["seq"], side="left")
        places = np.maximum.accumulate(np.maximum(by_clock, by_seq))
        count = int(np.searchsorted(places, len(clock), side="left"))
        taken = {name: column[:count] for name, column in self._fills.items()}
        self._fills = {name: column[count:] for name, column in self._fills.items()}
        return taken, places[:count]

    def _look_up(self, clock: Int64s, instrument: Int64s, price: Floats) -> None:
        """Find the prices at which unfilled orders ended: the last tick at or before that instant."""
        ended = [working for working in self._wanted if working.end is not None and working.end < clock[-1]]
        self._wanted = [working for working in self._wanted if working.end is None or working.end >= clock[-1]]
        at = np.searchsorted(clock, np.array([working.end for working in ended], dtype=np.int64), side="right")
        for item in {working.instrument for working in ended}:
            last = np.concatenate(([self._last[item]], _carried(instrument == item, price, self._last[item])))
            for working, place in zip(ended, at.tolist(), strict=True):
                if working.instrument == item:
                    working.price_at_end = float(last[place])

    def _keep(
        self,
        clock: Int64s,
        equity: Floats,
        exposure: Floats,
        instrument: Int64s | None = None,
        price: Floats | None = None,
    ) -> None:
        lengths = np.diff(np.concatenate(([self._clock], clock)))
        before = np.concatenate(([self._held], exposure[:-1]))
        self._area += float((before * lengths).sum())
        self._in_market += float(lengths[before > 0].sum())
        self.most = max(self.most, float(exposure.max()))
        self._held = float(exposure[-1])
        self.drawdown.look(clock, equity)
        steps = np.minimum((clock - self._start) // self._step, len(self._equity) - 1)
        starts = np.concatenate(([0], np.flatnonzero(np.diff(steps)) + 1))
        which, last = steps[starts], np.concatenate((starts[1:], [len(steps)])) - 1
        self._equity[which], self._at_end[which] = equity[last], exposure[last]
        self._low[which] = np.fmin(self._low[which], np.minimum.reduceat(equity, starts))
        self._high[which] = np.fmax(self._high[which], np.maximum.reduceat(equity, starts))
        self._exposure[which] = np.fmax(self._exposure[which], np.maximum.reduceat(exposure, starts))
        if instrument is not None and price is not None:
            # Where an instrument is there more than once in a step, numpy leaves the last one's value.
            self._price[steps, instrument] = price
            self._last[instrument] = price


def _stepped(places: Int64s, values: Floats, before: float, length: int) -> Floats:
    """Return a value that changes at some places, at each of ``length`` places."""
    if not len(places):
        return np.full(length, before)
    steps = np.concatenate(([before], values))
    return steps[np.searchsorted(places, np.arange(length), side="right")]


def _carried(is_own: npt.NDArray[np.bool_], price: Floats, before: float) -> Floats:
    """Return an instrument's last price at each tick."""
    place = np.maximum.accumulate(np.where(is_own, np.arange(1, len(price) + 1), 0))
    return np.concatenate(([before], price))[place]


def _filled_forward(values: Floats, first: float) -> Floats:
    place = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(1, len(values) + 1)))
    return np.concatenate(([first], values))[place]
