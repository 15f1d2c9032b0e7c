"""The way to a venue alone: adapters that misbehave, a guarded process that lies, the second judge (S14, L1, L4)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.commands import Command, CommandKind
from hybrid_platform.domain.errors import ExitCode, PlatformError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.orders import OrderRecord, OrderStatus, OrderType, Side, TimeInForce
from hybrid_platform.domain.ticks import batch_from_rows
from hybrid_platform.live.execution import LiveExecution
from hybrid_platform.live.gate import Release
from hybrid_platform.live.order_guard import LiveOrderGuard
from hybrid_platform.log.session_log import SessionLog
from hybrid_platform.session.channel import Channel, ChannelAborted
from hybrid_platform.session.live_stage import LiveWiring
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.settings.runtime import OnFull
from hybrid_platform.trading.adapters.live import CancelOrder, SubmitOrder
from hybrid_platform.trading.order import Fill, Order, Report
from hybrid_platform.trading.risk.engine import Approved, require_approved
from hybrid_platform_tests.support import until

pytestmark = pytest.mark.scenario("S14", "L1", "L4")
ARMED = Decimal(1_000)
PRICE = 100


class Adapter:
    """Keeps what it is told, and reports what a test lays out."""

    def __init__(self) -> None:
        self.submitted: list[Order] = []
        self.canceled: list[str] = []
        self.told: list[Any] = []
        self.is_closed = False

    def open(self, session_id: str) -> None: ...

    def submit(self, approved: Approved[Order], now: int) -> None:
        self.submitted.append(require_approved(approved))

    def cancel(self, order_id: str, now: int) -> None:
        self.canceled.append(order_id)
        self.told.append(Report(order_id, OrderStatus.CANCELED, "REQUESTED", 0))

    def reports(self) -> Any:
        told, self.told = self.told, []
        return told

    def close(self, now: int) -> Any:
        self.is_closed = True
        return ()


class Way:
    """A `LiveExecution` with an adapter, and ends that a test holds."""

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
        """Wait for its end; return what it failed with."""
        until(lambda: self.stage.has_ended, "the stage to end", 10)
        return self.failures[0] if self.failures else None

    def heard(self) -> list[Any]:
        """What came back for the engine."""
        return [message.content for message in self.ticks.receive(timeout=0)]

    def finish(self) -> BaseException | None:
        self.is_over = True
        end = until(lambda: next((w for w in self.heard() if isinstance(w, Command)), None) or self.failures, "the end")
        if isinstance(end, Command):
            self.stage.on_records([journalled(end)])
        return self.ended()


def journalled(command: Command) -> Any:
    from hybrid_platform.domain.orders import InputKind, InputRecord

    return InputRecord(1, 1, InputKind.COMMAND, 1, command.as_detail())


def a_table() -> InstrumentTable:
    table = InstrumentTable()
    table.intern("TEST", "AAA")
    table.intern("TEST", "BBB")
    return table


def an_order(number: int = 1, qty: object = 1, side: Side = Side.BUY, **terms: Any) -> Order:
    given = {
        "order_id": f"O{number}", "signal_id": f"S{number}", "seq": number, "index": 0, "instrument": a_table()[0],
        "side": side, "type": OrderType.MARKET, "qty": Decimal(str(qty)), "reference_price": Decimal(PRICE),
        "limit_price": None, "time_in_force": TimeInForce.GTC, "expires_at": None, "reduce_only": False, "ts": 1,
    }  # fmt: skip
    return Order(**{**given, **terms})


def row_of(order: Order, **changed: Any) -> OrderRecord:
    fields = {
        "order_id": order.order_id, "signal_id": order.signal_id, "seq": order.seq, "venue": order.instrument.venue,
        "symbol": order.instrument.symbol, "side": order.side, "type": order.type, "qty": order.qty,
        "price": order.reference_price if order.limit_price is None else order.limit_price,
        "time_in_force": order.time_in_force, "reduce_only": order.reduce_only, "status": OrderStatus.SUBMITTED,
        "is_shadow": False, "ts": order.ts,
    }  # fmt: skip
    return OrderRecord(**{**fields, **changed})


@pytest.fixture
def way() -> Iterator[Way]:
    made = Way(Adapter())
    yield made
    made.is_over = True
    made.stage.abort()
    made.stage.join(5)


def test_approved_orders_arrive_and_reports_go_back_to_the_engine(way):
    way.want(an_order(1), an_order(2, side=Side.SELL))
    until(lambda: len(way.adapter.submitted) == 2, "orders")
    fill = Fill(1, Decimal(1), Decimal(101), Decimal(0))
    way.adapter.told.append(Report("O1", OrderStatus.FILLED, "VENUE", 0, fill))
    (report,) = until(way.heard, "a report")
    assert (report.order_id, report.fill) == ("O1", fill)
    assert way.finish() is None
    assert way.adapter.canceled == ["O2"]
    assert way.adapter.is_closed
    figures = way.stage.figures()
    assert (figures.submitted, figures.refused, figures.reports, figures.open_orders) == (2, 0, 2, {})
    assert figures.exposure_usd == 100


NOT_ARMED = {
    "more than was armed": (an_order(1, qty="10.01"), {}),
    "a quantity of nothing": (an_order(1, qty=0), {}),
    "a negative quantity": (an_order(1, qty=-1), {}),
    "a quantity that is no number": (an_order(1, qty="NaN"), {}),
    "an endless quantity": (an_order(1, qty="Infinity"), {}),
    "a limit order far away that would be worth more": (
        an_order(1, qty=6, type=OrderType.LIMIT, limit_price=Decimal(200)),
        {},
    ),
    "a limit order without a limit": (an_order(1, type=OrderType.LIMIT), {}),
    "an instrument of its own making": (
        an_order(1, qty=50, instrument=__import__("msgspec").structs.replace(a_table()[0], multiplier=Decimal("0.01"))),
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
def test_what_was_not_armed_is_not_sent_fails_the_session_with_config_and_is_told_to_the_engine(what, way):
    order, row = NOT_ARMED[what]
    way.want(order, row=row_of(order, **row))
    error = way.ended()
    assert isinstance(error, PlatformError)
    assert (type(error).__name__, error.exit_code) == ("NotArmedError", ExitCode.CONFIG)
    assert way.adapter.submitted == []
    (report,) = way.heard()
    assert (report.order_id, report.status, report.cum_qty) == ("O1", OrderStatus.REJECTED, 0)
    assert report.reason.startswith("NOT_ARMED")


def test_exposure_counts_everything_that_was_sent_before(way):
    way.want(an_order(1, qty=5), an_order(2, qty=5))
    until(lambda: len(way.adapter.submitted) == 2, "orders")
    way.adapter.told += [
        Report("O1", OrderStatus.FILLED, "VENUE", 0, Fill(1, Decimal(5), Decimal(100), Decimal(0))),
        Report("O2", OrderStatus.CANCELED, "VENUE", 0),
    ]
    until(lambda: way.stage.figures().reports == 2, "reports")
    way.want(an_order(3, qty=5, side=Side.BUY))
    until(lambda: len(way.adapter.submitted) == 3, "an order for what was canceled")
    way.want(an_order(4, qty="0.01"))
    assert "expected at most 1000 USD at this account, would be 1001" in str(way.ended())
    assert len(way.adapter.submitted) == 3


def test_an_order_twice_or_one_too_many_fails_it(way):
    way.want(an_order(1), an_order(1))
    assert "expected an order that was not sent before" in str(way.ended())
    other = Way(Adapter())
    other.want(*(an_order(k) for k in range(1, 5)))
    assert "expected at most 3 open orders, would be 4" in str(other.ended())
    assert [order.order_id for order in other.adapter.submitted] == ["O1", "O2", "O3"]
    assert other.adapter.canceled == ["O1", "O2", "O3"], "what rests is withdrawn"


def test_an_order_that_has_no_row_on_its_way_to_the_database_is_not_sent(way):
    way.stage.on_requests([SubmitOrder(an_order(1))])
    assert "expected its row on the way to the database first, got none" in str(way.ended())
    assert way.adapter.submitted == []


def test_a_halt_cancels_what_rests_though_the_engine_is_stuck_and_keeps_later_orders_back(way):
    way.want(an_order(1))
    until(lambda: way.adapter.submitted, "an order")
    way.stage.on_command(Command(CommandKind.HALT, "ops", "a test"))
    until(lambda: way.adapter.canceled == ["O1"], "a cancel")
    way.want(an_order(2))
    reports = until(lambda: len(found := way.heard()) and found, "reports")
    reports += until(lambda: way.heard() or (len(reports) > 1 and [None]), "the refusal")
    refusal = next(report for report in reports if report and report.order_id == "O2")
    assert (refusal.status, refusal.reason) == (OrderStatus.REJECTED, "NOT_SENT HALT by ops")
    way.stage.on_command(Command(CommandKind.RESUME, "ops", "a test"))
    way.want(an_order(3))
    until(lambda: len(way.adapter.submitted) == 2, "an order after the RESUME")
    assert not way.failures


def test_nothing_resumes_a_session_that_ends(way):
    way.adapter.cancel = lambda order_id, now: None
    way.want(an_order(1))
    until(lambda: way.adapter.submitted, "an order")
    way.is_over = True
    until(lambda: [word for word in way.heard() if isinstance(word, Command)], "the end")
    way.stage.on_command(Command(CommandKind.RESUME, "ops", "a test"))
    way.want(an_order(2))
    assert way.ended() is None
    assert [order.order_id for order in way.adapter.submitted] == ["O1"]


def test_what_an_adapter_says_is_redacted(way):
    def leaking(approved: Any, now: int) -> None:
        raise RuntimeError("401 for api_key=abcdef0123456789 at wss://user:hunter2@venue")

    way.adapter.submit = leaking
    way.want(an_order(1))
    error = str(way.ended())
    assert "401" in error
    assert "abcdef0123456789" not in error
    assert "hunter2" not in error


def test_while_reducing_only_what_makes_a_position_smaller_is_sent(way):
    way.want(an_order(1, qty=2))
    until(lambda: way.adapter.submitted, "an order")
    way.adapter.told.append(Report("O1", OrderStatus.FILLED, "VENUE", 0, Fill(1, Decimal(2), Decimal(1), Decimal(0))))
    until(lambda: way.stage.figures().reports == 1, "its fill")
    way.stage.on_command(Command(CommandKind.REDUCE, "ops", "a test"))
    way.want(an_order(2, qty=3, side=Side.SELL), an_order(3), an_order(4, qty=2, side=Side.SELL))
    until(lambda: len(way.adapter.submitted) == 2, "the one that reduces")
    assert way.adapter.submitted[1].order_id == "O4"
    assert way.stage.figures().refused == 2


def test_nothing_that_the_guarded_process_says_loosens_an_operators_halt(way):
    way.want(an_order(1))
    until(lambda: len(way.adapter.submitted) == 1, "it")
    way.adapter.told.append(
        Report("O1", OrderStatus.FILLED, "VENUE", 0, Fill(1, Decimal(1), Decimal(PRICE), Decimal(0)))
    )
    until(way.heard, "the fill")
    way.stage.on_command(Command(CommandKind.HALT, "ops", "a test"))
    way.stage.on_records([journalled(Command(CommandKind.REDUCE, "risk engine", "a lie", automatic=True))])
    way.want(an_order(2, side=Side.SELL))
    (refusal,) = until(way.heard, "the refusal")
    assert (refusal.status, refusal.reason) == (OrderStatus.REJECTED, "NOT_SENT HALT by ops")
    assert len(way.adapter.submitted) == 1


def test_a_cancel_of_an_order_that_never_left_asks_nothing_of_the_venue(way):
    way.stage.on_requests([CancelOrder("O9")])
    assert way.finish() is None
    assert way.adapter.canceled == []


def raising(*_: Any) -> None:
    raise RuntimeError("the line is dead")


def exiting(*_: Any) -> None:
    raise SystemExit(3)


def hanging(*_: Any) -> None:
    time.sleep(30)


@pytest.mark.parametrize("method", ["submit", "cancel", "reports", "close"])
@pytest.mark.parametrize("misbehave", [raising, exiting, hanging])
def test_an_adapter_that_raises_or_hangs_fails_the_session_and_is_named(method, misbehave):
    adapter = Adapter()
    setattr(adapter, method, misbehave)
    way = Way(adapter)
    way.want(an_order(1))
    error = way.ended() if method in {"submit", "reports"} else way.finish()
    assert type(error).__name__ == "LiveAdapterError"
    assert str(error).startswith(
        f"adapter.{method} raised" if misbehave is not hanging else f"adapter.{method}: expected"
    )
    assert error.exit_code == ExitCode.CRASH
    # What may rest was asked to be canceled, unless nobody answers any more.
    if misbehave is not hanging and method in {"submit", "close"}:
        assert adapter.canceled == ["O1"]


GOOD = {"order_id": "O1", "status": OrderStatus.ACCEPTED, "reason": "VENUE", "ts": 0}


def a_fill(number: Any = 1, qty: Any = 1, price: Any = 100, fees: Any = 0, **fields: Any) -> Report:
    amounts = [value if value is None else Decimal(str(value)) for value in (qty, price, fees)]
    return Report("O1", fields.get("status", OrderStatus.FILLED), "VENUE", 0, Fill(number, *amounts))


NONSENSE: dict[str, Any] = {
    "nothing": None,
    "a text": "FILLED",
    "what is no report": [object()],
    "a dictionary": [{"order_id": "O1"}],
    "an order nobody sent": [Report("O7", OrderStatus.ACCEPTED, "VENUE", 0)],
    "an order id that is no text": [Report(7, OrderStatus.ACCEPTED, "VENUE", 0)],  # type: ignore[arg-type]
    "a status that there is not": [Report("O1", "BROKEN", "VENUE", 0)],  # type: ignore[arg-type]
    "a status that only we give": [Report("O1", OrderStatus.SUBMITTED, "VENUE", 0)],
    "no reason": [Report("O1", OrderStatus.ACCEPTED, "", 0)],
    "a reason that fills the log": [Report("O1", OrderStatus.ACCEPTED, "x" * 201, 0)],
    "a reason that cannot be printed": [Report("O1", OrderStatus.ACCEPTED, "a\x1b[2J", 0)],
    "FILLED without a fill": [Report("O1", OrderStatus.FILLED, "VENUE", 0)],
    "a fill that is no end": [a_fill(status=OrderStatus.CANCELED)],
    "more than was ordered": [a_fill(qty="1.001")],
    "more in parts than was ordered": [a_fill(1, "0.6", status=OrderStatus.PARTIALLY_FILLED), a_fill(2, "0.6")],
    "a quantity of nothing": [a_fill(qty=0)],
    "a price below zero": [a_fill(price=-1)],
    "a price that is no number": [a_fill(price="NaN")],
    "fees without an end": [a_fill(fees="Infinity")],
    "a fill without a number": [a_fill(number=0)],
    "a price that is a text": [Report("O1", OrderStatus.FILLED, "VENUE", 0, Fill(1, Decimal(1), "x", Decimal(0)))],  # type: ignore[arg-type]
    "an end that executed more than was ordered": [Report("O1", OrderStatus.CANCELED, "VENUE", 0, None, Decimal(2))],
    "an end that forgets a fill": [
        a_fill(1, "0.5", status=OrderStatus.PARTIALLY_FILLED), Report("O1", OrderStatus.CANCELED, "VENUE", 0),
    ],
}  # fmt: skip


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_from_an_adapter_fails_the_session_and_none_of_it_reaches_the_engine(what, way):
    way.want(an_order(1))
    until(lambda: way.adapter.submitted, "an order")
    way.adapter.reports = lambda: NONSENSE[what]
    error = way.ended()
    assert type(error).__name__ == "LiveAdapterError", error
    good = len(NONSENSE[what] or ()) - 1 if isinstance(NONSENSE[what], list) else 0
    assert len([word for word in way.heard() if isinstance(word, Report)]) == good
    assert way.adapter.canceled == ["O1"]


def test_when_the_session_fails_elsewhere_what_rests_is_canceled(way):
    way.want(an_order(1))
    until(lambda: way.adapter.submitted, "an order")
    way.ticks.abort()
    way.stage.close()
    assert way.ended() is None, "whoever failed first says why"
    assert way.adapter.canceled == ["O1"]
    assert way.adapter.is_closed
    with pytest.raises(ChannelAborted):
        way.want(an_order(2))


def test_the_end_waits_for_a_venue_that_takes_its_time_to_cancel(way):
    way.want(an_order(1))
    until(lambda: way.adapter.submitted, "it")
    cancel = way.adapter.cancel
    way.adapter.cancel = lambda order_id, now: (time.sleep(0.1), cancel(order_id, now))
    way.stage.abort()
    assert way.stage.wait_for_end(0.0)
    assert way.adapter.canceled == ["O1"] and way.adapter.is_closed


def test_a_venue_that_does_not_answer_a_cancel_leaves_the_order_open_on_record(way):
    way.adapter.cancel = lambda order_id, now: None
    way.want(an_order(1))
    until(lambda: way.adapter.submitted, "an order")
    assert way.finish() is None
    assert way.stage.figures().open_orders == {"O1": "SUBMITTED"}


def test_what_an_order_is_judged_against_does_not_grow_with_those_that_ended():
    guard = LiveOrderGuard(ARMED, 5, {"USD": Decimal(1)}, a_table())
    guard.update_price(0, Decimal(PRICE))
    for number in range(1, 101):
        order = an_order(number, side=Side.BUY if number % 2 else Side.SELL)
        guard.add_row(row_of(order))
        assert guard.rejection_reason(order) is None
        guard.mark_sent(order)
        assert list(guard.pending) == [order.order_id]
        ended = (OrderStatus.REJECTED, None) if number % 10 in {1, 2} else (OrderStatus.FILLED, a_fill(number).fill)
        assert guard.apply_report(Report(order.order_id, ended[0], "VENUE", 0, ended[1])) is None
        assert not guard.pending
    assert guard.exposure_usd() == 0
    guard.add_row(row_of(order))
    assert guard.rejection_reason(order) == "expected an order that was not sent before, got one that was"


MOVES = st.lists(
    st.tuples(
        st.sampled_from(list(Side)), st.integers(1, 12), st.integers(0, 100), st.sampled_from(("fill", "cancel", ""))
    ),
    max_size=30,
)


@given(MOVES)
def test_however_orders_and_fills_follow_each_other_no_more_than_what_was_armed_is_ever_at_the_venue(moves):
    table = a_table()
    guard = LiveOrderGuard(ARMED, 5, {"USD": Decimal(1)}, table)
    guard.update_price(0, Decimal(PRICE))
    net, pending = Decimal(0), {Side.BUY: Decimal(0), Side.SELL: Decimal(0)}
    for number, (side, qty, percent, what) in enumerate(moves, 1):
        order = an_order(number, qty, side)
        guard.add_row(row_of(order))
        before = max(abs(net + pending[Side.BUY]), abs(net - pending[Side.SELL])) * PRICE
        if guard.rejection_reason(order) is not None:
            continue
        guard.mark_sent(order)
        pending[side] += qty
        worst = max(abs(net + pending[Side.BUY]), abs(net - pending[Side.SELL])) * PRICE
        assert worst <= max(ARMED, before)
        assert guard.exposure_usd() == worst
        executed = Decimal(qty) * percent / 100 if what else Decimal(0)
        if executed:
            status = OrderStatus.FILLED if executed == qty else OrderStatus.PARTIALLY_FILLED
            report = Report(order.order_id, status, "VENUE", 0, Fill(1, executed, Decimal(PRICE), Decimal(0)))
            assert guard.apply_report(report) is None
            assert guard.apply_report(report) is None, "a repetition changes nothing"
            net += executed if side is Side.BUY else -executed
            pending[side] -= executed
        if what == "cancel" and executed < qty:
            assert guard.apply_report(Report(order.order_id, OrderStatus.CANCELED, "VENUE", 0, None, executed)) is None
            pending[side] -= Decimal(qty) - executed
        assert guard.exposure_usd() == max(abs(net + pending[Side.BUY]), abs(net - pending[Side.SELL])) * PRICE


def test_no_thread_of_an_adapter_keeps_the_process():
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "live adapter")
