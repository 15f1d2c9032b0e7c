"""What analysts, replays and reproductions get back: frames, files, ticks in batches, records."""

from __future__ import annotations

import csv
import stat
from decimal import Decimal

import msgspec
import numpy as np
import pyarrow.parquet
import pytest
import sqlalchemy as sa

from hybrid_platform.domain.errors import ConfigError, ExitCode
from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.domain.orders import Side, SignalRecord, TradeRecord, VetoReason, VetoRecord
from hybrid_platform.storage import audit, export, queries
from hybrid_platform.storage.engine import transaction
from hybrid_platform.storage.errors import Cause, DatabaseError
from hybrid_platform.storage.export import export_session
from hybrid_platform.storage.frames import frames, list_sessions, ticks_between
from hybrid_platform.storage.reader import read_instruments, read_records, read_tick_batches
from hybrid_platform.storage.session_records import SessionEnd, SessionState
from hybrid_platform.storage.sessions import SessionStore
from hybrid_platform.storage.views import READABLE
from hybrid_platform_tests.storage.conftest import SESSION
from hybrid_platform_tests.storage.samples import MS, START_NS, a_table, order_story, some_ticks


@pytest.fixture
def finished(writing, writer, reading) -> sa.Engine:
    """A session of 10,000 ticks and 40 orders, read by the engine returned."""
    table = a_table("A", "B")
    for part in range(10):
        writer.write(
            [some_ticks(table, 1 + 1000 * part, 1000)], [r for k in range(4) for r in order_story(4 * part + k + 1)]
        )
    end = SessionEnd(SessionState.COMPLETE, ExitCode.COMPLETE, "END_OF_FEED", START_NS, is_clean=True)
    SessionStore(writing).finish(SESSION, end, [("table", name, "written", n) for name, n in writer.written.items()])
    return reading


def test_every_table_of_the_contract_is_a_frame(finished):
    tables = frames(finished, SESSION)
    assert list(tables) == list(READABLE)
    assert {name: len(tables[name]) for name in tables} == {
        "sessions": 1, "ticks": 10_000, "signals": 40, "vetoes": 0, "orders": 40, "order_events": 160, "trades": 40,
        "inputs": 0, "heartbeats": 0, "gaps": 0, "ledger": 9,
    }  # fmt: skip
    for name in tables:
        assert list(tables[name].columns) == [column.name for column in READABLE[name].c]
    with pytest.raises(KeyError):
        tables["nonsense"]
    with pytest.raises(ConfigError, match="the id of a session"):
        frames(finished, "'; DROP TABLE sessions")


def test_frames_keep_decimals_exact_and_times_integer(finished):
    trades = frames(finished, SESSION)["trades"]
    assert trades["fees"].sum() == Decimal("0.01002") * 40
    assert isinstance(trades["fill_price"].iloc[0], Decimal)
    assert str(trades["ts"].dtype) == "int64"
    assert str(trades["is_shadow"].dtype) == "bool"
    empty = frames(finished, SESSION)["heartbeats"]
    assert str(empty["ts"].dtype) == "int64"


def test_sessions_are_a_frame_too(finished):
    found = list_sessions(finished)
    assert list(found["session_id"]) == [SESSION]
    assert "settings" not in found.columns
    assert found["exit_code"].iloc[0] == 0


@pytest.mark.parametrize("clock", ["ts_event", "ts_recv"])
@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 10**19 // 10), (START_NS + 500 * MS, START_NS + 501 * MS), (START_NS + 999 * MS + 1, START_NS + 5_432 * MS),
     (START_NS, START_NS), (START_NS + 10_001 * MS, START_NS + 20_000 * MS), (0, START_NS),
     (START_NS + 2_500 * MS, START_NS + 2_600 * MS), (START_NS + 5_000 * MS, START_NS + 5_001 * MS),
     (START_NS + 5_005 * MS, START_NS + 5_006 * MS), (START_NS + 5_001 * MS, START_NS + 5_002 * MS)],
)  # fmt: skip
def test_ticks_are_found_by_time_through_the_sparse_index(finished, start, end, clock):
    ticks = frames(finished, SESSION)["ticks"]
    expected = ticks[(ticks[clock] >= start) & (ticks[clock] < end)]
    assert list(ticks_between(finished, SESSION, start, end, clock)["seq"]) == list(expected["seq"])


def test_a_range_of_time_reads_only_the_batches_that_overlap_it(finished):
    ranges = queries.seq_ranges(finished, SESSION, START_NS + 500 * MS, START_NS + 501 * MS)
    assert len(ranges) == 1
    assert ranges[0][1] - ranges[0][0] < 6_000


@pytest.mark.scenario("S8")
@pytest.mark.parametrize("ticks_at_once", [1, 999, 100_000])
def test_a_finished_session_is_read_back_unchanged(finished, ticks_at_once):
    table = InstrumentTable()
    batches = read_tick_batches(finished, SESSION, table, ticks_at_once=ticks_at_once)
    read = 0
    for batch in batches:
        assert 0 < len(batch) <= ticks_at_once
        expected = some_ticks(a_table("A", "B"), 1 + read, len(batch))
        for column in ("seq", "instrument", "price", "size", "side", "ts_event", "ts_recv"):
            assert np.array_equal(getattr(batch, column), getattr(expected, column))
            assert getattr(batch, column).dtype == getattr(expected, column).dtype
        assert batch.trade_ref is None
        read += len(batch)
        if read >= min(2_000, 100 * ticks_at_once):
            break
    assert [item.symbol for item in table] == ["A", "B"]


def test_a_running_or_unknown_session_is_not_replayed(writing, reading):
    for session_id, expected in ((SESSION, "a session that has ended, got .* RUNNING"), ("x", "the id of a session")):
        with pytest.raises(ConfigError, match=expected):
            next(read_tick_batches(reading, session_id, InstrumentTable()))


def test_gaps_in_the_numbering_are_preserved(writing, writer, reading):
    writer.write([some_ticks(a_table(), 1, 10)[np.array([0, 1, 5, 9])]], [])
    SessionStore(writing).mark_crashed(lambda session: True)
    (batch,) = read_tick_batches(reading, SESSION, InstrumentTable())
    assert batch.seq.tolist() == [1, 2, 6, 10]


def test_instruments_come_back_with_their_rules(writing, writer, reading):
    stated = Instrument("V", "X/USD", "X", "USD", 2, 0, Decimal("0.01"), min_qty=Decimal("1.50"), inferred=False)
    table = InstrumentTable()
    table.add(stated)
    writer.write([some_ticks(table, 1, 1)], [])
    SessionStore(writing).mark_crashed(lambda session: True)
    assert read_instruments(reading, SESSION) == [stated]
    fresh = InstrumentTable()
    next(read_tick_batches(reading, SESSION, fresh))
    assert fresh[0] == stated
    other_rules = InstrumentTable({stated.key: msgspec.structs.replace(stated, min_qty=None)})
    next(read_tick_batches(reading, SESSION, other_rules))
    assert other_rules[0].min_qty is None
    other_scale = InstrumentTable({stated.key: msgspec.structs.replace(stated, price_scale=9)})
    with pytest.raises(ConfigError, match="X/USD at V: expected the scales of the stored ticks, 2 and 0, got 9 and 0"):
        next(read_tick_batches(reading, SESSION, other_scale))


@pytest.mark.parametrize(
    ("change", "named"),
    [("side = 'LONG'", "n 7: Invalid enum value 'LONG'"), ("fees = 'much'", "expected a decimal number")],
)
def test_a_row_that_was_tampered_with_is_named(finished, writing, change, named):
    with transaction(writing, "tampering") as connection:
        connection.exec_driver_sql(f"UPDATE trade_rows SET {change} WHERE n = 7")
    with pytest.raises(DatabaseError, match=named) as caught:
        list(read_records(finished, SESSION, TradeRecord))
    assert caught.value.cause is Cause.CORRUPT


def test_an_exported_session_is_complete_and_exact(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 3_000)
    files = dict(export_session(finished, SESSION, tmp_path / "out"))
    tables = frames(finished, SESSION)
    assert [path.stem for path in files] == list(READABLE)
    for path, rows in files.items():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        read = pyarrow.parquet.read_table(path)
        assert read.num_rows == rows == len(tables[path.stem])
        assert read.column_names == list(tables[path.stem].columns)
    ticks = pyarrow.parquet.read_table(tmp_path / "out" / "ticks.parquet").to_pandas()
    assert ticks["price"].equals(tables["ticks"]["price"])
    assert ticks["seq"].tolist() == list(range(1, 10_001))
    trades = pyarrow.parquet.read_table(tmp_path / "out" / "trades.parquet").to_pylist()
    assert {trade["fees"] for trade in trades} == {"0.01002"}
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700


def test_chosen_tables_are_exported_as_csv(finished, tmp_path):
    assert export_session(finished, SESSION, tmp_path, kind="csv", tables=["trades"]) == [(tmp_path / "trades.csv", 40)]
    with (tmp_path / "trades.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["n"] for row in rows] == [str(k) for k in range(1, 41)]
    assert {row["fill_price"] for row in rows} == {"100.2"}
    with pytest.raises(ConfigError, match="tables: expected of sessions, ticks"):
        export_session(finished, SESSION, tmp_path, tables=["../../etc/passwd"])


def test_no_text_of_a_csv_file_is_a_formula(writing, writer, reading, tmp_path):
    texts = ["=HYPERLINK(1)", "+1", "-1", "@x", "\tx", "\rx", "\nx", "plain", "a=b", 'quo"te', "", "'x", "grün"]
    writer.write(
        [],
        [VetoRecord(f"S{k}", k, "V", "X", VetoReason.RISK_CAP, text, 0) for k, text in enumerate(texts)]
        + [TradeRecord(1, "T1", "O1", "V", "X", Side.BUY, Decimal(1), Decimal("-37.63"), Decimal("-0.5"), True, 0)],
    )
    export_session(reading, SESSION, tmp_path, kind="csv")
    with (tmp_path / "vetoes.csv").open(newline="", encoding="utf-8") as file:
        details = [row["detail"] for row in csv.DictReader(file)]
    assert details == [f"'{text}" if text[:1] in tuple("=+-@\t\r\n") else text for text in texts]
    with (tmp_path / "trades.csv").open(newline="") as file:
        assert [(row["fill_price"], row["fees"]) for row in csv.DictReader(file)] == [("-37.63", "-0.5")]


def test_a_failed_export_keeps_the_older_file(finished, writing, tmp_path):
    export_session(finished, SESSION, tmp_path, tables=["trades"])
    before = (tmp_path / "trades.parquet").read_bytes()
    with transaction(writing, "tampering") as connection:
        connection.exec_driver_sql("UPDATE trade_rows SET fees = 'much' WHERE n = 7")
    with pytest.raises(DatabaseError):
        export_session(finished, SESSION, tmp_path, tables=["trades"])
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["trades.parquet"]
    assert (tmp_path / "trades.parquet").read_bytes() == before


def test_an_export_follows_no_link(finished, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match="a directory, not a link"):
        export_session(finished, SESSION, tmp_path / "out")
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "real" / "trades.parquet").symlink_to(tmp_path / "victim")
    (tmp_path / "real" / ".trades.parquet.partial").symlink_to(tmp_path / "victim")
    export_session(finished, SESSION, tmp_path / "real", tables=["trades"])
    assert (tmp_path / "victim").read_text() == "mine"


def test_an_export_into_a_file_or_a_full_device_is_an_error(finished, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DatabaseError, match="exporting to"):
            export_session(finished, SESSION, folder)


def test_signals_are_read_in_their_original_order(writing, writer, reading):
    made = [SignalRecord(f"S7.{k}", 7, "V", "X", Side.BUY, Decimal(1), 0.5, "", 0) for k in range(1, 13)]
    writer.write([], made[:5])
    writer.write([], made[5:])
    assert list(read_records(reading, SESSION, SignalRecord)) == made


@pytest.mark.parametrize("at_once", [7, 1_000, 65_536])
def test_the_highest_price_spans_all_pages(finished, monkeypatch, at_once):
    monkeypatch.setattr(audit, "ROWS_AT_ONCE", at_once)
    ticks = frames(finished, SESSION)["ticks"]
    highest = {key: Decimal(str(price)) for key, price in ticks.groupby(["venue", "symbol"])["price"].max().items()}
    assert audit.highest_prices(finished, SESSION) == highest
