"""Sessions recorded without threads: strategy and engine driven by hand, written by the session's own writer.

A test states what a running pipeline can do to the ticks of a session as a list of `SessionEvent`s, so that
Hypothesis can generate it. Helpers:

* `make_ticks`: numbered ticks from (instrument, price, gap) triples; `random_walk`: such triples.
* `SessionEvent`, `session_events`: something that happens to the ticks, and a Hypothesis strategy of such events.
* `BusyStrategy`: a strategy that uses every kind of order, cancels, and timers.
* `Recorder`: a database that records sessions; `RecordedSession`: one of them.
* `state_instrument`: an instrument with stated rules.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from hypothesis import strategies as st

from hybrid_platform.domain.clocks import NS_PER_MS, NS_PER_S
from hybrid_platform.domain.commands import Command, CommandKind
from hybrid_platform.domain.errors import ExitCode
from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.domain.orders import (
    DecisionStep,
    InputRecord,
    OrderStatus,
    OrderType,
    Record,
    Signal,
    TimeInForce,
    buy,
    sell,
)
from hybrid_platform.domain.records import CodeIdentity
from hybrid_platform.domain.ticks import Tick, TickBatch, batch_from_rows
from hybrid_platform.evidence.reproduction import WrittenRows
from hybrid_platform.evidence.row_digests import InputDigest, TickDigest
from hybrid_platform.host.process import this_process
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import default_url
from hybrid_platform.storage.migrate import migrate
from hybrid_platform.storage.queries import count_rows
from hybrid_platform.storage.rows import RECORD_LAYOUTS, record_rows
from hybrid_platform.storage.session_records import SessionEnd, SessionStart, SessionState
from hybrid_platform.storage.sessions import SessionStore
from hybrid_platform.storage.writer import SessionWriter
from hybrid_platform.strategies import Params, Strategy
from hybrid_platform.strategies.loader import build_strategy
from hybrid_platform.strategies.runner import StrategyRunner
from hybrid_platform.trading.accounts import Account
from hybrid_platform.trading.adapters.live import OrderRequest, SubmitOrder
from hybrid_platform.trading.engine import ExecutionEngine
from hybrid_platform.trading.order import Fill, Order, Report

START = 1_700_000_000 * NS_PER_S
CODE = CodeIdentity("0.0.0", None, None)


class BusyStrategy(Strategy[Params]):
    """A strategy with both sides, limits, cancels, two signals at a tick, and timers."""

    timer_seconds = 0.5

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.seen = 0
        self.last: Tick | None = None

    def on_tick(self, tick: Tick) -> list[Signal]:
        self.seen += 1
        self.last = tick
        away = Decimal(tick.price_units % 3 - 1)
        wanted = []
        if self.seen % 2 == 0:
            wanted.append((buy if self.seen % 4 else sell)(tick, 1 + self.seen % 3, "TURN"))
        if self.seen % 5 == 0:
            terms = {"limit_price": tick.price + away, "type": OrderType.LIMIT}
            tif = list(TimeInForce)[self.seen % 4]
            expires = tick.ts_recv + 200 * NS_PER_MS if tif is TimeInForce.GTD else None
            wanted.append(sell(tick, 2, "LIMIT", **terms, time_in_force=tif, expires_at=expires))
        if self.seen % 7 == 0:
            wanted.append(buy(tick, 1, "CANCEL", cancels=f"O{tick.seq - 2}"))
        return wanted

    def on_timer(self, now: int) -> Signal | None:
        return None if self.last is None else buy(self.last, 1, "TIMER", reduce_only=True)


BUSY = f"{__name__}:BusyStrategy"


class SessionEvent(NamedTuple):
    """Something that happens to the next ticks, or between them."""

    kind: str
    """show, drop (before the strategy), evict (before the database), lose (both), idle, command, report (LIVE)."""
    count: int = 1
    """Ticks; for ``idle`` and ``command`` ms of silence; for ``report`` a number that selects it."""
    late_ms: int | None = None
    """Delay of execution after the last shown tick; None: no delay, as in a replay."""
    command: CommandKind = CommandKind.HALT


def session_events(kinds: Sequence[str], most: int) -> st.SearchStrategy[SessionEvent]:
    """Return a Hypothesis strategy of events that affect up to ``most`` ticks, or last up to ``most`` milliseconds."""
    return st.tuples(st.sampled_from(kinds), st.integers(1, most)).map(lambda drawn: SessionEvent(*drawn))


def make_ticks(moves: Iterable[tuple[int, int, int]], instruments: Sequence[str] = ("AAA", "BBB/USDC")) -> TickBatch:
    """Return numbered ticks of ``(instrument, price, gap in ms)``."""
    table = InstrumentTable()
    for symbol in instruments:
        table.intern("TEST", symbol)
    rows, at = [], START
    for index, price, gap in moves:
        at += gap * NS_PER_MS
        rows.append((index, price * 10**9, 3 * 10**9, 0, None, at, at))
    return batch_from_rows(table, rows).with_seq_from(1)


def random_walk(count: int = 100) -> list[tuple[int, int, int]]:
    """Return triples for `make_ticks`, always the same."""
    dice = random.Random(3)
    return [(dice.randrange(2), 100 + dice.randrange(-3, 4), dice.choice((0, 1, 20, 400))) for _ in range(count)]


@dataclass
class Recorder:
    """A database and the sessions recorded into it."""

    folder: Path
    count: int = 0
    engines: dict[str, sa.Engine] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.url = default_url(self.folder)
        self.writing = open_engine(self.url, role="write")
        self.reading = open_engine(self.url, role="read")
        migrate(self.writing)

    def settings(self, **sections: Any) -> SessionSettings:
        """Return settings: PAPER, `BusyStrategy`, small caps, and those of the test."""
        caps = {"max_symbol_exposure_usd": 1000, "max_open_orders": 4}
        stated = {
            "mode": "PAPER",
            "strategy": {"name": BUSY},
            "risk": caps,
            "data_dir": str(self.folder),
            "seconds": 60,
        }
        return load_settings({**stated, **sections}, environ={})

    def record(
        self,
        settings: SessionSettings,
        ticks: TickBatch,
        events: Sequence[SessionEvent] = (),
        *,
        state: SessionState = SessionState.COMPLETE,
        finish: bool = True,
    ) -> RecordedSession:
        """Run a session; the ticks that remain after the events are shown at once."""
        self.count += 1
        session_id = f"20260102T030405Z-{self.count:08x}"
        store = SessionStore(self.writing)
        store.start(SessionStart(session_id, f"run-{self.count}", settings, "0.0.0", START, this_process()))
        engine = ExecutionEngine(settings, ticks.table)
        run = _Run(settings, engine, ticks)
        for event in events:
            run.apply(event)
        run.apply(SessionEvent("show", len(ticks)))
        records = run.end(finish)
        with SessionWriter(self.writing, session_id) as writer:
            writer.write([ticks[np.array(run.kept, dtype=np.bool_)]], records)
        counted = count_rows(self.writing, session_id)
        ledger = [("feed", "test", "accepted", len(ticks)), ("channel", "persist", "dropped", run.kept.count(False))]
        ledger += [("table", name, "counted", count) for name, count in counted.items()]
        code = ExitCode.COMPLETE if state is SessionState.COMPLETE else ExitCode.CRASH
        store.finish(session_id, SessionEnd(state, code, "END_OF_FEED", START, is_clean=True), ledger)
        shown, inputs = TickDigest(), InputDigest()
        shown.add(ticks[np.array(run.kept, dtype=np.bool_)])
        journal = [record for record in records if isinstance(record, InputRecord)]
        inputs.add(record_rows(RECORD_LAYOUTS[InputRecord], journal, 0))
        written = WrittenRows(shown.figures(), inputs.figures())
        return RecordedSession(session_id, records, engine.account, run.seen, written)

    def tamper(self, statement: str, **values: Any) -> None:
        """Change rows outside of a session."""
        with self.writing.begin() as connection:
            assert connection.execute(sa.text(statement), values).rowcount == 1


class RecordedSession(NamedTuple):
    """A recorded session."""

    session_id: str
    records: list[Record]
    account: Account
    seen: int
    """Ticks that the strategy saw."""
    written: WrittenRows
    """Counts of persisted rows, as session.json would have them."""


class _LiveVenue:
    """A venue that accepts the requests of a LIVE engine and sends one possible report at a time."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Order, Decimal, int]] = {}
        """Order, executed quantity, number of fills."""

    def submit(self, requests: Iterable[OrderRequest]) -> None:
        self._open |= {
            each.order.order_id: (each.order, Decimal(0), 0) for each in requests if isinstance(each, SubmitOrder)
        }

    def report(self, dice: int) -> Report | None:
        if not self._open:
            return None
        order_id, (order, executed, fills) = list(self._open.items())[dice % len(self._open)]
        left, what = order.qty - executed, dice // 7 % 4
        if what == 0:
            return Report(order_id, OrderStatus.ACCEPTED, "VENUE", 0)
        if what == 1:
            del self._open[order_id]
            return Report(order_id, OrderStatus.CANCELED, "VENUE", 0, None, executed)
        qty = left if what == 2 else left / 2
        self._open[order_id] = order, executed + qty, fills + 1
        if what == 2:
            del self._open[order_id]
        status = OrderStatus.FILLED if what == 2 else OrderStatus.PARTIALLY_FILLED
        return Report(order_id, status, "VENUE", 0, Fill(fills + 1, qty, order.reference_price, Decimal("0.01")))


class _Run:
    def __init__(self, settings: SessionSettings, engine: ExecutionEngine, ticks: TickBatch) -> None:
        self.runner = StrategyRunner(
            build_strategy(settings.strategy), ticks.table, warm_start_ticks=settings.warm_start_ticks
        )
        self.engine = engine
        self.venue = _LiveVenue()
        self.ticks = ticks
        self.at = 0
        self.now = START
        self.seen = 0
        self.kept: list[bool] = []
        self.records: list[Record] = []

    def apply(self, event: SessionEvent) -> None:
        if event.kind == "report":
            self.now += NS_PER_MS
            if (report := self.venue.report(event.count)) is not None:
                self.records += self.engine.on_report(report, self.runner.last_seq, self.now)
                self.venue.submit(self.engine.drain_requests())
            return
        if event.kind in {"idle", "command"}:
            self.now += event.count * NS_PER_MS
            if event.kind == "idle":
                self.execute(self.runner.on_idle(self.now))
            else:
                command = Command(event.command, "a person", "a test")
                self.records += self.engine.on_command(command, self.runner.last_seq, self.now)
                self.venue.submit(self.engine.drain_requests())
            return
        part = self.ticks[self.at : self.at + event.count]
        self.at += len(part)
        self.kept += [event.kind in {"show", "drop"}] * len(part)
        if len(part) and event.kind in {"show", "evict"}:
            self.seen += len(part)
            self.now = max(self.now, int(part.ts_recv.max()))
            late = None if event.late_ms is None else self.now + event.late_ms * NS_PER_MS
            self.execute(self.runner.on_batch(part), late)

    def execute(self, steps: list[DecisionStep], decided_at: int | None = None) -> None:
        for step in steps:
            self.records += self.engine.on_step(step, decided_at)
        self.venue.submit(self.engine.drain_requests())

    def end(self, finish: bool) -> list[Record]:
        self.execute(self.runner.on_end(len(self.ticks)))
        if finish:
            self.records += self.engine.finish()
        return self.records


def state_instrument(symbol: str = "AAA", **rules: Any) -> Mapping[tuple[str, str], Instrument]:
    """Return one instrument with stated rules, in the form that a table takes."""
    return {("TEST", symbol): Instrument("TEST", symbol, inferred=False, **rules)}
