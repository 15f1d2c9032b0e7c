"""Ticks and records of any content survive a round trip through the database, in any batches."""

from __future__ import annotations

import itertools
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.orders import (
    HeartbeatRecord,
    InputRecord,
    OrderEventRecord,
    OrderRecord,
    SignalRecord,
    TradeRecord,
    VetoRecord,
)
from hybrid_platform.domain.ticks import TickBatch, batch_from_rows
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import default_url
from hybrid_platform.storage.migrate import migrate
from hybrid_platform.storage.queries import count_rows
from hybrid_platform.storage.reader import read_records, read_tick_batches
from hybrid_platform.storage.rows import RECORD_LAYOUTS
from hybrid_platform.storage.sessions import SessionStore
from hybrid_platform.storage.writer import SessionWriter
from hybrid_platform_tests.storage.samples import session_start

INT64 = st.integers(-(2**63), 2**63 - 1)
COUNT = st.integers(0, 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
EXACT = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40)
FLOAT = st.floats(allow_nan=False)
TRADE_REF = st.one_of(st.none(), INT64, TEXT, INT64.map(str))
TICK = st.tuples(st.integers(0, 2), INT64, INT64, st.integers(-1, 1), TRADE_REF, INT64, INT64)

_numbers = itertools.count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One database for all examples; each example has a separate session."""
    folder = tmp_path_factory.mktemp("roundtrip")
    migrate(open_engine(default_url(folder), role="write"))
    return folder


def started(folder: Path) -> tuple[sa.Engine, str]:
    session_id = f"session-{next(_numbers)}"
    engine = open_engine(default_url(folder), role="write")
    SessionStore(engine).start(session_start(session_id))
    return engine, session_id


def make_table() -> InstrumentTable:
    table = InstrumentTable()
    for symbol in "ABC":
        table.intern("V", symbol)
    return table


def content(batches: list[TickBatch]) -> list[tuple[object, ...]]:
    """Return ticks as tuples, with trade ids as text, which is how their column stores them."""
    return [(*row[:5], None if row[5] is None else str(row[5]), *row[6:]) for batch in batches for row in batch.rows()]


@pytest.mark.scenario("I3")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    parts=st.lists(st.lists(TICK, max_size=12), max_size=5),
    gaps=st.lists(st.integers(1, 2**40), min_size=60, max_size=60),
    cut=st.integers(0, 5),
    at_once=st.integers(1, 9),
    again=st.booleans(),
)
def test_ticks_survive_a_round_trip(folder, parts, gaps, cut, at_once, again):
    engine, session_id = started(folder)
    table = make_table()
    seqs = iter(np.cumsum(np.array(gaps, dtype=np.int64)))
    batches = []
    for part in parts:
        batch = batch_from_rows(table, part)
        batch.seq = np.array([next(seqs) for _ in part], dtype=np.int64)
        batches.append(batch)
    with SessionWriter(engine, session_id) as writer:
        total = writer.write(batches[:cut], []) + writer.write(batches[cut:], [])
        if again:
            assert writer.write(batches, []) == 0
        assert total == writer.written["ticks"] == sum(map(len, parts))
    SessionStore(engine).mark_crashed(lambda session: session.session_id == session_id)
    assert count_rows(engine, session_id)["ticks"] == total
    assert content(list(read_tick_batches(engine, session_id, make_table(), ticks_at_once=at_once))) == content(batches)


FIELDS = {
    SignalRecord: {"seq": COUNT, "size": EXACT, "confidence": FLOAT, "reason": TEXT, "ts": INT64},
    VetoRecord: {"seq": COUNT, "detail": TEXT, "ts": INT64},
    OrderRecord: {"seq": COUNT, "qty": EXACT, "price": st.none() | EXACT, "ts": INT64},
    OrderEventRecord: {"n": COUNT, "reason": TEXT, "ts": INT64},
    TradeRecord: {"n": COUNT, "fill_qty": EXACT, "fill_price": EXACT, "fees": EXACT, "ts": INT64},
    InputRecord: {"n": COUNT, "after_seq": INT64, "ts": INT64, "detail": TEXT},
    HeartbeatRecord: {"n": COUNT, "ts": INT64, "late_ms": INT64, "detail": TEXT},
}
IDS = ("signal_id", "order_id", "trade_id", "venue", "symbol")


def _records(kind: type) -> st.SearchStrategy[list[object]]:
    texts = {name: TEXT for name in kind.__struct_fields__ if name in IDS}
    unique = [name for name in (RECORD_LAYOUTS[kind].key, "trade_id") if name in kind.__struct_fields__]
    return st.lists(
        st.builds(kind, **texts, **FIELDS[kind]),
        max_size=8,
        unique_by=tuple((lambda record, name=name: getattr(record, name)) for name in unique),
    )


@pytest.mark.parametrize("kind", FIELDS, ids=[kind.__name__ for kind in FIELDS])
def test_records_survive_a_round_trip(folder, kind):
    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(records=_records(kind), cut=st.integers(0, 8), again=st.booleans())
    def check(records, cut, again):
        engine, session_id = started(folder)
        with SessionWriter(engine, session_id) as writer:
            total = writer.write([], records[:cut]) + writer.write([], records[cut:])
            if again:
                assert writer.write([], records) == 0
            assert total == writer.written[RECORD_LAYOUTS[kind].name] == len(records)
        if not RECORD_LAYOUTS[kind].is_numbered:
            records = sorted(records, key=lambda record: record.n)
        assert list(read_records(engine, session_id, kind)) == records

    check()


@settings(max_examples=200, deadline=None)
@given(EXACT)
def test_fast_canonical_text_equals_the_definition(value):
    from hybrid_platform.domain.decimals import canonical
    from hybrid_platform.storage.types import exact_text

    assert exact_text(value) == canonical(value)
    assert Decimal(exact_text(value)) == value
