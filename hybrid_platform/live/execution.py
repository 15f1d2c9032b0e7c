"""live execution: the only way from approved orders to a venue, in the op's process (S14, L1, L4).

in: order requests from the guarded process, the adapter that the LIVE gate released, the kill switch · out:
what the adapter is told, and the venue's reports, back into the tick channel at their place between the ticks, so that
the engine journals them. Every order is judged a second time, against what was armed and what this process saw
itself; what does not pass is not sent, and the session fails. An adapter that raises, hangs or reports nonsense
fails it too. However it ends, cancels are sent for what may still rest at the venue, and what is not known to have
ended is named.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from hybrid_platform.domain.clocks import NS_PER_S, Clock
from hybrid_platform.domain.commands import Command, CommandKind, command_of
from hybrid_platform.domain.decimals import from_units
from hybrid_platform.domain.errors import ExitCode, PlatformError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.orders import InputRecord, OrderRecord, OrderStatus, Record
from hybrid_platform.domain.ticks import TickBatch
from hybrid_platform.evidence.records import LiveFigures
from hybrid_platform.live.gate import Release
from hybrid_platform.live.order_guard import LiveOrderGuard, SentOrder
from hybrid_platform.log.events import LogEvent
from hybrid_platform.log.session_log import SessionLog
from hybrid_platform.observability.session_view import ChannelStats
from hybrid_platform.security.redaction import sanitize_text
from hybrid_platform.session.channel import Channel, ChannelAborted, EndOfStream
from hybrid_platform.session.live_stage import LiveStage
from hybrid_platform.session.messages import ControlMessage, RequestMessage, TickMessage
from hybrid_platform.session.stage import OnFailure
from hybrid_platform.settings.runtime import OnFull
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.trading.adapters.live import CancelOrder, LiveAdapter, OrderRequest
from hybrid_platform.trading.order import Order, Report
from hybrid_platform.trading.risk.engine import Denied, recheck_order

LOOK_SECONDS = 0.02
CAPACITY = 64
END = Command(CommandKind.HALT, "hybrid_platform", "the session ends: no more orders, and a cancel of what rests")


class LiveAdapterError(PlatformError):
    """The adapter raised, did not answer in time, or reported what no venue can: nothing more is sent."""


class NotArmedError(PlatformError):
    """The guarded process asked for what was not armed: it was not sent, and nobody is to start this again as it is."""

    exit_code = ExitCode.CONFIG


class LiveExecution(LiveStage):
    """Owns the adapter, and the second judge."""

    def __init__(
        self,
        release: Release,
        settings: SessionSettings,
        table: InstrumentTable,
        ticks: Channel[TickMessage | ControlMessage],
        *,
        feed_ended: Callable[[], bool],
        clock: Clock,
        log: SessionLog,
        on_failure: OnFailure,
    ) -> None:
        """``ticks``: the way back to the engine; this stage is its second producer."""
        self._wants: Channel[RequestMessage] = Channel("live_orders", CAPACITY, OnFull.FAIL)
        super().__init__("live execution", (self._wants,), (ticks,), on_failure)
        live = settings.gates.live
        self._release = release
        self._line = _Line(release.adapter, float(live.call_seconds))
        # A drain that makes no progress is given up; the wait for the venue must be over before.
        self._patience_ns = int(min(float(live.close_seconds), settings.drain_timeout_seconds / 2) * NS_PER_S)
        # One call for each order that may rest, the wait for the venue, and its close.
        calls = settings.risk.max_open_orders + 2
        self._withdrawal_s = calls * float(live.call_seconds) + self._patience_ns / NS_PER_S
        self._order_guard = LiveOrderGuard(
            release.max_notional_usd, settings.risk.max_open_orders, settings.risk.usd_rates, table
        )
        self._table = table
        self._ticks = ticks
        self._feed_ended = feed_ended
        self._clock = clock
        self._log = log
        self._lock = threading.Lock()
        self._nothing = threading.Event()
        self._standing: Command | None = None
        self._cancel_all = False
        self._end_is_journalled = False
        self._counts = {"submitted": 0, "refused": 0, "cancels": 0, "reports": 0}

    # Called by other threads.

    def open(self, session_id: str) -> None:
        """Connect, before anything starts; raise LiveAdapterError."""
        self._line.call("open", session_id)
        self._log.warning(
            LogEvent.LIVE_VENUE_OPENED,
            account=self._release.account,
            max_notional_usd=self._release.max_notional_usd,
            bundles=self._release.bundles,
        )

    def abandon(self) -> None:
        """End the connection of a session that did not start after all: nothing was sent."""
        if self.is_alive:  # its thread ends the connection
            self._wants.abort()
            self.join(self._withdrawal_s)
            return
        try:
            self._line.call("close", self._clock.wall_ns())
        except LiveAdapterError as error:
            self._log.error("the live venue's connection could not be ended", error=str(error))

    def on_requests(self, requests: Sequence[OrderRequest]) -> None:
        """Take what the engine asks for, from the receiver; raise OverloadError where that is too much at once."""
        self._wants.send(RequestMessage(tuple(requests)))

    def on_ticks(self, batch: TickBatch) -> None:
        """Take note of the last prices, from the pump."""
        for index in np.unique(batch.instrument).tolist():
            last = int(np.flatnonzero(batch.instrument == index)[-1])
            self._order_guard.update_price(index, from_units(int(batch.price[last]), self._table[index].price_scale))

    def on_records(self, records: Sequence[Record]) -> None:
        """Take note of what is on its way to the database, from the receiver."""
        for record in records:
            if isinstance(record, OrderRecord):
                self._order_guard.add_row(record)
            elif isinstance(record, InputRecord) and (command := command_of(record)) is not None:
                self._end_is_journalled |= command == END
                if command.automatic:
                    self.on_command(command)

    def on_command(self, command: Command) -> None:
        """Obey a command at once, whatever the guarded process is busy with; it gets the command too."""
        with self._lock:
            if self._standing == END:
                # Nothing resumes a session that ends.
                return
            if command.automatic and self._standing is not None and self._standing.kind is CommandKind.HALT:
                # It comes out of the guarded process: nothing that is said there loosens what an operator halted.
                return
            self._standing = None if command.kind is CommandKind.RESUME else command
            self._cancel_all = self._standing is not None

    def close(self) -> None:
        """No more comes from the guarded process."""
        self._wants.close()

    def wait_for_end(self, timeout_s: float) -> bool:
        """Wait for the stage's end, as long as it may take to withdraw every order: the process ends it half-way."""
        return self.join(max(timeout_s, self._withdrawal_s))

    def stats(self) -> ChannelStats:
        """Return the channel from the guarded process's receiver to here."""
        return self._wants.stats()

    def figures(self) -> LiveFigures:
        """Return what was done, once the stage has ended."""
        return LiveFigures(
            account=self._release.account,
            max_notional_usd=self._release.max_notional_usd,
            bundles=self._release.bundles,
            adapter=f"{type(self._release.adapter).__module__}:{type(self._release.adapter).__qualname__}",
            **self._counts,
            exposure_usd=self._order_guard.exposure_usd(),
            open_orders={sent.order.order_id: sent.status.value for sent in self._order_guard.open_orders()},
        )

    # The stage's own thread.

    def work(self) -> None:
        """Send until the feed ends; then cancel what rests, wait for the venue, and end the connection."""
        try:
            while not self._feed_ended():
                self._turn()
            self.on_command(END)
            self._ticks.send(ControlMessage(END), guaranteed=True)
            deadline = self._clock.monotonic_ns() + self._patience_ns
            while self._is_waiting() and self._clock.monotonic_ns() < deadline:
                self._turn()
            self._hear(self._line.call("close", self._clock.wall_ns()))
            self._say_open()
        except BaseException:
            self._withdraw()
            raise

    def _is_waiting(self) -> bool:
        """Whether the engine has not yet heard of the end, or an order may still rest at the venue."""
        return not self._end_is_journalled or bool(self._order_guard.open_orders()) or bool(self._wants.stats().depth)

    def _turn(self) -> None:
        try:
            messages = self._wants.receive(timeout=LOOK_SECONDS)
        except EndOfStream:
            # The guarded process is gone before the ticks ended: its receiver says why.
            raise ChannelAborted("live_orders") from None
        with self._lock:
            cancel_all, self._cancel_all = self._cancel_all, False
        if cancel_all:
            for sent in self._order_guard.open_orders():
                self._cancel(sent)
        for message in messages:
            for request in message.requests:
                if isinstance(request, CancelOrder):
                    if (asked := self._order_guard.sent.get(request.order_id)) is not None:
                        self._cancel(asked)
                else:
                    self._submit(request.order)
        self._hear(self._line.call("reports"))

    def _submit(self, order: Order) -> None:
        verdict = recheck_order(order, self._order_guard.rejection_reason)
        if isinstance(verdict, Denied):
            self._refuse(order, f"NOT_ARMED {verdict.detail}")
            raise NotArmedError(f"order {order.order_id}: {verdict.detail}; it was not sent")
        with self._lock:
            standing = self._standing
        if standing is not None and not (standing.kind is CommandKind.REDUCE and self._order_guard.is_reducing(order)):
            # The engine approved it before the command reached it.
            self._refuse(order, f"NOT_SENT {standing.kind} by {standing.who}")
            return
        sent = self._order_guard.mark_sent(order)
        self._counts["submitted"] += 1
        self._log.limited(
            "info",
            LogEvent.LIVE_ORDER_SENT,
            order_id=order.order_id,
            symbol=order.instrument.symbol,
            side=order.side,
            qty=order.qty,
        )
        self._line.call("submit", verdict, self._clock.wall_ns())
        with self._lock:
            late = self._cancel_all
        if late:
            self._cancel(sent)

    def _refuse(self, order: Order, why: str) -> None:
        """Tell the engine that an order never left this process."""
        self._counts["refused"] += 1
        self._log.error("live order not sent", order_id=order.order_id, why=why)
        self._ticks.send(ControlMessage(Report(order.order_id, OrderStatus.REJECTED, why[:200], 0)), guaranteed=True)

    def _cancel(self, sent: SentOrder) -> None:
        if sent.cancel_requested or not sent.is_open:
            return
        sent.cancel_requested = True
        self._counts["cancels"] += 1
        self._line.call("cancel", sent.order.order_id, self._clock.wall_ns())

    def _hear(self, reports: object) -> None:
        if not isinstance(reports, Sequence) or isinstance(reports, str | bytes):
            raise LiveAdapterError(f"adapter: expected a sequence of reports, got {type(reports).__name__}")
        for report in reports:
            if (fault := self._order_guard.apply_report(report)) is not None:
                raise LiveAdapterError(f"adapter: {fault}")
            self._counts["reports"] += 1
            self._log.limited(
                "info", "venue reported", order_id=report.order_id, status=report.status, reason=report.reason
            )
            self._ticks.send(ControlMessage(report), guaranteed=True)

    def _withdraw(self) -> None:
        """The session fails: ask for a cancel of what may rest, listen for as long as may be, say what is open."""
        try:
            for sent in self._order_guard.open_orders():
                self._cancel(sent)
            deadline = self._clock.monotonic_ns() + self._patience_ns
            while self._order_guard.open_orders() and self._clock.monotonic_ns() < deadline:
                self._hear_alone(self._line.call("reports"))
                self._nothing.wait(LOOK_SECONDS)
            self._hear_alone(self._line.call("close", self._clock.wall_ns()))
        except Exception as error:  # what is open is said all the same
            self._log.error("live orders could not be withdrawn", error=str(error))
        self._say_open()

    def _hear_alone(self, reports: Any) -> None:
        """Take reports that the engine is no longer there for; the log is their record."""
        for report in reports:
            if (fault := self._order_guard.apply_report(report)) is not None:
                raise LiveAdapterError(f"adapter: {fault}")
            self._log.warning(
                "venue reported after the engine had ended", order_id=report.order_id, status=report.status
            )

    def _say_open(self) -> None:
        for sent in self._order_guard.open_orders():
            self._log.error(
                LogEvent.LIVE_ORDER_LEFT_OPEN,
                order_id=sent.order.order_id,
                status=sent.status,
                executed=sent.filled_qty,
                qty=sent.order.qty,
                account=self._release.account,
            )


class _Line:
    """The adapter, called by one thread of its own, so that a call that hangs is given up in its time."""

    def __init__(self, adapter: LiveAdapter, seconds: float) -> None:
        self._adapter = adapter
        self._seconds = seconds
        self._is_hung = False
        self._asked: SimpleQueue[tuple[str, tuple[Any, ...]]] = SimpleQueue()
        self._answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        threading.Thread(target=self._serve, name="live adapter", daemon=True).start()

    def call(self, method: str, *arguments: Any) -> Any:
        """Return what a method of the adapter returns; raise LiveAdapterError where it raises or is late."""
        if self._is_hung:
            raise LiveAdapterError(f"adapter.{method}: expected one that answers, got hung before")
        self._asked.put((method, arguments))
        try:
            answer, error = self._answers.get(timeout=self._seconds)
        except Empty:
            self._is_hung = True
            raise LiveAdapterError(f"adapter.{method}: expected an answer in {self._seconds:g} s, got none") from None
        if error is not None:
            # What an adapter says may hold what it signs with.
            raised = sanitize_text(f"{type(error).__name__}: {error}")
            raise LiveAdapterError(f"adapter.{method} raised {raised}") from error
        return answer

    def _serve(self) -> None:
        while True:
            method, arguments = self._asked.get()
            try:
                self._answers.put((getattr(self._adapter, method)(*arguments), None))
            except BaseException as error:
                self._answers.put((None, error))
