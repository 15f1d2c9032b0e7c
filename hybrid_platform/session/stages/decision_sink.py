"""The decision sink: counts, digests and logs decisions and sends them to the persist channel.

in: `RecordMessage`, from the execution stage or from the pipe of the sandboxed process · out: the same, in
order. All trading counters come from the records themselves, never from a report of user code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from hybrid_platform.domain.clocks import Clock
from hybrid_platform.domain.commands import Command, CommandKind, parse_command
from hybrid_platform.domain.orders import (
    InputRecord,
    OrderEventRecord,
    OrderRecord,
    OrderStatus,
    Record,
    Side,
    SignalRecord,
    TradeRecord,
    VetoRecord,
)
from hybrid_platform.log.events import LogEvent
from hybrid_platform.log.session_log import SessionLog
from hybrid_platform.observability.counters import DecisionCounters
from hybrid_platform.session.channel import Channel
from hybrid_platform.session.messages import RecordMessage, TickMessage


class SignalsDigest:
    """Counts signals by side and hashes the lines ``seq,SIDE`` in order, so that two runs can be compared (S8)."""

    def __init__(self) -> None:
        self.count = 0
        self.buy = 0
        self._sha256 = hashlib.sha256()

    def add(self, signal: SignalRecord) -> None:
        """Add one signal."""
        self.count += 1
        self.buy += signal.side is Side.BUY
        self._sha256.update(f"{signal.seq},{signal.side.value}\n".encode())

    @property
    def sha256(self) -> str:
        """The digest so far, in hex."""
        return self._sha256.hexdigest()


class DecisionSink:
    """The way of decisions to the persist channel; one thread sends."""

    def __init__(
        self,
        persist: Channel[TickMessage | RecordMessage],
        *,
        live: bool,
        counters: DecisionCounters,
        digest: SignalsDigest,
        clock: Clock,
        log: SessionLog,
        automatic: list[Command],
    ) -> None:
        """``automatic`` collects the commands of the session's own limits, for the kill-switch file."""
        self._persist = persist
        self._live = live
        self._counters = counters
        self._digest = digest
        self._clock = clock
        self._log = log
        self._automatic = automatic
        self._handlers: dict[type[Record], Callable[[Any], None]] = {
            SignalRecord: self._on_signal,
            VetoRecord: self._on_veto,
            OrderRecord: self._on_order,
            InputRecord: self._on_input,
        }

    def send(self, message: RecordMessage, *, guaranteed: bool = True) -> int:
        """Send records, guaranteed by default; raises what `Channel.send` raises."""
        dropped = self._persist.send(message, guaranteed=guaranteed)
        self._count(message.records)
        return dropped

    def close(self) -> None:
        """Send nothing more."""
        self._persist.close()

    def _count(self, records: Iterable[Record]) -> None:
        # Four of the seven records per order are order events: count them inline, dispatch only what is logged.
        counters, handlers = self._counters, self._handlers
        orders = trades = 0
        initialized = OrderStatus.INITIALIZED
        for record in records:
            if type(record) is OrderEventRecord:
                orders += record.status is initialized
            elif type(record) is TradeRecord:
                trades += 1
            elif (handler := handlers.get(type(record))) is not None:
                handler(record)
        counters.orders += orders
        counters.trades += trades

    def _on_signal(self, record: SignalRecord) -> None:
        self._counters.signals += 1
        self._digest.add(record)
        if self._live:
            latency_ns = self._clock.wall_ns() - record.ts
            self._counters.decision_ns.append(latency_ns)
            self._counters.decision.observe(latency_ns)
        self._log_signal(record)

    def _on_veto(self, record: VetoRecord) -> None:
        self._counters.vetoes += 1
        self._counters.veto_reasons[record.reason] += 1
        self._log_veto(record)

    def _on_order(self, record: OrderRecord) -> None:
        if record.status is OrderStatus.FILLED:
            self._log_order(record)

    def _log_signal(self, record: SignalRecord) -> None:
        if (limited := self._log.limit.admit(LogEvent.SIGNAL_GENERATED)) is not None:
            self._log.info(
                LogEvent.SIGNAL_GENERATED,
                reason_code=record.reason,
                tick_count=record.seq,
                signal_id=record.signal_id,
                symbol=record.symbol,
                side=record.side,
                size=record.size,
                **limited,
            )

    def _log_order(self, record: OrderRecord) -> None:
        event = LogEvent.SHADOW_ORDER_EXECUTED if record.is_shadow else LogEvent.LIVE_ORDER_FILLED
        if (limited := self._log.limit.admit(event)) is not None:
            self._log.info(
                event,
                is_shadow=record.is_shadow,
                order_id=record.order_id,
                symbol=record.symbol,
                side=record.side,
                qty=record.qty,
                price=record.price,
                status=record.status,
                **limited,
            )

    def _on_input(self, record: InputRecord) -> None:
        if (command := parse_command(record)) is not None:
            self._counters.command = command
            self._counters.halts += command.kind is not CommandKind.RESUME
            self._log.warning(
                "trading state changed",
                state=command.kind.state,
                who=command.who,
                why=command.why,
                automatic=command.automatic,
                after_seq=record.after_seq,
            )
            if command.automatic:
                self._automatic.append(command)

    def _log_veto(self, record: VetoRecord) -> None:
        if (limited := self._log.limit.admit(LogEvent.SIGNAL_VETOED)) is not None:
            self._log.warning(
                LogEvent.SIGNAL_VETOED,
                reason=record.reason,
                detail=record.detail,
                signal_id=record.signal_id,
                symbol=record.symbol,
                **limited,
            )
