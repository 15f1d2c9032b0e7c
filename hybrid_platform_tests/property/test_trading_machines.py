"""State machines: any report against the order manager, and a whole paper session (S10, S11, I2, I3, I4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from hybrid_platform.domain.commands import Command, CommandKind
from hybrid_platform.domain.orders import (
    DecisionStep,
    OrderEventRecord,
    OrderRecord,
    OrderStatus,
    OrderType,
    Record,
    Side,
    Signal,
    TimeInForce,
    TradeRecord,
)
from hybrid_platform.trading.accounts import Account, rebuild_account
from hybrid_platform.trading.adapters.paper.model import build_paper_model
from hybrid_platform.trading.adapters.paper.venue import PaperVenue
from hybrid_platform.trading.audit_journal import AuditJournal
from hybrid_platform.trading.engine import ExecutionEngine
from hybrid_platform.trading.market_state import MarketState
from hybrid_platform.trading.order import Fill, Order, Report
from hybrid_platform.trading.order_manager import OrderManager
from hybrid_platform.trading.risk.engine import RiskEngine
from hybrid_platform.trading.risk.exposure import Exposure
from hybrid_platform.trading.states import ALLOWED, CLOSED, IllegalTransitionError
from hybrid_platform_tests.property.trading_oracle import (
    SYMBOLS,
    WISHES,
    Caps,
    Wish,
    check_account,
    check_links,
    paper,
)
from hybrid_platform_tests.trading.market import START, Print, make_settings, make_table, make_ticks, stamped

S = OrderStatus
ZERO = Decimal(0)


@dataclass
class Model:
    """The expected state of an order, by rules instead of the transition table."""

    order: Order
    status: OrderStatus = S.SUBMITTED
    fills: dict[int, Decimal] = field(default_factory=dict)
    acknowledged: bool = False
    cancel_asked: bool = False
    cum_qty: Decimal | None = None
    """The quantity that the venue executed, once it has ended the order."""

    @property
    def reported(self) -> Decimal:
        return sum(self.fills.values(), ZERO)

    @property
    def pending(self) -> Decimal:
        return (self.order.qty if self.cum_qty is None else self.cum_qty) - self.reported

    @property
    def is_over(self) -> bool:
        return not self.pending


class OrderManagerMachine(RuleBasedStateMachine):
    """The order manager applies possible reports, refuses the others, and counts nothing twice."""

    orders = Bundle("orders")
    reports = Bundle("reports")

    def __init__(self) -> None:
        super().__init__()
        table = make_table("ABC")
        market = MarketState(table)
        market.begin_batch(make_ticks(table, [100]))
        market.end_batch()
        self.table, self.journal, self.models = table, AuditJournal(), {}
        self.account = Account(lambda venue, symbol: table[0])
        self.exposure = Exposure(self.account, market, {"USD": Decimal(1)}, ZERO)
        self.manager = OrderManager(
            self.journal, self.account, self.exposure, PaperVenue(build_paper_model(make_settings("PAPER")), market)
        )

    def apply(self, report: Report, is_legal: bool, is_news: bool) -> bool:
        """Apply a report and check the effect; return whether the model must follow."""
        before = (len(self.journal.records), self.account.positions(), self.manager.open_orders)
        if is_news and not is_legal:
            with pytest.raises(IllegalTransitionError):
                self.manager.apply(report)
        else:
            self.manager.apply(report)
        if is_legal and is_news:
            return True
        assert before == (len(self.journal.records), self.account.positions(), self.manager.open_orders)
        return False

    @rule(target=orders, side=st.sampled_from(Side), qty=st.integers(1, 20))
    def place(self, side: Side, qty: int) -> str:
        n = len(self.models) + 1
        order = Order(f"O{n}", f"S{n}", n, 0, self.table[0], side, OrderType.MARKET, Decimal(qty), Decimal(100), None,
                      TimeInForce.GTC, None, False, n)  # fmt: skip
        self.manager.place(RiskEngine([]).judge(order, None))
        self.models[order.order_id] = Model(order)
        return order.order_id

    @rule(target=reports, order_id=orders)
    def accept(self, order_id: str) -> Report:
        model, report = self.models[order_id], Report(order_id, S.ACCEPTED, "A", 1)
        news = not (model.acknowledged or model.cum_qty is not None or model.is_over)
        if self.apply(report, is_legal=True, is_news=news):
            model.status, model.acknowledged = S.ACCEPTED, True
        return report

    @rule(
        target=reports,
        order_id=orders,
        status=st.sampled_from((S.REJECTED, S.CANCELED, S.EXPIRED)),
        executed=st.integers(-1, 21),
    )
    def end(self, order_id: str, status: OrderStatus, executed: int) -> Report:
        model, cum_qty = self.models[order_id], Decimal(0 if status is S.REJECTED else executed)
        report = Report(order_id, status, "E", 1, cum_qty=cum_qty)
        possible = model.status in {S.SUBMITTED, S.PENDING_CANCEL} if status is S.REJECTED else True
        legal = possible and model.reported <= cum_qty <= model.order.qty
        if self.apply(report, legal, is_news=model.cum_qty is None and not model.is_over):
            model.status, model.cum_qty = status, cum_qty
        return report

    @rule(target=reports, order_id=orders, number=st.integers(1, 6), qty=st.integers(0, 21))
    def fill(self, order_id: str, number: int, qty: int) -> Report:
        model, amount = self.models[order_id], Decimal(qty)
        status = S.FILLED if model.reported + amount == model.order.qty else S.PARTIALLY_FILLED
        report = Report(order_id, status, "F", 1, Fill(number, amount, Decimal(100), Decimal("0.1")))
        legal = ZERO < amount <= model.pending
        if self.apply(report, legal, is_news=number not in model.fills and not model.is_over):
            model.fills[number], model.acknowledged = amount, True
            if model.cum_qty is None:
                model.status = status
            elif model.reported == model.order.qty:
                model.status = S.FILLED
        return report

    @rule(order_id=orders)
    def ask_to_cancel(self, order_id: str) -> None:
        model = self.models[order_id]
        possible = model.status not in CLOSED and not model.cancel_asked
        assert self.manager.cancel(order_id, "C", 1) is possible
        if possible:
            model.status, model.cancel_asked = S.PENDING_CANCEL, True

    @rule(report=reports)
    def repeat(self, report: Report) -> None:
        """Apply an earlier report again: nothing changes (I3)."""
        model = self.models[report.order_id]
        known = report.fill.number in model.fills if report.fill else model.cum_qty is not None or model.is_over
        if known or (report.status is S.ACCEPTED and model.acknowledged):
            self.apply(report, is_legal=True, is_news=False)

    @invariant()
    def pending_open_orders_and_positions_are_right(self) -> None:
        holding = self.exposure.holding(0, self.table[0])
        for side, pending in ((Side.BUY, holding.buys), (Side.SELL, holding.sells)):
            assert pending == sum((m.pending for m in self.models.values() if m.order.side is side), ZERO)
        assert self.manager.open_orders == sum(m.status not in CLOSED for m in self.models.values())
        net = sum((m.reported * (1 if m.order.side is Side.BUY else -1) for m in self.models.values()), ZERO)
        assert self.account.position("TEST", "ABC").net == net
        assert self.manager.trades == sum(len(m.fills) for m in self.models.values())

    @invariant()
    def every_event_follows_from_the_one_before(self) -> None:
        last: dict[str, OrderStatus] = {}
        rows: dict[str, OrderStatus] = {}
        for record in self.journal.records:
            if isinstance(record, OrderEventRecord):
                before = last.get(record.order_id)
                assert record.status is S.INITIALIZED if before is None else record.status in ALLOWED[before]
                last[record.order_id] = record.status
            elif isinstance(record, OrderRecord):
                rows[record.order_id] = record.status
        assert last == rows == {order_id: model.status for order_id, model in self.models.items()}


class PaperMachine(RuleBasedStateMachine):
    """A paper session with prints, signals, cancels, timers and the kill switch in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = paper(seed=5)
        self.table = make_table(*SYMBOLS)
        self.engine = ExecutionEngine(self.settings, self.table)
        self.records: list[Record] = []
        self.prints: list[Print] = []
        self.ordinals: dict[int, int] = {}
        self.signal_ids: list[str] = []
        self.at = START
        self.state = "ACTIVE"

    def take(self, records: list[Record]) -> None:
        if self.state == "HALTED":
            assert not [r for r in records if isinstance(r, OrderRecord) and r.status is S.SUBMITTED]
        self.records += records

    def wished(self, wish: Wish) -> Signal:
        """Return the stamped signal of a wish at the last print."""
        seq, last = len(self.prints), self.prints[-1]
        ordinal = self.ordinals[seq] = self.ordinals.get(seq, 0) + 1
        price = Decimal(last.price)
        aims = wish.cancels is not None and len(self.signal_ids) >= wish.cancels
        signal = Signal(
            seq, self.table[last.index], wish.side, Decimal(wish.size), 0.5, "TEST", price,
            type=OrderType.MARKET if wish.away is None else OrderType.LIMIT,
            limit_price=None if wish.away is None else price + wish.away,
            time_in_force=wish.terms,
            expires_at=self.at + 60 * 10**6 if wish.terms is TimeInForce.GTD else None,
            reduce_only=wish.reduce_only,
            cancels="O" + self.signal_ids[-(wish.cancels or 0)][1:] if aims else None,
        )  # fmt: skip
        signal = stamped(signal, self.at, ordinal)
        self.signal_ids.append(signal.signal_id)
        return signal

    @rule(index=st.integers(0, 2), price=st.integers(97, 103), size=st.integers(0, 40), gap=st.sampled_from((0, 1, 30)),
          wishes=st.lists(WISHES, max_size=2))  # fmt: skip
    def tick(self, index: int, price: int, size: int, gap: int, wishes: list[Wish]) -> None:
        self.at += gap * 10**6
        self.prints.append(Print(price, size, index, self.at))
        ticks = make_ticks(self.table, self.prints[-1:], first_seq=len(self.prints))
        self.take(self.engine.on_step(DecisionStep(ticks, tuple(self.wished(wish) for wish in wishes))))

    @precondition(lambda self: self.prints)
    @rule(gap=st.sampled_from((1, 20, 1000)), wishes=st.lists(WISHES, max_size=1))
    def timer(self, gap: int, wishes: list[Wish]) -> None:
        self.at += gap * 10**6
        nothing = make_ticks(self.table, [])
        self.take(
            self.engine.on_step(DecisionStep(nothing, tuple(self.wished(wish) for wish in wishes), timer=self.at))
        )

    @rule(kind=st.sampled_from(CommandKind))
    def command(self, kind: CommandKind) -> None:
        self.take(self.engine.on_command(Command(kind, "ann", "a test"), len(self.prints), self.at))
        self.state = kind.state.value
        assert self.engine.counters.state == self.state

    @invariant()
    def accounts_and_counts_hold(self) -> None:
        check_account(self.records, self.engine.account.positions())
        counters = self.engine.counters
        assert 0 <= counters.open_orders <= self.settings.risk.max_open_orders
        assert counters.trades == sum(isinstance(record, TradeRecord) for record in self.records)
        assert counters.vetoes == sum(counters.veto_reasons.values())

    def teardown(self) -> None:
        self.records += self.engine.finish()
        assert self.engine.counters.open_orders == 0
        check_links(self.records)
        Caps(self.settings, make_ticks(self.table, self.prints), self.records).check()
        known: dict[Any, Any] = {item.key: item for item in self.table}
        trades = [record for record in self.records if isinstance(record, TradeRecord)]
        assert rebuild_account(reversed(trades), known).positions() == self.engine.account.positions()
        msgspec.msgpack.encode(self.records)


TestOrderManager = pytest.mark.scenario("S10", "S11", "I3")(OrderManagerMachine.TestCase)
TestOrderManager.settings = settings(
    max_examples=300, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestPaper = pytest.mark.scenario("I2", "I3", "I4", "S11")(PaperMachine.TestCase)
TestPaper.settings = settings(
    max_examples=300, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
