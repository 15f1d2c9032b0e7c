"""Live execution alone: adapters that misbehave, a sandboxed process that lies, and the order guard (S14, L1, L4).

`RunningStage`  a started `LiveExecution` with an adapter; the test holds both ends of its channels
`Adapter`       records its calls, and returns the reports that a test appends to ``queued``
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.commands import Command, CommandKind
from hybrid_platform.domain.errors import ExitCode, PlatformError
from hybrid_platform.domain.orders import OrderRecord, OrderStatus, OrderType, Side
from hybrid_platform.domain.ticks import batch_from_rows
from hybrid_platform.live.execution import LiveExecution
from hybrid_platform.live.gate import Release
from hybrid_platform.log.session_log import SessionLog
from hybrid_platform.session.channel import Channel, ChannelAborted
from hybrid_platform.session.live_stage import LiveWiring
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.settings.runtime import OnFull
from hybrid_platform.trading.adapters.live import CancelOrder, SubmitOrder
from hybrid_platform.trading.order import Fill, Order, Report
from hybrid_platform.trading.risk.engine import Approved, require_approved
from hybrid_platform_tests.live.orders import ARMED, PRICE, a_fill, a_table, an_order, row_of
from hybrid_platform_tests.support import wait_until

pytestmark = pytest.mark.scenario("S14", "L1", "L4")


class Adapter:
    """Records its calls, and returns the reports that a test queues."""

    def __init__(self) -> None:
        self.submitted: list[Order] = []
        self.canceled: list[str] = []
        self.queued: list[Any] = []
        self.is_closed = False

    def open(self, session_id: str) -> None: ...

    def submit(self, approved: Approved[Order], now: int) -> None:
        self.submitted.append(require_approved(approved))

    def cancel(self, order_id: str, now: int) -> None:
        self.canceled.append(order_id)
        self.queued.append(Report(order_id, OrderStatus.CANCELED, "REQUESTED", 0))

    def reports(self) -> Any:
        queued, self.queued = self.queued, []
        return queued

    def close(self, now: int) -> Any:
        self.is_closed = True
        return ()


class RunningStage:
    """A started `LiveExecution`, with both ends of its channels."""

    def __init__(self, adapter: Any, **live: Any) -> None:
        self.adapter = adapter
        self.table = a_table()
        self.ticks: Channel[Any] = Channel("tick", 256, OnFull.DROP_OLDEST, producers=2)
        self.failures: list[BaseException] = []
        self.is_over = False
        gates = {"live": {"call_seconds": "0.3", "close_seconds": "0.2", **live}}
        settings = load_settings({"gates": gates, "risk": {"max_open_orders": 3}}, environ={})
        wiring = LiveWiring(
            settings,
            self.table,
            self.ticks,
            feed_ended=lambda: self.is_over,
            clock=SystemClock(),
            log=SessionLog("", SystemClock()),
            on_failure=lambda stage, error: self.failures.append(error),
        )
        self.stage = LiveExecution(Release(adapter, "main", ARMED, ("0" * 64,)), wiring)
        self.stage.on_ticks(batch_from_rows(self.table, [(0, PRICE * 10**9, 10**9, 0, None, 1, 1)]))
        self.stage.open("session")
        self.stage.start()

    def want(self, *orders: Order, row: OrderRecord | None = None) -> None:
        for order in orders:
            self.stage.on_records([row or row_of(order)])
            self.stage.on_requests([SubmitOrder(order)])

    def ended(self) -> BaseException | None:
        """Wait for the stage to end; return its failure, if any."""
        wait_until(lambda: self.stage.has_ended, "the stage to end", 10)
        return self.failures[0] if self.failures else None

    def heard(self) -> list[Any]:
        """Return the messages that went back to the engine."""
        return [message.content for message in self.ticks.receive(timeout=0)]

    def finish(self) -> BaseException | None:
        self.is_over = True
        end = wait_until(
            lambda: next((w for w in self.heard() if isinstance(w, Command)), None) or self.failures, "the end"
        )
        if isinstance(end, Command):
            self.stage.on_records([journalled(end)])
        return self.ended()


def journalled(command: Command) -> Any:
    from hybrid_platform.domain.orders import InputKind, InputRecord

    return InputRecord(1, 1, InputKind.COMMAND, 1, command.as_detail())


@pytest.fixture
def running() -> Iterator[RunningStage]:
    made = RunningStage(Adapter())
    yield made
    made.is_over = True
    made.stage.abort()
    made.stage.join(5)


def test_approved_orders_arrive_and_reports_return(running):
    running.want(an_order(1), an_order(2, side=Side.SELL))
    wait_until(lambda: len(running.adapter.submitted) == 2, "orders")
    fill = Fill(1, Decimal(1), Decimal(101), Decimal(0))
    running.adapter.queued.append(Report("O1", OrderStatus.FILLED, "VENUE", 0, fill))
    (report,) = wait_until(running.heard, "a report")
    assert (report.order_id, report.fill) == ("O1", fill)
    assert running.finish() is None
    assert running.adapter.canceled == ["O2"]
    assert running.adapter.is_closed
    figures = running.stage.figures()
    assert (figures.submitted, figures.refused, figures.reports, figures.open_orders) == (2, 0, 2, {})
    assert figures.exposure_usd == 100


NOT_ARMED = {
    "more than was armed": (an_order(1, qty="10.01"), {}),
    "a quantity of nothing": (an_order(1, qty=0), {}),
    "a negative quantity": (an_order(1, qty=-1), {}),
    "a quantity that is not a number": (an_order(1, qty="NaN"), {}),
    "an endless quantity": (an_order(1, qty="Infinity"), {}),
    "a limit order far away that would be worth more": (
        an_order(1, qty=6, type=OrderType.LIMIT, limit_price=Decimal(200)),
        {},
    ),
    "a limit order without a limit": (an_order(1, type=OrderType.LIMIT), {}),
    "an instrument of its own making": (
        an_order(1, qty=50, instrument=msgspec.structs.replace(a_table()[0], multiplier=Decimal("0.01"))),
        {},
    ),
    "an instrument that is not there": (an_order(1, index=9), {}),
    "another instrument's index": (an_order(1, index=1), {}),
    "an instrument without a price": (an_order(1, index=1, instrument=a_table()[1]), {}),
    "a row of another quantity": (an_order(1, qty=2), {"qty": Decimal(1)}),
    "a row of the other side": (an_order(1), {"side": Side.SELL}),
    "a row that says shadow": (an_order(1), {"is_shadow": True}),
    "a row of another order": (an_order(1), {"order_id": "O7"}),
}


@pytest.mark.parametrize("what", NOT_ARMED)
def test_an_order_beyond_the_authorization_is_not_sent(what, running):
    """The session fails with CONFIG, and the engine receives a rejection."""
    order, row = NOT_ARMED[what]
    running.want(order, row=row_of(order, **row))
    error = running.ended()
    assert isinstance(error, PlatformError)
    assert (type(error).__name__, error.exit_code) == ("NotArmedError", ExitCode.CONFIG)
    assert running.adapter.submitted == []
    (report,) = running.heard()
    assert (report.order_id, report.status, report.cum_qty) == ("O1", OrderStatus.REJECTED, 0)
    assert report.reason.startswith("NOT_ARMED")


def test_exposure_counts_everything_that_was_sent_before(running):
    running.want(an_order(1, qty=5), an_order(2, qty=5))
    wait_until(lambda: len(running.adapter.submitted) == 2, "orders")
    running.adapter.queued += [
        Report("O1", OrderStatus.FILLED, "VENUE", 0, Fill(1, Decimal(5), Decimal(100), Decimal(0))),
        Report("O2", OrderStatus.CANCELED, "VENUE", 0),
    ]
    wait_until(lambda: running.stage.figures().reports == 2, "reports")
    running.want(an_order(3, qty=5, side=Side.BUY))
    wait_until(lambda: len(running.adapter.submitted) == 3, "an order for what was canceled")
    running.want(an_order(4, qty="0.01"))
    assert "expected at most 1000 USD at this account, would be 1001" in str(running.ended())
    assert len(running.adapter.submitted) == 3


def test_an_order_twice_or_one_too_many_fails_it(running):
    running.want(an_order(1), an_order(1))
    assert "expected an order that was not sent before" in str(running.ended())
    other = RunningStage(Adapter())
    other.want(*(an_order(k) for k in range(1, 5)))
    assert "expected at most 3 open orders, would be 4" in str(other.ended())
    assert [order.order_id for order in other.adapter.submitted] == ["O1", "O2", "O3"]
    assert other.adapter.canceled == ["O1", "O2", "O3"], "what rests is withdrawn"


def test_an_order_without_its_row_is_not_sent(running):
    running.stage.on_requests([SubmitOrder(an_order(1))])
    assert "expected its row on the way to the database first, got none" in str(running.ended())
    assert running.adapter.submitted == []


def test_a_halt_cancels_orders_while_the_engine_is_stuck(running):
    """Orders requested after the HALT are rejected; RESUME lets orders pass again."""
    running.want(an_order(1))
    wait_until(lambda: running.adapter.submitted, "an order")
    running.stage.on_command(Command(CommandKind.HALT, "ops", "a test"))
    wait_until(lambda: running.adapter.canceled == ["O1"], "a cancel")
    running.want(an_order(2))
    reports = wait_until(lambda: len(found := running.heard()) and found, "reports")
    reports += wait_until(lambda: running.heard() or (len(reports) > 1 and [None]), "the refusal")
    refusal = next(report for report in reports if report and report.order_id == "O2")
    assert (refusal.status, refusal.reason) == (OrderStatus.REJECTED, "NOT_SENT HALT by ops")
    running.stage.on_command(Command(CommandKind.RESUME, "ops", "a test"))
    running.want(an_order(3))
    wait_until(lambda: len(running.adapter.submitted) == 2, "an order after the RESUME")
    assert not running.failures


def test_nothing_resumes_a_session_that_ends(running):
    running.adapter.cancel = lambda order_id, now: None
    running.want(an_order(1))
    wait_until(lambda: running.adapter.submitted, "an order")
    running.is_over = True
    wait_until(lambda: [word for word in running.heard() if isinstance(word, Command)], "the end")
    running.stage.on_command(Command(CommandKind.RESUME, "ops", "a test"))
    running.want(an_order(2))
    assert running.ended() is None
    assert [order.order_id for order in running.adapter.submitted] == ["O1"]


def test_messages_of_an_adapter_are_redacted(running):
    def leaking(approved: Any, now: int) -> None:
        raise RuntimeError("401 for api_key=abcdef0123456789 at wss://user:hunter2@venue")

    running.adapter.submit = leaking
    running.want(an_order(1))
    error = str(running.ended())
    assert "401" in error
    assert "abcdef0123456789" not in error
    assert "hunter2" not in error


def test_only_reducing_orders_pass_under_reduce(running):
    running.want(an_order(1, qty=2))
    wait_until(lambda: running.adapter.submitted, "an order")
    running.adapter.queued.append(
        Report("O1", OrderStatus.FILLED, "VENUE", 0, Fill(1, Decimal(2), Decimal(1), Decimal(0)))
    )
    wait_until(lambda: running.stage.figures().reports == 1, "its fill")
    running.stage.on_command(Command(CommandKind.REDUCE, "ops", "a test"))
    running.want(an_order(2, qty=3, side=Side.SELL), an_order(3), an_order(4, qty=2, side=Side.SELL))
    wait_until(lambda: len(running.adapter.submitted) == 2, "the one that reduces")
    assert running.adapter.submitted[1].order_id == "O4"
    assert running.stage.figures().refused == 2


def test_automatic_commands_do_not_weaken_a_halt(running):
    running.want(an_order(1))
    wait_until(lambda: len(running.adapter.submitted) == 1, "it")
    running.adapter.queued.append(
        Report("O1", OrderStatus.FILLED, "VENUE", 0, Fill(1, Decimal(1), Decimal(PRICE), Decimal(0)))
    )
    wait_until(running.heard, "the fill")
    running.stage.on_command(Command(CommandKind.HALT, "ops", "a test"))
    running.stage.on_records([journalled(Command(CommandKind.REDUCE, "risk engine", "a lie", automatic=True))])
    running.want(an_order(2, side=Side.SELL))
    (refusal,) = wait_until(running.heard, "the refusal")
    assert (refusal.status, refusal.reason) == (OrderStatus.REJECTED, "NOT_SENT HALT by ops")
    assert len(running.adapter.submitted) == 1


def test_an_unsent_order_is_not_canceled_at_the_venue(running):
    running.stage.on_requests([CancelOrder("O9")])
    assert running.finish() is None
    assert running.adapter.canceled == []


def raising(*_: Any) -> None:
    raise RuntimeError("the line is dead")


def exiting(*_: Any) -> None:
    raise SystemExit(3)


def hanging(*_: Any) -> None:
    time.sleep(30)


@pytest.mark.parametrize("method", ["submit", "cancel", "reports", "close"])
@pytest.mark.parametrize("misbehave", [raising, exiting, hanging])
def test_an_adapter_that_raises_or_hangs_fails_the_session(method, misbehave):
    adapter = Adapter()
    setattr(adapter, method, misbehave)
    running = RunningStage(adapter)
    running.want(an_order(1))
    error = running.ended() if method in {"submit", "reports"} else running.finish()
    assert type(error).__name__ == "LiveAdapterError"
    assert str(error).startswith(
        f"adapter.{method} raised" if misbehave is not hanging else f"adapter.{method}: expected"
    )
    assert error.exit_code == ExitCode.CRASH
    # A cancel of the resting order was requested, unless the adapter no longer answers.
    if misbehave is not hanging and method in {"submit", "close"}:
        assert adapter.canceled == ["O1"]


GOOD = {"order_id": "O1", "status": OrderStatus.ACCEPTED, "reason": "VENUE", "ts": 0}


NONSENSE: dict[str, Any] = {
    "nothing": None,
    "a text": "FILLED",
    "an object that is not a report": [object()],
    "a dictionary": [{"order_id": "O1"}],
    "an order that was never sent": [Report("O7", OrderStatus.ACCEPTED, "VENUE", 0)],
    "an order id that is not text": [Report(7, OrderStatus.ACCEPTED, "VENUE", 0)],  # type: ignore[arg-type]
    "an unknown status": [Report("O1", "BROKEN", "VENUE", 0)],  # type: ignore[arg-type]
    "a status that only we give": [Report("O1", OrderStatus.SUBMITTED, "VENUE", 0)],
    "no reason": [Report("O1", OrderStatus.ACCEPTED, "", 0)],
    "a reason that fills the log": [Report("O1", OrderStatus.ACCEPTED, "x" * 201, 0)],
    "a reason that cannot be printed": [Report("O1", OrderStatus.ACCEPTED, "a\x1b[2J", 0)],
    "FILLED without a fill": [Report("O1", OrderStatus.FILLED, "VENUE", 0)],
    "a fill with a status without fills": [a_fill(status=OrderStatus.CANCELED)],
    "more than was ordered": [a_fill(qty="1.001")],
    "more in parts than was ordered": [a_fill(1, "0.6", status=OrderStatus.PARTIALLY_FILLED), a_fill(2, "0.6")],
    "a quantity of nothing": [a_fill(qty=0)],
    "a price below zero": [a_fill(price=-1)],
    "a price that is not a number": [a_fill(price="NaN")],
    "fees without an end": [a_fill(fees="Infinity")],
    "a fill without a number": [a_fill(number=0)],
    "a price that is a text": [Report("O1", OrderStatus.FILLED, "VENUE", 0, Fill(1, Decimal(1), "x", Decimal(0)))],  # type: ignore[arg-type]
    "an end that executed more than was ordered": [Report("O1", OrderStatus.CANCELED, "VENUE", 0, None, Decimal(2))],
    "an end that forgets a fill": [
        a_fill(1, "0.5", status=OrderStatus.PARTIALLY_FILLED), Report("O1", OrderStatus.CANCELED, "VENUE", 0),
    ],
}  # fmt: skip


@pytest.mark.parametrize("what", NONSENSE)
def test_a_nonsensical_report_fails_the_session(what, running):
    """Nothing of the report reaches the engine, and the resting order is canceled."""
    running.want(an_order(1))
    wait_until(lambda: running.adapter.submitted, "an order")
    running.adapter.reports = lambda: NONSENSE[what]
    error = running.ended()
    assert type(error).__name__ == "LiveAdapterError", error
    good = len(NONSENSE[what] or ()) - 1 if isinstance(NONSENSE[what], list) else 0
    assert len([word for word in running.heard() if isinstance(word, Report)]) == good
    assert running.adapter.canceled == ["O1"]


def test_a_failure_elsewhere_cancels_resting_orders(running):
    running.want(an_order(1))
    wait_until(lambda: running.adapter.submitted, "an order")
    running.ticks.abort()
    running.stage.close()
    assert running.ended() is None, "the stage that failed first reports why"
    assert running.adapter.canceled == ["O1"]
    assert running.adapter.is_closed
    with pytest.raises(ChannelAborted):
        running.want(an_order(2))


def test_the_end_waits_for_a_slow_cancel(running):
    running.want(an_order(1))
    wait_until(lambda: running.adapter.submitted, "it")
    cancel = running.adapter.cancel
    running.adapter.cancel = lambda order_id, now: (time.sleep(0.1), cancel(order_id, now))
    running.stage.abort()
    assert running.stage.wait_for_end(0.0)
    assert running.adapter.canceled == ["O1"] and running.adapter.is_closed


def test_an_unanswered_cancel_leaves_the_order_open(running):
    running.adapter.cancel = lambda order_id, now: None
    running.want(an_order(1))
    wait_until(lambda: running.adapter.submitted, "an order")
    assert running.finish() is None
    assert running.stage.figures().open_orders == {"O1": "SUBMITTED"}


def test_no_thread_of_an_adapter_keeps_the_process():
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "live adapter")
