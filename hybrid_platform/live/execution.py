"""Live execution: the only stage that sends orders to a venue, in the host process (S14, L1, L4).

in: order requests from the sandboxed process, the adapter that the LIVE gate released, kill-switch commands · out:
calls of the adapter; the venue's reports go back through the tick channel, at their place between the ticks, so that
the engine journals them. The order guard checks every order again; an order that it rejects is not sent, and the
session fails. An adapter that raises, hangs or reports nonsense fails the session too. However the session ends, this
stage requests a cancel of every order that may still rest at the venue, and logs those not known to have ended.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.domain.commands import Command, CommandKind, parse_command
from hybrid_platform.domain.decimals import from_units
from hybrid_platform.domain.errors import ExitCode, PlatformError
from hybrid_platform.domain.orders import InputRecord, OrderRecord, OrderStatus, Record
from hybrid_platform.domain.ticks import TickBatch
from hybrid_platform.evidence.records import LiveFigures
from hybrid_platform.live.gate import Release
from hybrid_platform.live.order_guard import LiveOrderGuard, SentOrder
from hybrid_platform.log.events import LogEvent
from hybrid_platform.observability.session_view import ChannelStats
from hybrid_platform.security.redaction import sanitize_text
from hybrid_platform.session.channel import Channel, ChannelAborted, EndOfStream
from hybrid_platform.session.live_stage import LiveStage, LiveWiring
from hybrid_platform.session.messages import ControlMessage, RequestMessage
from hybrid_platform.settings.runtime import OnFull
from hybrid_platform.trading.adapters.live import CancelOrder, LiveAdapter, OrderRequest
from hybrid_platform.trading.order import Order, Report
from hybrid_platform.trading.risk.engine import Denied, recheck_order

POLL_INTERVAL_S = 0.02
CAPACITY = 64
END_OF_SESSION = Command(
    CommandKind.HALT, "hybrid_platform", "the session ends: no more orders, and a cancel of what rests"
)


class LiveAdapterError(PlatformError):
    """The adapter raised, did not answer in time, or sent an impossible report; nothing more is sent."""


class NotArmedError(PlatformError):
    """The sandboxed process requested an order beyond the authorization; it was not sent.

    The exit code is CONFIG, so that a supervisor does not restart the session.
    """

    exit_code = ExitCode.CONFIG


class LiveExecution(LiveStage):
    """The stage that owns the adapter and the order guard."""

    def __init__(self, release: Release, wiring: LiveWiring) -> None:
        """``wiring.ticks`` leads back to the engine; this stage is its second producer."""
        self._requests: Channel[RequestMessage] = Channel("live_orders", CAPACITY, OnFull.FAIL)
        super().__init__("live execution", (self._requests,), (wiring.ticks,), wiring.on_failure)
        settings = wiring.settings
        call_timeout_s = float(settings.gates.live.call_seconds)
        self._release = release
        self._adapter = _AdapterThread(release.adapter, call_timeout_s)
        # The session abandons a drain that makes no progress, so the wait for the venue must end well before.
        close_timeout_s = min(float(settings.gates.live.close_seconds), settings.drain_timeout_seconds / 2)
        self._close_timeout_ns = int(close_timeout_s * NS_PER_S)
        # One call for each order that may rest, the wait for the venue, and its close.
        calls = settings.risk.max_open_orders + 2
        self._withdrawal_timeout_s = calls * call_timeout_s + self._close_timeout_ns / NS_PER_S
        self._order_guard = LiveOrderGuard(
            release.max_notional_usd, settings.risk.max_open_orders, settings.risk.usd_rates, wiring.table
        )
        self._table = wiring.table
        self._ticks = wiring.ticks
        self._feed_ended = wiring.feed_ended
        self._clock = wiring.clock
        self._log = wiring.log
        self._lock = threading.Lock()
        self._pause = threading.Event()
        """Never set; its ``wait`` is a sleep."""
        self._standing_command: Command | None = None
        self._cancel_all = False
        self._end_is_journalled = False
        self._counts = {"submitted": 0, "refused": 0, "cancels": 0, "reports": 0}

    # Called by other threads.

    def open(self, session_id: str) -> None:
        """Connect to the venue before any stage starts; raise LiveAdapterError if that fails."""
        self._adapter.call("open", session_id)
        self._log.warning(
            LogEvent.LIVE_VENUE_OPENED,
            account=self._release.account,
            max_notional_usd=self._release.max_notional_usd,
            bundles=self._release.bundles,
        )

    def abandon(self) -> None:
        """Close the connection of a session that failed to start; nothing was sent."""
        if self.is_alive:  # the stage's own thread closes the connection
            self._requests.abort()
            self.join(self._withdrawal_timeout_s)
            return
        try:
            self._adapter.call("close", self._clock.wall_ns())
        except LiveAdapterError as error:
            self._log.error("the connection to the live venue could not be closed", error=str(error))

    def on_requests(self, requests: Sequence[OrderRequest]) -> None:
        """Queue order requests; raise OverloadError if there are too many. Called by the result receiver."""
        self._requests.send(RequestMessage(tuple(requests)))

    def on_ticks(self, batch: TickBatch) -> None:
        """Store the last prices. Called by the tick sender."""
        for index in np.unique(batch.instrument).tolist():
            last = int(np.flatnonzero(batch.instrument == index)[-1])
            self._order_guard.update_price(index, from_units(int(batch.price[last]), self._table[index].price_scale))

    def on_records(self, records: Sequence[Record]) -> None:
        """Note order rows and commands that are on their way to the database. Called by the result receiver."""
        for record in records:
            if isinstance(record, OrderRecord):
                self._order_guard.add_row(record)
            elif isinstance(record, InputRecord) and (command := parse_command(record)) is not None:
                self._end_is_journalled |= command == END_OF_SESSION
                if command.automatic:
                    self.on_command(command)

    def on_command(self, command: Command) -> None:
        """Obey a command at once, even while the sandboxed process is busy; it receives the command too."""
        with self._lock:
            standing = self._standing_command
            if standing == END_OF_SESSION:
                # No command resumes a session that is ending.
                return
            if command.automatic and standing is not None and standing.kind is CommandKind.HALT:
                # An automatic command comes from the sandboxed process, which must not weaken an operator's HALT.
                return
            self._standing_command = None if command.kind is CommandKind.RESUME else command
            self._cancel_all = self._standing_command is not None

    def close(self) -> None:
        """Take no more order requests."""
        self._requests.close()

    def wait_for_end(self, timeout_s: float) -> bool:
        """Wait for the stage to end; return whether it has.

        Waits at least as long as a withdrawal of every order may take, because the process would cut it off.
        """
        return self.join(max(timeout_s, self._withdrawal_timeout_s))

    def stats(self) -> ChannelStats:
        """Return the counts of the channel of order requests."""
        return self._requests.stats()

    def figures(self) -> LiveFigures:
        """Return the evidence of all orders and reports, once the stage has ended."""
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
        """Send orders until the feed ends; then cancel resting orders, wait for the venue, and close the connection."""
        try:
            while not self._feed_ended():
                self._process_once()
            self.on_command(END_OF_SESSION)
            self._ticks.send(ControlMessage(END_OF_SESSION), guaranteed=True)
            deadline = self._clock.monotonic_ns() + self._close_timeout_ns
            while self._has_unfinished_orders() and self._clock.monotonic_ns() < deadline:
                self._process_once()
            self._apply_reports(self._adapter.call("close", self._clock.wall_ns()))
            self._log_open_orders()
        except BaseException:
            self._cancel_and_close()
            raise

    def _has_unfinished_orders(self) -> bool:
        """Return whether an order may still rest at the venue, or the engine may still request one."""
        has_requests = self._requests.stats().depth > 0
        return not self._end_is_journalled or has_requests or bool(self._order_guard.open_orders())

    def _process_once(self) -> None:
        try:
            messages = self._requests.receive(timeout=POLL_INTERVAL_S)
        except EndOfStream:
            # The sandboxed process ended before the ticks did; the result receiver reports why.
            raise ChannelAborted("live_orders") from None
        with self._lock:
            cancel_all, self._cancel_all = self._cancel_all, False
        if cancel_all:
            for sent in self._order_guard.open_orders():
                self._cancel(sent)
        for message in messages:
            for request in message.requests:
                if isinstance(request, CancelOrder):
                    target = self._order_guard.sent.get(request.order_id)
                    if target is not None:  # the guard may have rejected the order
                        self._cancel(target)
                else:
                    self._submit(request.order)
        self._apply_reports(self._adapter.call("reports"))

    def _submit(self, order: Order) -> None:
        verdict = recheck_order(order, self._order_guard.rejection_reason)
        if isinstance(verdict, Denied):
            self._reject(order, f"NOT_ARMED {verdict.detail}")
            raise NotArmedError(f"order {order.order_id}: {verdict.detail}; it was not sent")
        with self._lock:
            command = self._standing_command
        if command is not None and not (command.kind is CommandKind.REDUCE and self._order_guard.is_reducing(order)):
            # The engine approved the order before it received the command.
            self._reject(order, f"NOT_SENT {command.kind} by {command.who}")
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
        self._adapter.call("submit", verdict, self._clock.wall_ns())
        with self._lock:
            cancel_all = self._cancel_all
        if cancel_all:  # a command arrived during the call
            self._cancel(sent)

    def _reject(self, order: Order, why: str) -> None:
        """Report to the engine that an order was not sent."""
        self._counts["refused"] += 1
        self._log.error("live order not sent", order_id=order.order_id, why=why)
        self._ticks.send(ControlMessage(Report(order.order_id, OrderStatus.REJECTED, why[:200], 0)), guaranteed=True)

    def _cancel(self, sent: SentOrder) -> None:
        if sent.cancel_requested or not sent.is_open:
            return
        sent.cancel_requested = True
        self._counts["cancels"] += 1
        self._adapter.call("cancel", sent.order.order_id, self._clock.wall_ns())

    def _apply_reports(self, reports: object) -> None:
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

    def _cancel_and_close(self) -> None:
        """Request cancels after a failure, wait for the venue as long as allowed, and log the orders left open."""
        try:
            for sent in self._order_guard.open_orders():
                self._cancel(sent)
            deadline = self._clock.monotonic_ns() + self._close_timeout_ns
            while self._order_guard.open_orders() and self._clock.monotonic_ns() < deadline:
                self._apply_late_reports(self._adapter.call("reports"))
                self._pause.wait(POLL_INTERVAL_S)
            self._apply_late_reports(self._adapter.call("close", self._clock.wall_ns()))
        except Exception as error:  # the open orders are logged in any case
            self._log.error("live orders could not be withdrawn", error=str(error))
        self._log_open_orders()

    def _apply_late_reports(self, reports: Any) -> None:
        """Apply reports that arrive after the engine has ended; only the log records them."""
        for report in reports:
            if (fault := self._order_guard.apply_report(report)) is not None:
                raise LiveAdapterError(f"adapter: {fault}")
            self._log.warning(
                "venue reported after the engine had ended", order_id=report.order_id, status=report.status
            )

    def _log_open_orders(self) -> None:
        for sent in self._order_guard.open_orders():
            self._log.error(
                LogEvent.LIVE_ORDER_LEFT_OPEN,
                order_id=sent.order.order_id,
                status=sent.status,
                executed=sent.filled_qty,
                qty=sent.order.qty,
                account=self._release.account,
            )


class _AdapterThread:
    """Calls the adapter in a separate thread, so that a call that hangs can be abandoned after its timeout."""

    def __init__(self, adapter: LiveAdapter, call_timeout_s: float) -> None:
        self._adapter = adapter
        self._call_timeout_s = call_timeout_s
        self._thread: threading.Thread | None = None
        self._timed_out = False
        self._calls: SimpleQueue[tuple[str, tuple[Any, ...]]] = SimpleQueue()
        self._results: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def call(self, method: str, *arguments: Any) -> Any:
        """Return the result of a method of the adapter; raise LiveAdapterError if it raises or is late."""
        if self._timed_out:
            raise LiveAdapterError(f"adapter.{method}: not called, because an earlier call timed out")
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="live adapter", daemon=True)
            self._thread.start()
        self._calls.put((method, arguments))
        try:
            result, error = self._results.get(timeout=self._call_timeout_s)
        except Empty:
            self._timed_out = True
            limit = f"{self._call_timeout_s:g} s"
            raise LiveAdapterError(f"adapter.{method}: expected an answer within {limit}, got none") from None
        if error is not None:
            # The message of an adapter's error may contain its credentials.
            message = sanitize_text(f"{type(error).__name__}: {error}")
            raise LiveAdapterError(f"adapter.{method} raised {message}") from error
        return result

    def _serve(self) -> None:
        while True:
            method, arguments = self._calls.get()
            try:
                self._results.put((getattr(self._adapter, method)(*arguments), None))
            except BaseException as error:
                self._results.put((None, error))
