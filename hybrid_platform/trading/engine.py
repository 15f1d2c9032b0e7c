"""The execution engine: ticks, signals and commands in order -> audit records in order.

in: `DecisionStep`s, operators' `Command`s, venue reports · out: for every signal its record, then one veto,
or one order with its events and trades, or the cancel of one. The same input gives the same records however
the ticks are cut into steps. It owns all trading state; one thread calls it; it never waits. Enforces S7,
S9, S10, S11, I1, I2, I3, I4.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal

import msgspec
import numpy as np

from hybrid_platform.domain.clocks import NS_PER_MS
from hybrid_platform.domain.commands import Command, TradingState
from hybrid_platform.domain.ids import make_order_id
from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.domain.orders import DecisionStep, InputKind, Record, Signal, VetoReason
from hybrid_platform.settings.session import Mode, SessionSettings
from hybrid_platform.trading.accounts import Account
from hybrid_platform.trading.adapters.live import OrderRequest, Outbox, encode_report
from hybrid_platform.trading.adapters.paper.model import build_paper_model
from hybrid_platform.trading.adapters.paper.venue import PaperVenue
from hybrid_platform.trading.adapters.shadow import ShadowAdapter
from hybrid_platform.trading.audit_journal import AuditJournal
from hybrid_platform.trading.market_state import MarketState, PrintSizes
from hybrid_platform.trading.order import ZERO, Order, Report
from hybrid_platform.trading.order_manager import OrderManager
from hybrid_platform.trading.recent_ids import RecentIds
from hybrid_platform.trading.risk.checks import build_checks
from hybrid_platform.trading.risk.engine import Denied, RiskContext, RiskEngine
from hybrid_platform.trading.risk.exposure import Exposure
from hybrid_platform.trading.risk.kill_switch import KillSwitch
from hybrid_platform.trading.risk.loss import LossMonitor
from hybrid_platform.trading.session_time import SessionTime


class TradingCounters(msgspec.Struct, frozen=True):
    """Counts since the session began, for heartbeats, logs and metrics; money in USD."""

    signals: int
    """Signals received, repeated ones included."""
    vetoes: int
    veto_reasons: dict[str, int]
    orders: int
    """Orders that risk approved."""
    trades: int
    """Fills."""
    rejects: int
    """Orders that the venue rejected."""
    open_orders: int
    exposure_usd: Decimal
    """Σ |position| at the last prices, without collar and pending quantities."""
    equity_usd: Decimal
    """Starting cash and all profit and loss, open positions at the last prices."""
    state: TradingState
    halts: int
    """Commands that halted or reduced trading, an operator's and automatic ones."""


class ExecutionEngine:
    """Judges signals, places orders, keeps accounts."""

    def __init__(
        self, settings: SessionSettings, table: InstrumentTable, *, late: Mapping[str, int] | None = None
    ) -> None:
        """Start flat. ``late``: signal id -> instant of its late decision, to reproduce a session.

        In mode LIVE it only queues order requests (see `drain_requests`): it has no connection to a venue.
        """
        risk, execution = settings.risk, settings.execution
        self._table = table
        self._late = late or {}
        self._max_staleness_ns = risk.max_staleness_ms * NS_PER_MS
        self._usd_rates, self._starting_cash = risk.usd_rates, execution.starting_cash_usd
        self._signal_ids = RecentIds()
        self._vetoes: Counter[VetoReason] = Counter()
        self._journal = AuditJournal(is_shadow=settings.mode is not Mode.LIVE)
        self._account = Account(self._instrument)

        model = build_paper_model(settings) if settings.mode is Mode.PAPER else None
        self._market = market = MarketState(table, PrintSizes() if model and model.fills_at_limit else None)
        venue = PaperVenue(model, market) if model else None
        slippage_bps = model.slippage_bps if model else execution.slippage_bps
        collar_bps = max(risk.price_collar_bps or ZERO, slippage_bps)
        self._exposure = Exposure(self._account, market, risk.usd_rates, collar_bps)
        self._outbox = Outbox() if settings.mode is Mode.LIVE else None
        adapter = venue or self._outbox or ShadowAdapter(execution.slippage_bps, execution.fee_bps)
        self._orders = OrderManager(self._journal, self._account, self._exposure, adapter)

        losses = LossMonitor(risk.max_daily_loss_usd, risk.max_drawdown_usd, execution.starting_cash_usd)
        self._context = RiskContext(market, self._exposure)
        self._risk = RiskEngine(build_checks(risk, losses))
        self._kill_switch = KillSwitch(
            risk, losses, self._context, self._journal, self._orders, market, self._equity_usd
        )
        self._time = SessionTime(table, market, self._orders, self._account, self._kill_switch, venue)

    def on_step(self, step: DecisionStep, decided_at: int | None = None) -> list[Record]:
        """Process a step's journal entries, then its timer, or its ticks and signals in order; return the records.

        ``decided_at`` (ns): in a live feed, the instant at which execution received the step. A signal that
        is then older than ``max_staleness_ms`` is vetoed, and the instant is journalled.
        """
        for entry in step.inputs:
            self._journal.entry(entry.after_seq, entry.kind, entry.ts, entry.detail)
        ticks, signals = step.ticks, step.signals
        if step.timer is not None:
            self._time.advance_to(step.timer)
        if len(ticks):
            self._market.begin_batch(ticks)
        if signals:
            seqs = np.array([signal.seq for signal in signals], dtype=np.int64)
            for signal, stop in zip(signals, np.searchsorted(ticks.seq, seqs, side="right").tolist(), strict=True):
                self._time.advance_to_tick(stop)
                self._on_signal(signal, decided_at)
        self._time.advance_to_tick(len(ticks))
        self._market.end_batch()
        return self._journal.drain()

    def on_command(self, command: Command, after_seq: int, ts: int) -> list[Record]:
        """Carry out and journal an operator's command, given after a tick, at an instant (ns)."""
        self._time.advance_to(ts)
        self._kill_switch.on_command(command, after_seq)
        self._time.process_due()
        return self._journal.drain()

    def on_report(self, report: Report, after_seq: int, ts: int) -> list[Record]:
        """Journal and apply a live venue's report, received after a tick, at an instant (ns).

        Raises IllegalTransitionError if the report does not fit the order's state.
        """
        self._time.advance_to(ts)
        now = self._market.now
        report = msgspec.structs.replace(report, ts=now)
        self._journal.entry(after_seq, InputKind.REPORT, now, encode_report(report))
        self._time.on_report(report)
        self._time.process_due()
        return self._journal.drain()

    def drain_requests(self) -> tuple[OrderRequest, ...]:
        """Return the requests for a live venue since the last call, in order; empty in the other modes."""
        return () if self._outbox is None else self._outbox.drain()

    def finish(self) -> list[Record]:
        """End the session: apply the reports that are on their way, and cancel the open orders (SESSION_END).

        Orders at a live venue stay open: only the venue can end them.
        """
        self._orders.close(self._market.now)
        return self._journal.drain()

    @property
    def counters(self) -> TradingCounters:
        """Counts so far; to be read by the engine's own thread only."""
        return TradingCounters(
            signals=self._journal.signals,
            vetoes=self._vetoes.total(),
            veto_reasons={reason.value: count for reason, count in self._vetoes.items()},
            orders=self._orders.orders,
            trades=self._orders.trades,
            rejects=self._orders.rejects,
            open_orders=self._orders.open_orders,
            exposure_usd=self._exposure.positions_usd(),
            equity_usd=self._equity_usd(),
            state=self._context.state,
            halts=self._kill_switch.halts,
        )

    @property
    def account(self) -> Account:
        """The account, to be compared with one rebuilt from the trades."""
        return self._account

    def _on_signal(self, signal: Signal, decided_at: int | None) -> None:
        occurrence = self._signal_ids.record(signal.signal_id, signal.seq)
        # A repetition gets a separate row, so that it cannot change the first signal's row or outcome (I3).
        signal_id = signal.signal_id if occurrence == 1 else f"{signal.signal_id}#{occurrence}"
        self._journal.signal(signal, signal_id)
        if signal.cancels is not None:
            self._cancel(signal, signal_id, occurrence > 1)
            return
        context = self._context
        index = self._table.find(signal.instrument.venue, signal.instrument.symbol)
        context.last_price = None if index is None else self._market.last_price(index)
        context.decided_at = self._find_decision_time(signal, decided_at)
        context.is_repeated = occurrence > 1
        context.open_orders = self._orders.open_orders
        context.projected = None
        self._kill_switch.check_equity()
        verdict = self._risk.judge(self._build_order(signal, signal_id, index), context)
        if isinstance(verdict, Denied):
            self._veto(signal, signal_id, verdict.reason, verdict.detail)
            return
        self._kill_switch.on_approved()
        self._orders.place(verdict)
        self._time.process_due()

    def _build_order(self, signal: Signal, signal_id: str, index: int | None) -> Order:
        last = self._context.last_price
        return Order(
            make_order_id(signal_id),
            signal_id,
            signal.seq,
            -1 if index is None else index,
            signal.instrument if index is None else self._table[index],
            signal.side,
            signal.type,
            signal.size,
            signal.reference_price if last is None else last[0],
            signal.limit_price,
            signal.time_in_force,
            signal.expires_at,
            signal.reduce_only,
            max(self._market.now, signal.ts),
        )

    def _find_decision_time(self, signal: Signal, decided_at: int | None) -> int:
        """Return the signal's own time, or the later time of a decision that made it stale, which is journalled."""
        decided = self._late.get(signal.signal_id, decided_at)
        last = self._context.last_price
        if decided is None or last is None or decided - last[2] <= self._max_staleness_ns:
            return signal.ts
        self._journal.entry(signal.seq, InputKind.LATE_DECISION, decided, json.dumps({"signal_id": signal.signal_id}))
        return max(decided, signal.ts)

    def _cancel(self, signal: Signal, signal_id: str, is_repeated: bool) -> None:
        """Request the cancel of an order; cancels pass in every trading state, and no other check applies."""
        order_id = signal.cancels or ""
        if is_repeated:
            self._veto(signal, signal_id, VetoReason.DUPLICATE_SIGNAL, f"signal {signal.signal_id} came again")
        elif not self._orders.cancel(order_id, f"SIGNAL {signal_id}", max(self._market.now, signal.ts)):
            self._veto(signal, signal_id, VetoReason.UNKNOWN_ORDER, f"cancels: expected an open order, got {order_id}")
        self._time.process_due()

    def _veto(self, signal: Signal, signal_id: str, reason: VetoReason, detail: str) -> None:
        self._vetoes[reason] += 1
        self._journal.veto(signal, signal_id, reason, detail, max(self._market.now, signal.ts))
        self._kill_switch.on_veto(reason)

    def _equity_usd(self) -> Decimal:
        return self._account.equity_usd(self._price, self._usd_rates, self._starting_cash)

    def _price(self, venue: str, symbol: str) -> Decimal:
        index = self._table.find(venue, symbol)
        return ZERO if index is None else self._market.price(index)

    def _instrument(self, venue: str, symbol: str) -> Instrument:
        index = self._table.find(venue, symbol)
        if index is None:
            raise KeyError(f"{venue}:{symbol}")
        return self._table[index]
