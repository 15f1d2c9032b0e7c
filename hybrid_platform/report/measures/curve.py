"""Equity and exposure at the recorded prices: every valued tick counts, up to 600 equal steps are kept.

in: blocks of prices in order, and the `SessionReplay` of the same session · out: a `Curve`, the drawdown over every
value, means over time, and the prices at which unfilled orders ended. Memory does not grow with the session.

A fill counts from the first tick at which the session clock has reached it, and never before its order's tick.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hybrid_platform.domain.clocks import NS_PER_MS, NS_PER_S
from hybrid_platform.domain.ticks import Int64s
from hybrid_platform.report.measures.fill_marks import FillMarks
from hybrid_platform.report.measures.replay import Columns, SessionReplay, TrackedOrder
from hybrid_platform.report.measures.returns import DrawdownTracker, Floats

MAX_STEPS = 600
_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
STEPS_NS: tuple[int, ...] = (
    *(factor * 10**power * NS_PER_MS for power in range(3) for factor in (1, 2, 5)),
    *(seconds * NS_PER_S for seconds in _SECONDS),
)


def choose_step(elapsed_ns: int) -> int:
    """Return the shortest round step (ns) that divides a time into at most `MAX_STEPS`; whole days for long times."""
    longest = STEPS_NS[-1]
    several_days = longest * -(-elapsed_ns // (longest * MAX_STEPS))
    return next((step for step in STEPS_NS if step * MAX_STEPS >= elapsed_ns), several_days)


class Curve(NamedTuple):
    """One value for the end of each step of the session clock."""

    ts: Int64s
    """Ends of the steps, ns."""
    equity: Floats
    low: Floats
    """Lowest equity within the step."""
    high: Floats
    exposure: Floats
    """Highest within the step; in a step without ticks, that of the held positions."""
    price: Floats
    """Last price of each instrument, shape (steps, instruments); NaN before the first price."""
    marks: FillMarks
    """Marks of the fills."""


class CurveBuilder:
    """Builder of a curve from price blocks in order. Owned by one reader."""

    def __init__(self, replay: SessionReplay, start: int, end: int, starting_cash: float) -> None:
        """``start`` and ``end``: session clock at the first tick, and at the last tick or fill, in ns."""
        self._cash = starting_cash
        self._start, self._step = start, choose_step(max(1, end - start))
        steps = max(1, -(-max(1, end - start) // self._step))
        self._equity, self._exposure, self._at_end = (np.full(steps, np.nan) for _ in range(3))
        self._low, self._high = np.full(steps, np.nan), np.full(steps, np.nan)
        self._price = np.full((steps, len(replay.instruments)), np.nan)
        self._replay = replay
        self._fills = replay.drain_fills()
        self._marks = FillMarks(start + self._step, start + self._step * steps)
        self._units = np.array([float(replay.usd_rate(item) * item.multiplier) for item in replay.instruments])
        self._quanta = np.array([10.0**-item.price_scale for item in replay.instruments])
        self._paid = 0.0
        self._net, self._last = np.zeros(len(replay.instruments)), np.full(len(replay.instruments), np.nan)
        self._clock = start
        self._held = 0.0
        self._area = self._in_market = 0.0
        self.max_exposure = 0.0
        self.drawdown = DrawdownTracker(start, starting_cash)
        self._awaiting_price: list[TrackedOrder] = []
        """Orders that ended unfilled and whose price at that instant is not known yet."""

    def add_block(self, block: Int64s) -> None:
        """Add a block of rows ``(seq, instrument, price units, receive time)``."""
        seq, instrument, ts = block[:, 0], block[:, 1], block[:, 3]
        clock = np.maximum(np.maximum.accumulate(ts), self._clock)
        price = block[:, 2] * self._quanta[instrument]
        self._advance(int(clock[-1]))
        fills, places = self._take_fills_within(clock, seq)
        cash = _step_values(places, fills["cash_usd"], self._paid, len(block))
        equity, exposure = self._cash + cash, np.zeros(len(block))
        self._price_ended_orders(clock, instrument, price)
        traded = np.flatnonzero(self._net != 0).tolist()
        for item in sorted({*traded, *fills["instrument"].tolist()}):
            own = fills["instrument"] == item
            net = _step_values(places[own], fills["net"][own], self._net[item], len(block))
            last = _carry_last_price(instrument == item, price, self._last[item])
            worth = np.where(net == 0, 0.0, net * last) * self._units[item]
            equity += worth
            exposure += np.abs(worth)
            self._net[item] = net[-1]
        self._record(clock, equity, exposure, instrument, price)
        self._paid = float(cash[-1])
        self._clock = int(clock[-1])

    def finish(self) -> Curve:
        """Value the account after the last tick, and return the curve."""
        self._replay.finish()
        self._add_fills(self._replay.drain_fills())
        rest = self._fills
        for item, net in zip(rest["instrument"].tolist(), rest["net"], strict=True):
            self._net[item] = net
        self._paid = float(rest["cash_usd"][-1]) if len(rest["ts"]) else self._paid
        worth = np.where(self._net == 0, 0.0, self._net * self._last) * self._units
        at = np.array([max(self._clock, int(rest["ts"].max(initial=self._clock)))])
        self._record(at, np.array([self._cash + self._paid + worth.sum()]), np.array([np.abs(worth).sum()]))
        self._clock = int(at[0])
        for order in (*self._awaiting_price, *self._replay.drain_ended_orders()):
            order.price_at_end = float(self._last[order.instrument])
        self._replay.settle(dict(enumerate(self._last.tolist())))
        equity = _fill_forward(self._equity, self._cash)
        ends = self._start + self._step * np.arange(1, len(equity) + 1)
        low = np.where(np.isnan(self._low), equity, self._low)
        high = np.where(np.isnan(self._high), equity, self._high)
        exposure = np.where(np.isnan(self._exposure), _fill_forward(self._at_end, 0.0), self._exposure)
        return Curve(ends, equity, low, high, exposure, self._price, self._marks)

    @property
    def step_ns(self) -> int:
        """Length of a step."""
        return self._step

    @property
    def elapsed_ns(self) -> int:
        """Time on the session clock from the first tick to the last event."""
        return self._clock - self._start

    @property
    def mean_exposure(self) -> float:
        """Mean exposure, weighted by time."""
        return self._area / self.elapsed_ns if self.elapsed_ns else self._held

    @property
    def in_market(self) -> float:
        """Share of the time with a position."""
        return self._in_market / self.elapsed_ns if self.elapsed_ns else float(self._held > 0)

    def _advance(self, until: int) -> None:
        """Advance the replay to an instant, and take the fills and ended orders up to then."""
        self._replay.advance(until)
        self._add_fills(self._replay.drain_fills())
        self._awaiting_price += self._replay.drain_ended_orders()

    def _add_fills(self, new: Columns) -> None:
        self._marks.add(*(new[name] for name in ("instrument", "side", "ts", "price", "qty")))
        self._fills = {name: np.concatenate((waiting, new[name])) for name, waiting in self._fills.items()}

    def _take_fills_within(self, clock: Int64s, seq: Int64s) -> tuple[Columns, Int64s]:
        """Return the fills that count within a block, with the tick from which each counts; keep the others."""
        by_clock = np.searchsorted(clock, self._fills["ts"], side="left")
        by_seq = np.searchsorted(seq, self._fills["seq"], side="left")
        places = np.maximum.accumulate(np.maximum(by_clock, by_seq))
        count = int(np.searchsorted(places, len(clock), side="left"))
        taken = {name: column[:count] for name, column in self._fills.items()}
        self._fills = {name: column[count:] for name, column in self._fills.items()}
        return taken, places[:count]

    def _price_ended_orders(self, clock: Int64s, instrument: Int64s, price: Floats) -> None:
        """Set the prices at which unfilled orders ended: those of the last tick at or before that instant."""
        ended = [order for order in self._awaiting_price if order.end is not None and order.end < clock[-1]]
        self._awaiting_price = [order for order in self._awaiting_price if order.end is None or order.end >= clock[-1]]
        at = np.searchsorted(clock, np.array([order.end for order in ended], dtype=np.int64), side="right")
        for item in {order.instrument for order in ended}:
            last = np.concatenate(([self._last[item]], _carry_last_price(instrument == item, price, self._last[item])))
            for order, place in zip(ended, at.tolist(), strict=True):
                if order.instrument == item:
                    order.price_at_end = float(last[place])

    def _record(
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
        self.max_exposure = max(self.max_exposure, float(exposure.max()))
        self._held = float(exposure[-1])
        self.drawdown.update(clock, equity)
        steps = np.minimum((clock - self._start) // self._step, len(self._equity) - 1)
        starts = np.concatenate(([0], np.flatnonzero(np.diff(steps)) + 1))
        which, last = steps[starts], np.concatenate((starts[1:], [len(steps)])) - 1
        self._equity[which], self._at_end[which] = equity[last], exposure[last]
        self._low[which] = np.fmin(self._low[which], np.minimum.reduceat(equity, starts))
        self._high[which] = np.fmax(self._high[which], np.maximum.reduceat(equity, starts))
        self._exposure[which] = np.fmax(self._exposure[which], np.maximum.reduceat(exposure, starts))
        if instrument is not None and price is not None:
            # If an instrument occurs more than once in a step, numpy keeps its last value.
            self._price[steps, instrument] = price
            self._last[instrument] = price


def _step_values(places: Int64s, values: Floats, before: float, length: int) -> Floats:
    """Return a value that changes at the given places, at each of ``length`` places."""
    if not len(places):
        return np.full(length, before)
    steps = np.concatenate(([before], values))
    return steps[np.searchsorted(places, np.arange(length), side="right")]


def _carry_last_price(is_own: npt.NDArray[np.bool_], price: Floats, before: float) -> Floats:
    """Return the last price of an instrument at each tick."""
    place = np.maximum.accumulate(np.where(is_own, np.arange(1, len(price) + 1), 0))
    return np.concatenate(([before], price))[place]


def _fill_forward(values: Floats, first: float) -> Floats:
    place = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(1, len(values) + 1)))
    return np.concatenate(([first], values))[place]
