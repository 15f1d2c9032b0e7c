"""The execution engine: ticks and signals in order -> audit records in order (S7, S9, S10, I1, I2, I3).

in: `Step`s, operators' commands · out: for every signal its record, then one veto or one order with
its events and trades. The same input gives the same records however the ticks are cut into steps. It
owns everything that trading remembers; one thread calls it. Nothing here waits, reads a clock or
opens a file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal

import msgspec
import numpy as np

from hybrid_platform.config import Mode, SessionSettings
from hybrid_platform.domain.clocks import NS_PER_MS
from hybrid_platform.domain.commands import Command, TradingState
from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.domain.ids import order_id_of
from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.domain.orders import InputKind, Record, Signal, SignalRecord, VetoRecord
from hybrid_platform.domain.reasons import VetoReason
from hybrid_platform.domain.steps import Step
from hybrid_platform.trading.accounts import Account
from hybrid_platform.trading.checks import checks_of
from hybrid_platform.trading.desk import OrderDesk
from hybrid_platform.trading.exposure import Exposure
from hybrid_platform.trading.journal import Journal
from hybrid_platform.trading.marks import Mark, Marks
from hybrid_platform.trading.order import Order
from hybrid_platform.trading.risk import Refused, RiskContext, RiskEngine
from hybrid_platform.trading.shadow import ShadowAdapter


class TradingCounters(msgspec.Struct, frozen=True):
    """A snapshot of what execution did."""

    signals: int
    vetoes: int
    veto_reasons: dict[str, int]
    orders: int
    trades: int
    rejects: int
    open_orders: int
    exposure_usd: Decimal
    """Σ |position| at the last prices."""
    state: TradingState


class ExecutionEngine:
    """Judges signals, places orders, keeps accounts."""

    def __init__(
        self, settings: SessionSettings, table: InstrumentTable, *, late: Mapping[str, int] | None = None
    ) -> None:
        """Start flat. ``late``: signal id -> instant of its late decision, to reproduce a session.

        Raises ConfigError in mode LIVE: no live adapter ships (S14).
        """
        if settings.mode is Mode.LIVE:
            raise ConfigError([Fault("mode", "SHADOW or PAPER: no live adapter is installed", "LIVE")])
        self._table = table
        self._late = late or {}
        self._max_staleness = settings.risk.max_staleness_ms * NS_PER_MS
        self._journal = Journal()
        self._marks = Marks(table)
        self._account = Account(self._instrument)
        collar = max(settings.risk.price_collar_bps or Decimal(0), settings.execution.slippage_bps)
        exposure = Exposure(self._account, self._marks, settings.risk.usd_rates, collar)
        self._exposure = exposure
        self._desk = OrderDesk(self._journal, self._account, exposure)
        self._risk = RiskEngine(checks_of(settings.risk))
        self._context = RiskContext(self._marks, exposure)
        self._adapter = ShadowAdapter(settings.execution.slippage_bps, settings.execution.fee_bps)
        self._seen: dict[str, int] = {}
        self._signals = 0
        self._vetoes: Counter[VetoReason] = Counter()

    def on_step(self, step: Step, decided_at: int | None = None) -> list[Record]:
        """Take a step's journal entries, ticks and signals in order; return the records they made.

        ``decided_at`` (ns): when execution got to the step, in a live feed. A signal that is then
        older than ``max_staleness_ms`` is vetoed, and the instant journalled.
        """
        for entry in step.inputs:
            self._journal.entry(entry.after_seq, entry.kind, entry.ts, entry.detail)
        ticks, signals = step.ticks, step.signals
        if step.timer is not None:
            self._marks.tell(step.timer)
        if len(ticks):
            self._marks.begin(ticks)
        if signals:
            seqs = np.array([signal.seq for signal in signals], dtype=np.int64)
            for signal, stop in zip(signals, np.searchsorted(ticks.seq, seqs, side="right").tolist(), strict=True):
                self._marks.advance(stop)
                self._on_signal(signal, decided_at)
        self._marks.end()
        return self._journal.take()

    def on_command(self, command: Command, after_seq: int, ts: int) -> list[Record]:
        """Carry out and journal an operator's command."""
        self._marks.tell(ts)
        self._journal.entry(after_seq, InputKind.COMMAND, ts, command.as_detail())
        self._context.state = command.kind.state
        self._context.state_why = f"{command.kind} by {command.who}: {command.why}"
        return self._journal.take()

    def finish(self) -> list[Record]:
        """Return the records of the session's end."""
        return self._journal.take()

    @property
    def counters(self) -> TradingCounters:
        """What was done so far."""
        return TradingCounters(
            self._signals,
            self._vetoes.total(),
            {reason.value: count for reason, count in tuple(self._vetoes.items())},
            self._desk.orders,
            self._desk.trades,
            self._desk.rejects,
            self._desk.open_orders,
            self._exposure.positions_usd(),
            self._context.state,
        )

    def _on_signal(self, signal: Signal, decided_at: int | None) -> None:
        self._signals += 1
        repeats = self._seen.get(signal.signal_id, 0)
        self._seen[signal.signal_id] = repeats + 1
        # A repetition is a row of its own, so that neither the first one's row nor its fate changes (I3).
        signal_id = f"{signal.signal_id}#{repeats + 1}" if repeats else signal.signal_id
        item = signal.instrument
        self._journal.records.append(
            SignalRecord(
                signal_id,
                signal.seq,
                item.venue,
                item.symbol,
                signal.side,
                signal.size,
                signal.confidence,
                signal.reason,
                signal.ts,
            )
        )
        index = self._table.find(item.venue, item.symbol)
        context = self._context
        context.mark = None if index is None else self._marks.mark(index)
        order = self._candidate(signal, signal_id, index, context.mark)
        context.decided_at = self._decided_at(signal, decided_at)
        context.is_repeated = repeats > 0
        context.open_orders = self._desk.open_orders
        context.projected = None
        verdict = self._risk.judge(order, context)
        if isinstance(verdict, Refused):
            self._veto(order, verdict.reason, verdict.detail)
            return
        self._desk.execute_at_once(order, *self._adapter.execute(verdict))

    def _candidate(self, signal: Signal, signal_id: str, index: int | None, mark: Mark | None) -> Order:
        return Order(
            order_id_of(signal_id),
            signal_id,
            signal.seq,
            -1 if index is None else index,
            signal.instrument if index is None else self._table[index],
            signal.side,
            signal.type,
            signal.size,
            signal.reference_price if mark is None else mark[0],
            signal.limit_price,
            signal.time_in_force,
            signal.expires_at,
            signal.reduce_only,
            max(self._marks.now, signal.ts),
        )

    def _decided_at(self, signal: Signal, decided_at: int | None) -> int:
        """Return the instant of the decision: the signal's own, or a later one that made it late and is journalled."""
        decided = self._late.get(signal.signal_id, decided_at)
        mark = self._context.mark
        if decided is None or mark is None or decided - mark[2] <= self._max_staleness:
            return signal.ts
        self._journal.entry(signal.seq, InputKind.LATE_DECISION, decided, json.dumps({"signal_id": signal.signal_id}))
        return max(decided, signal.ts)

    def _veto(self, order: Order, reason: VetoReason, detail: str) -> None:
        self._vetoes[reason] += 1
        item = order.instrument
        self._journal.records.append(
            VetoRecord(order.signal_id, order.seq, item.venue, item.symbol, reason, detail, order.ts)
        )

    def _instrument(self, venue: str, symbol: str) -> Instrument:
        index = self._table.find(venue, symbol)
        if index is None:
            raise KeyError(f"{venue}:{symbol}")
        return self._table[index]
