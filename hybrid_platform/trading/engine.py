"""The execution engine: ticks, signals and commands in order -> audit records in order.

in: `DecisionStep`s, operators' `Command`s · out: for every signal its record, then one veto, or one order with
its events and trades, or a cancel of one. The same input gives the same records however the ticks are
cut into steps. It owns everything that trading remembers; one thread calls it; it never waits. Carries
S7, S9, S10, S11, I1, I2, I3, I4.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal

import msgspec
import numpy as np

from hybrid_platform.domain.clocks import NS_PER_MS
from hybrid_platform.domain.commands import Command
from hybrid_platform.domain.ids import order_id_of
from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.domain.orders import DecisionStep, InputKind, Record, Signal, VetoReason
from hybrid_platform.settings.session import Mode, SessionSettings
from hybrid_platform.trading.accounts import Account
from hybrid_platform.trading.adapters.live import OrderRequest, Outbox, encode_report
from hybrid_platform.trading.adapters.paper.model import build_paper_model
from hybrid_platform.trading.adapters.paper.venue import PaperVenue
from hybrid_platform.trading.adapters.shadow import ShadowAdapter
from hybrid_platform.trading.audit_journal import AuditJournal
from hybrid_platform.trading.counters import TradingCounters
from hybrid_platform.trading.market_state import MarketState
from hybrid_platform.trading.order import ZERO, Order, Report
from hybrid_platform.trading.order_manager import OrderManager
from hybrid_platform.trading.print_sizes import PrintSizes
from hybrid_platform.trading.recent_ids import RecentIds
from hybrid_platform.trading.risk.checks import build_checks
from hybrid_platform.trading.risk.engine import Denied, RiskContext, RiskEngine
from hybrid_platform.trading.risk.exposure import Exposure
from hybrid_platform.trading.risk.kill_switch import KillSwitch
from hybrid_platform.trading.risk.loss import LossMonitor
from hybrid_platform.trading.session_time import SessionTime


class ExecutionEngine:
    """Judges signals, places orders, keeps accounts."""

    def __init__(
        self, settings: SessionSettings, table: InstrumentTable, *, late: Mapping[str, int] | None = None
    ) -> None:
        """Start flat. ``late``: signal id -> instant of its late decision, to reproduce a session.

        In mode LIVE it only lays out what it wants sent (`drain_requests`): it holds no way to a venue.
        """
        risk, execution = settings.risk, settings.execution
        self._table = table
        self._late = late or {}
        self._max_staleness = risk.max_staleness_ms * NS_PER_MS
        self._usd_rates, self._starting_cash = risk.usd_rates, execution.starting_cash_usd
        self._seen = RecentIds()
        self._vetoes: Counter[VetoReason] = Counter()
        self._journal = AuditJournal(is_shadow=settings.mode is not Mode.LIVE)
        self._account = Account(self._instrument)

        model = build_paper_model(settings) if settings.mode is Mode.PAPER else None
        self._marks = marks = MarketState(table, PrintSizes() if model and model.fills_at else None)
        venue = PaperVenue(model, marks) if model else None
        slippage = model.slippage_bps if model else execution.slippage_bps
        collar = max(risk.price_collar_bps or ZERO, slippage)
        self._exposure = Exposure(self._account, marks, risk.usd_rates, collar)
        self._outbox = Outbox() if settings.mode is Mode.LIVE else None
        adapter = venue or self._outbox or ShadowAdapter(execution.slippage_bps, execution.fee_bps)
        self._desk = OrderManager(self._journal, self._account, self._exposure, adapter)

        watch = LossMonitor(risk.max_daily_loss_usd, risk.max_drawdown_usd, execution.starting_cash_usd)
        self._context = RiskContext(marks, self._exposure)
        self._risk = RiskEngine(build_checks(risk, watch))
        self._control = KillSwitch(risk, watch, self._context, self._journal, self._desk, marks, self._equity)
        self._walk = SessionTime(table, marks, self._desk, self._account, self._control, venue)

    def on_step(self, step: DecisionStep, decided_at: int | None = None) -> list[Record]:
        """Take a step's journal entries, then its timer or its ticks and signals in order; return the records made.

        ``decided_at`` (ns): when execution got to the step, in a live feed. A signal that is then
        older than ``max_staleness_ms`` is vetoed, and the instant journalled.
        """
        for entry in step.inputs:
            self._journal.entry(entry.after_seq, entry.kind, entry.ts, entry.detail)
        ticks, signals = step.ticks, step.signals
        if step.timer is not None:
            self._walk.until(step.timer)
        if len(ticks):
            self._marks.begin(ticks)
        if signals:
            seqs = np.array([signal.seq for signal in signals], dtype=np.int64)
            for signal, stop in zip(signals, np.searchsorted(ticks.seq, seqs, side="right").tolist(), strict=True):
                self._walk.to(stop)
                self._on_signal(signal, decided_at)
        self._walk.to(len(ticks))
        self._marks.end()
        return self._journal.take()

    def on_command(self, command: Command, after_seq: int, ts: int) -> list[Record]:
        """Carry out and journal a person's command, given after a tick, at an instant (ns)."""
        self._walk.until(ts)
        self._control.command(command, after_seq)
        self._walk.settle()
        return self._journal.take()

    def on_report(self, report: Report, after_seq: int, ts: int) -> list[Record]:
        """Journal and take what a live venue said, heard after a tick, at an instant (ns).

        Raises IllegalTransitionError where no order could have it.
        """
        self._walk.until(ts)
        now = self._marks.now
        report = msgspec.structs.replace(report, ts=now)
        self._journal.entry(after_seq, InputKind.REPORT, now, encode_report(report))
        self._walk.hear(report)
        self._walk.settle()
        return self._journal.take()

    def drain_requests(self) -> tuple[OrderRequest, ...]:
        """Return the requests for a live venue since the last call, in order; empty in the other modes."""
        return () if self._outbox is None else self._outbox.drain()

    def finish(self) -> list[Record]:
        """End the session: what the venue has executed is told, what still rests is CANCELED (SESSION_END).

        What rests at a live venue stays open: this engine cannot know.
        """
        self._desk.close(self._marks.now)
        return self._journal.take()

    @property
    def counters(self) -> TradingCounters:
        """What was done so far; only the engine's own thread may ask."""
        return TradingCounters(
            signals=self._journal.signals,
            vetoes=self._vetoes.total(),
            veto_reasons={reason.value: count for reason, count in self._vetoes.items()},
            orders=self._desk.orders,
            trades=self._desk.trades,
            rejects=self._desk.rejects,
            open_orders=self._desk.open_orders,
            exposure_usd=self._exposure.positions_usd(),
            equity_usd=self._equity(),
            state=self._context.state,
            halts=self._control.halts,
        )

    @property
    def account(self) -> Account:
        """The account, for whoever compares it with one rebuilt from the trades."""
        return self._account

    def _on_signal(self, signal: Signal, decided_at: int | None) -> None:
        times = self._seen.record(signal.signal_id, signal.seq)
        # A repetition is a row of its own, so that neither the first one's row nor its fate changes (I3).
        signal_id = signal.signal_id if times == 1 else f"{signal.signal_id}#{times}"
        self._journal.signal(signal, signal_id)
        if signal.cancels is not None:
            self._cancel(signal, signal_id, times > 1)
            return
        context = self._context
        index = self._table.find(signal.instrument.venue, signal.instrument.symbol)
        context.mark = None if index is None else self._marks.mark(index)
        context.decided_at = self._decided_at(signal, decided_at)
        context.is_repeated = times > 1
        context.open_orders = self._desk.open_orders
        context.projected = None
        self._control.look()
        verdict = self._risk.judge(self._candidate(signal, signal_id, index), context)
        if isinstance(verdict, Denied):
            self._veto(signal, signal_id, verdict.reason, verdict.detail)
            return
        self._control.approved()
        self._desk.place(verdict)
        self._walk.settle()

    def _candidate(self, signal: Signal, signal_id: str, index: int | None) -> Order:
        mark = self._context.mark
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

    def _cancel(self, signal: Signal, signal_id: str, is_repeated: bool) -> None:
        """Ask to cancel an order; cancels pass in every trading state, and are judged by nothing else."""
        order_id = signal.cancels or ""
        if is_repeated:
            self._veto(signal, signal_id, VetoReason.DUPLICATE_SIGNAL, f"signal {signal.signal_id} came again")
        elif not self._desk.cancel(order_id, f"SIGNAL {signal_id}", max(self._marks.now, signal.ts)):
            self._veto(signal, signal_id, VetoReason.UNKNOWN_ORDER, f"cancels: expected an open order, got {order_id}")
        self._walk.settle()

    def _veto(self, signal: Signal, signal_id: str, reason: VetoReason, detail: str) -> None:
        self._vetoes[reason] += 1
        self._journal.veto(signal, signal_id, reason, detail, max(self._marks.now, signal.ts))
        self._control.vetoed(reason)

    def _equity(self) -> Decimal:
        return self._account.equity_usd(self._price, self._usd_rates, self._starting_cash)

    def _price(self, venue: str, symbol: str) -> Decimal:
        index = self._table.find(venue, symbol)
        return ZERO if index is None else self._marks.price(index)

    def _instrument(self, venue: str, symbol: str) -> Instrument:
        index = self._table.find(venue, symbol)
        if index is None:
            raise KeyError(f"{venue}:{symbol}")
        return self._table[index]
