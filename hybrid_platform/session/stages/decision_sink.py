"""Where decisions pass into the op's hands: counted, digested, said in the log, and put on the persist channel.

in: `RecordMessage`, from the execution stage or from the pipe of the guarded process · out: the same, in
order. All counters of trading come from the records themselves, never from what user code could say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from hybrid_platform.domain.clocks import Clock
from hybrid_platform.domain.commands import Command, CommandKind, command_of
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
    """Counts signals by side, and hashes the lines ``seq,SIDE`` in order: two runs compare by it (S8)."""

    def __init__(self) -> None:
        self.count = 0
        self.buy = 0
        self._sha256 = hashlib.sha256()

    def add(self, signal: SignalRecord) -> None:
        """Take one more signal."""
        self.count += 1
        self.buy += signal.side is Side.BUY
        self._sha256.update(f"{signal.seq},{signal.side.value}\n".encode())

    @property
    def sha256(self) -> str:
        """The digest so far, in hex."""
        return self._sha256.hexdigest()


class DecisionSink:
    """The way of decisions to the persist channel; one thread puts."""

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
        """``automatic``: takes the commands that the session's own limits gave, for whoever writes them down."""
        self._persist = persist
        self._live = live
        self._counters = counters
        self._digest = digest
        self._clock = clock
        self._log = log
        self._automatic = automatic
        self._takers: dict[type[Record], Callable[[Any], None]] = {
            SignalRecord: self._take_signal,
            VetoRecord: self._take_veto,
            OrderRecord: self._take_order,
            InputRecord: self._say_input,
        }

    def send(self, message: RecordMessage, *, guaranteed: bool = True) -> int:
        """Pass records on, into the reserve where nothing is evicted; raises what `Channel.send` raises."""
        dropped = self._persist.send(message, guaranteed=guaranteed)
        self._take(message.records)
        return dropped

    def close(self) -> None:
        """Say that the last record was put."""
        self._persist.close()

    def _take(self, records: Iterable[Record]) -> None:
        # Four of seven records of an order's life are its events: only what is said is touched further.
        counters, takers = self._counters, self._takers
        orders = trades = 0
        initialized = OrderStatus.INITIALIZED
        for record in records:
            if type(record) is OrderEventRecord:
                orders += record.status is initialized
            elif type(record) is TradeRecord:
                trades += 1
            elif (taker := takers.get(type(record))) is not None:
                taker(record)
        counters.orders += orders
        counters.trades += trades

    def _take_signal(self, record: SignalRecord) -> None:
        self._counters.signals += 1
        self._digest.add(record)
        if self._live:
            latency_ns = self._clock.wall_ns() - record.ts
            self._counters.decision_ns.append(latency_ns)
            self._counters.decision.observe(latency_ns)
        self._say_signal(record)

    def _take_veto(self, record: VetoRecord) -> None:
        self._counters.vetoes += 1
        self._counters.veto_reasons[record.reason] += 1
        self._say_veto(record)

    def _take_order(self, record: OrderRecord) -> None:
        if record.status is OrderStatus.FILLED:
            self._say_order(record)

    def _say_signal(self, record: SignalRecord) -> None:
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

    def _say_order(self, record: OrderRecord) -> None:
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

    def _say_input(self, record: InputRecord) -> None:
        if (command := command_of(record)) is not None:
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

    def _say_veto(self, record: VetoRecord) -> None:
        if (limited := self._log.limit.admit(LogEvent.SIGNAL_VETOED)) is not None:
            self._log.warning(
                LogEvent.SIGNAL_VETOED,
                reason=record.reason,
                detail=record.detail,
                signal_id=record.signal_id,
                symbol=record.symbol,
                **limited,
            )
