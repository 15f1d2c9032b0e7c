"""A small market for the tests of trading: ticks and signals in a few words, and engines that run them.

* `make_settings`: settings with a mode and the sections that a test states.
* `make_table`, `Print`, `make_ticks`: instruments at the venue TEST, and numbered ticks of them.
* `signal_at`, `stamped`: signals with the ids and times that the strategy stage would give them.
* `make_steps`: ticks and signals cut into decision steps.
* `run`, `Outcome`: a whole session, and its records by kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.domain.ids import make_signal_id
from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.domain.orders import (
    DecisionStep,
    OrderEventRecord,
    OrderRecord,
    OrderType,
    Record,
    Side,
    Signal,
    SignalRecord,
    TradeRecord,
    VetoRecord,
)
from hybrid_platform.domain.ticks import TickBatch, batch_from_rows
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.trading.engine import ExecutionEngine

START = 1_700_000_000 * NS_PER_S
SECOND = NS_PER_S
FREE = {"execution": {"slippage_bps": 0, "fee_bps": 0}}
"""Fills at the last price, without fees: for tests whose numbers should be easy to check."""


def make_settings(mode: str = "SHADOW", **sections: Mapping[str, Any]) -> SessionSettings:
    """Return settings with the sections that a test states."""
    return load_settings({"mode": mode, "seconds": 60, **sections}, environ={})


def make_table(*symbols: str, stated: Iterable[Instrument] = ()) -> InstrumentTable:
    """Return a table of symbols at TEST, in order."""
    table = InstrumentTable({item.key: item for item in stated})
    for symbol in symbols or ("ABC",):
        table.intern("TEST", symbol)
    return table


class Print(NamedTuple):
    """One tick: price, size and instrument; times in nanoseconds, a second apart unless stated."""

    price: str | int | Decimal
    size: str | int | Decimal = 1000
    index: int = 0
    at: int | None = None
    lag: int = 0
    """Receipt minus event time."""


def make_ticks(table: InstrumentTable, prints: Sequence[Print | str | int], first_seq: int = 1) -> TickBatch:
    """Return numbered ticks; a bare number is a price."""
    rows = []
    for position, item in enumerate(prints):
        tick = item if isinstance(item, Print) else Print(item)
        at = START + (first_seq - 1 + position) * SECOND if tick.at is None else tick.at
        units = [int(Decimal(value).scaleb(9)) for value in (tick.price, tick.size)]
        rows.append((tick.index, *units, 0, None, at - tick.lag, at))
    return batch_from_rows(table, rows).with_seq_from(first_seq)


def signal_at(ticks: TickBatch, position: int, side: Side, size: str | int, ordinal: int = 1, **terms: Any) -> Signal:
    """Return a stamped signal at a tick of a batch (by position)."""
    tick = ticks.tick(position)
    kind = OrderType.LIMIT if "limit_price" in terms else OrderType.MARKET
    if "limit_price" in terms:
        terms["limit_price"] = Decimal(terms["limit_price"])
    made = Signal(tick.seq, tick.instrument, side, Decimal(size), 0.5, "TEST", tick.price, **{"type": kind, **terms})
    return stamped(made, tick.ts_recv, ordinal)


def stamped(signal: Signal, ts: int, ordinal: int = 1) -> Signal:
    """Return a signal with its id and time, as the strategy stage gives them."""
    return msgspec.structs.replace(signal, signal_id=make_signal_id(signal.seq, ordinal), ts=ts)


def make_steps(ticks: TickBatch, signals: Sequence[Signal], cuts: Iterable[int] = ()) -> list[DecisionStep]:
    """Cut ticks at positions, and give every signal to the step of its tick."""
    edges = sorted({0, len(ticks), *(cut % (len(ticks) + 1) for cut in cuts)})
    steps = []
    for start, end in pairwise(edges):
        part = ticks[start:end]
        first, last = int(part.seq[0]), int(part.seq[-1])
        steps.append(DecisionStep(part, tuple(signal for signal in signals if first <= signal.seq <= last)))
    return steps


class Outcome(NamedTuple):
    """The engine and the records of a run."""

    engine: ExecutionEngine
    records: list[Record]

    def of(self, kind: type[Any]) -> list[Any]:
        """Return the records of one kind, in order."""
        return [record for record in self.records if isinstance(record, kind)]

    @property
    def signals(self) -> list[SignalRecord]:
        return self.of(SignalRecord)

    @property
    def vetoes(self) -> list[VetoRecord]:
        return self.of(VetoRecord)

    @property
    def reasons(self) -> list[str]:
        return [veto.reason.value for veto in self.vetoes]

    @property
    def orders(self) -> dict[str, OrderRecord]:
        """The last row of each order."""
        return {order.order_id: order for order in self.of(OrderRecord)}

    @property
    def trades(self) -> list[TradeRecord]:
        return self.of(TradeRecord)

    def states(self, order_id: str) -> list[str]:
        """Return the states of an order, in order."""
        return [event.status.value for event in self.of(OrderEventRecord) if event.order_id == order_id]


def run(
    settings: SessionSettings,
    ticks: TickBatch,
    signals: Sequence[Signal] = (),
    cuts: Iterable[int] = (),
    late: Mapping[str, int] | None = None,
) -> Outcome:
    """Run a whole session over one batch, cut at some positions."""
    engine = ExecutionEngine(settings, ticks.table, late=late)
    records = [record for step in make_steps(ticks, signals, cuts) for record in engine.on_step(step)]
    return Outcome(engine, records + engine.finish())


def seqs(ticks: TickBatch) -> list[int]:
    """Return the ticks' numbers."""
    return np.asarray(ticks.seq).tolist()
