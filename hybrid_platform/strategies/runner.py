"""The strategy runner: stamps a strategy's signals, fires its timers, journals its holes (S8).

in: numbered `TickBatch`es · out: `DecisionStep`s. A hole is a range of ticks that were dropped before the
strategy. Pure and deterministic: the same ticks, holes and timers give the same signals and journal
entries, however the ticks are cut into batches.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.domain.errors import StrategyError
from hybrid_platform.domain.ids import make_signal_id
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.orders import DecisionStep, InputKind, InputRecord, Signal
from hybrid_platform.domain.ticks import TickBatch, batch_from_rows
from hybrid_platform.strategies.base import Strategy

MAX_REASON = 200
"""Characters of a signal's reason."""
EXECUTION_TIMER_SECONDS = 1.0
"""Interval at which the session clock moves for a paper venue while no ticks arrive."""


class StrategyRunner:
    """Owner of one strategy; called by one thread."""

    def __init__(
        self,
        strategy: Strategy[Any],
        table: InstrumentTable,
        *,
        warm_start_ticks: int = 0,
        execution_timer: bool = False,
        is_journalled: bool = False,
    ) -> None:
        """Wrap a strategy.

        ``execution_timer``: fire timers even if the strategy has none. ``is_journalled``: a finished session
        is reproduced, and only the timers in its journal fire (see `on_entry`).
        """
        self._strategy = strategy
        self._no_ticks = batch_from_rows(table, [])
        self._warm_start_ticks = warm_start_ticks
        seconds = strategy.timer_seconds or (EXECUTION_TIMER_SECONDS if execution_timer else None)
        self._interval_ns = int(seconds * NS_PER_S) if seconds and not is_journalled else 0
        self._due = 0
        self._clock = 0
        self._seq = 0
        self._accounted = 0
        """The last tick that was seen, or was journalled as dropped."""
        self._ordinal = 0

    @property
    def last_seq(self) -> int:
        """The last tick that the strategy received; 0 before the first."""
        return self._seq

    @property
    def ticks_remaining(self) -> int:
        """Ticks of the current batch that the strategy has not received; may be read by any thread."""
        return self._strategy.ticks_remaining

    def on_batch(self, batch: TickBatch) -> Iterator[DecisionStep]:
        """Pass a batch of ticks (in order of ``seq``, holes allowed) to the strategy; yield its steps.

        Raises StrategyError if the strategy raised or returned something other than signals. The steps before
        the failure are yielded first: a failure does not withdraw earlier decisions.
        """
        for part, hole in self._split_at_holes(batch):
            rest = part
            inputs: tuple[InputRecord, ...] = (hole,) if hole else ()
            while self._interval_ns and len(rest) and (cut := self._find_first_due(rest)) is not None:
                if cut:
                    yield from self._run_strategy(rest[:cut], inputs)
                    inputs = ()
                yield self._fire_timer(self._latest_due(int(rest.ts_recv[cut])), inputs)
                inputs, rest = (), rest[cut:]
            if len(rest):
                yield from self._run_strategy(rest, inputs)

    def on_idle(self, now: int) -> list[DecisionStep]:
        """Fire the timer if it is due by the wall clock although no tick arrived (live feeds)."""
        if not self._interval_ns or not self._clock or now < self._due:
            return []
        return [self._fire_timer(self._latest_due(now))]

    def on_end(self, last_seq: int) -> list[DecisionStep]:
        """Journal the hole at the end, if ticks up to ``last_seq`` were dropped."""
        if last_seq <= self._accounted:
            return []
        hole = self._build_hole(last_seq + 1)
        self._accounted = last_seq
        return [DecisionStep(self._no_ticks, (), (hole,))]

    def on_entry(self, entry: InputRecord) -> list[DecisionStep]:
        """Replay a journal entry for the strategy: a hole or a timer; ignore other entries.

        Raises ValueError for a hole without a last tick.
        """
        if entry.kind is InputKind.TIMER:
            return [self._fire_timer(entry.ts)]
        return self.on_end(parse_drop(entry)[1]) if entry.kind is InputKind.DROP else []

    def _split_at_holes(self, batch: TickBatch) -> Iterable[tuple[TickBatch, InputRecord | None]]:
        """Cut a batch at its holes; yield each part with the hole before it."""
        if not len(batch):
            return
        # In a live session most batches have one tick, and numpy's calls would cost more than all the rest.
        holes = (np.flatnonzero(np.diff(batch.seq) != 1) + 1).tolist() if len(batch) > 1 else []
        for start, end in pairwise([0, *holes, len(batch)]):
            part = batch[start:end] if holes else batch
            first = int(part.seq[0])
            if first <= self._accounted:
                raise ValueError(f"expected ticks after seq {self._accounted}, got {first}")
            yield part, self._build_hole(first) if first != self._accounted + 1 else None

    def _build_hole(self, next_seq: int) -> InputRecord:
        detail = json.dumps({"first": self._seq + 1, "last": next_seq - 1})
        return InputRecord(0, self._seq, InputKind.DROP, self._clock, detail)

    def _run_strategy(self, ticks: TickBatch, inputs: tuple[InputRecord, ...]) -> Iterator[DecisionStep]:
        first, last = int(ticks.seq[0]), int(ticks.seq[-1])
        stamped: list[Signal] = []
        at, ordinal = first - 1, 0
        failure: StrategyError | None = None
        try:
            for signal in self._strategy.on_batch(ticks):
                self._check_signal(signal, f"ticks {first} to {last}")
                if not max(first, at) <= signal.seq <= last:
                    expected = f"a signal at a tick of {max(first, at)} to {last}, in order"
                    raise StrategyError(f"strategy {self._name}: expected {expected}, got at {signal.seq}")
                ordinal = ordinal + 1 if signal.seq == at else 1
                at = signal.seq
                if at > self._warm_start_ticks:
                    stamped.append(self._stamp(signal, ordinal, int(ticks.ts_recv[at - first])))
        except StrategyError as error:
            failure = error
        except (Exception, SystemExit) as error:
            failure = self._build_error(error, f"ticks {first} to {last}")
        if failure is not None:
            ticks = ticks[: max(at - first + 1, self._count_before_failure(len(ticks)))]
        if len(ticks):
            self._seq = self._accounted = int(ticks.seq[-1])
            self._clock = max(self._clock, int(ticks.ts_recv.max()))
            self._ordinal = ordinal if at == self._seq else 0
            yield DecisionStep(ticks, tuple(stamped), inputs)
        if failure is not None:
            raise failure

    def _count_before_failure(self, count: int) -> int:
        """Return how many of the ticks preceded the failed one; 0 if the strategy processes whole batches."""
        one_by_one = type(self._strategy).on_batch is Strategy.on_batch
        return count - self._strategy.ticks_remaining - 1 if one_by_one else 0

    def _fire_timer(self, now: int, inputs: tuple[InputRecord, ...] = ()) -> DecisionStep:
        stamped = []
        for made in self._on_timer(now):
            signal = made if made.seq == self._seq else msgspec.structs.replace(made, seq=self._seq)
            self._ordinal += 1
            if self._seq > self._warm_start_ticks:
                stamped.append(self._stamp(signal, self._ordinal, now))
        journal = InputRecord(0, self._seq, InputKind.TIMER, now, "{}")
        self._clock = max(self._clock, now)
        if self._interval_ns:
            self._due = now - now % self._interval_ns + self._interval_ns
        return DecisionStep(self._no_ticks, tuple(stamped), (*inputs, journal), timer=now)

    def _find_first_due(self, ticks: TickBatch) -> int | None:
        """Return the position of the first tick at or after the timer's due time, or None."""
        if not self._due:
            start = int(ticks.ts_recv[0])
            self._due = start - start % self._interval_ns + self._interval_ns
        late = np.flatnonzero(ticks.ts_recv >= self._due)
        return int(late[0]) if len(late) else None

    def _latest_due(self, now: int) -> int:
        """Return the last multiple of the timer's interval up to now: missed timers fire once."""
        return max(self._due, now - now % self._interval_ns)

    def _on_timer(self, now: int) -> list[Signal]:
        where = f"timer at {now}"
        try:
            signals = list(_as_signals(self._strategy.on_timer(now)))
        except (Exception, SystemExit) as error:
            raise self._build_error(error, where) from error
        for signal in signals:
            self._check_signal(signal, where)
        return signals

    def _check_signal(self, signal: object, where: str) -> None:
        fault = _find_fault(signal)
        if fault:
            raise StrategyError(f"strategy {self._name} at {where}: expected {fault}")

    def _build_error(self, error: BaseException, where: str) -> StrategyError:
        """Return the error for an exception of user code, with the tick that `Strategy.on_batch` noted."""
        tick = next((note for note in getattr(error, "__notes__", ())[::-1] if note.startswith("tick ")), where)
        failure = StrategyError(f"strategy {self._name} raised at {tick}: {describe(error)}")
        failure.__cause__ = error
        return failure

    def _stamp(self, signal: Signal, ordinal: int, ts: int) -> Signal:
        return msgspec.structs.replace(signal, signal_id=make_signal_id(signal.seq, ordinal), ts=ts)

    @property
    def _name(self) -> str:
        return type(self._strategy).__name__


def parse_drop(entry: InputRecord) -> tuple[int, int]:
    """Return the first and last tick of a DROP entry; raise ValueError if its detail is malformed."""
    try:
        detail = json.loads(entry.detail)
        first, last = detail["first"], detail["last"]
    except (KeyError, TypeError, ValueError):
        first = last = None
    if not (isinstance(first, int) and isinstance(last, int) and entry.after_seq < first <= last):
        raise ValueError(f"inputs n={entry.n}: expected first and last tick of a hole, got {entry.detail[:80]!r}")
    return first, last


def _as_signals(result: Signal | Iterable[Signal] | None) -> Iterable[Signal]:
    if result is None:
        return ()
    return (result,) if isinstance(result, Signal) else result


def _find_fault(signal: object) -> str:
    """Return what is wrong with an object that a strategy returned; empty for a valid signal."""
    if not isinstance(signal, Signal):
        return f"a Signal, got {type(signal).__name__}"
    reason = signal.reason
    # A reason must be storable as text, and short enough not to fill the tables.
    if not isinstance(reason, str) or not 0 < len(reason) <= MAX_REASON or not reason.isprintable():
        return f"a reason of 1 to {MAX_REASON} printable characters, got {reason!r:.60}"
    if not isinstance(signal.confidence, (int, float)) or not 0 <= signal.confidence <= 1:
        return f"a confidence from 0 to 1, got {signal.confidence!r:.60}"
    if not isinstance(signal.size, Decimal) or not signal.size.is_finite():
        return f"a size that is a finite Decimal, got {signal.size!r:.60}"
    return ""


def describe(error: BaseException) -> str:
    """Return an exception in one line, with the place in the user's code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
