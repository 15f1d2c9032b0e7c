"""Archiving of ticks: readers see no difference, each tick is in one place, and changed files are detected."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pandas as pd
import pyarrow.dataset
import pytest
import sqlalchemy as sa

from hybrid_platform.domain.errors import ExitCode, StorageError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.ticks import TickBatch
from hybrid_platform.security.paths import DataDir
from hybrid_platform.storage import audit, queries
from hybrid_platform.storage.archive import TicksArchived
from hybrid_platform.storage.archiver import (
    ArchivedSession,
    FileStore,
    archive_ticks,
    compact_database,
    find_archivable_sessions,
)
from hybrid_platform.storage.engine import open_engine, transaction
from hybrid_platform.storage.errors import Cause, DatabaseError
from hybrid_platform.storage.export import export_session
from hybrid_platform.storage.frames import frames, ticks_between
from hybrid_platform.storage.reader import read_boundary_ticks, read_order_origins, read_prices, read_tick_batches
from hybrid_platform.storage.session_records import SessionEnd, SessionState
from hybrid_platform.storage.sessions import SessionStore
from hybrid_platform.storage.writer import SessionWriter
from hybrid_platform_tests.storage.conftest import SESSION
from hybrid_platform_tests.storage.samples import (
    START_NS,
    make_order_records,
    make_table,
    make_ticks,
    order_record,
    session_start,
)

HOSTILE = ("SOL/USDC", "A..B", "X%2FY", "C:D", ".", "..")
"""Symbols that would escape their folder, or collide, without quoting."""
DAY_NS = 86_400 * 10**9
PART = 700
ENDS: tuple[Literal["first", "last"], ...] = ("first", "last")
LATER = 2**62


@pytest.fixture
def data_dir(path: Path) -> DataDir:
    return DataDir(path.parent)


@pytest.fixture
def finished(writing, writer, reading) -> sa.Engine:
    """Return a reading engine on a session of three days, six instruments, ids of all kinds, a gap and a few orders."""
    table = make_table(*HOSTILE)
    for first, count in ((1, 1000), (1003, 900)):
        ticks = make_ticks(table, first, count, step_ns=DAY_NS // 800)
        refs = [None if seq % 5 == 0 else int(seq) + 2**62 if seq % 2 else f"{seq}e5" for seq in ticks.seq]
        writer.write([TickBatch(*(getattr(ticks, name) for name in ("table", "seq", "instrument", "price", "size",
            "side")), np.array(refs, dtype=object), ticks.ts_event, ticks.ts_recv)],
            make_order_records(first))  # fmt: skip
    end = SessionEnd(SessionState.COMPLETE, ExitCode.COMPLETE, "END_OF_FEED", START_NS, is_clean=True)
    rows = [("table", name, reason, n) for name, n in writer.written.items() for reason in ("written", "counted")]
    SessionStore(writing).finish(SESSION, end, rows)
    return reading


def move(writing: sa.Engine, store: FileStore, **options: object) -> ArchivedSession:
    (session,) = find_archivable_sessions(writing, LATER)
    return archive_ticks(
        writing, session, store, "archive/ticks",
        **({"folder_as_stored": "archive/ticks", "at_ns": 1, "part_ticks": PART} | options),
    )  # fmt: skip


def seen(engine: sa.Engine, folder: Path) -> dict[str, object]:
    """Return the results of every reader of ticks."""
    batches = list(read_tick_batches(engine, SESSION, InstrumentTable(), ticks_at_once=300))
    ((exported, _),) = export_session(engine, SESSION, folder, tables=["ticks"])
    return {
        "batches": [
            np.concatenate([np.asarray(getattr(batch, name)) for batch in batches]).tolist()
            for name in ("seq", "instrument", "price", "size", "side", "ts_event", "ts_recv")
        ],
        "marks": [np.concatenate(list(read_prices(engine, SESSION, every=every))).tolist() for every in (1, 7)],
        "frame": frames(engine, SESSION)["ticks"],
        "between": [
            ticks_between(engine, SESSION, START_NS + a * DAY_NS, START_NS + b * DAY_NS, clock)
            for a, b in ((0, 1), (1, 2), (-5, -4), (0, 9))
            for clock in ("ts_event", "ts_recv")
        ],
        "file": pd.read_parquet(exported),
        "holes": [queries.find_missing_ticks(engine, SESSION, last) for last in (None, 5, 1902, 1910)],
        "counts": queries.count_rows(engine, SESSION),
        "total": queries.count_ticks(engine, SESSION),
        "span": queries.read_receive_time_span(engine, SESSION),
        "arrivals": list(read_order_origins(engine, SESSION)),
        "ends": [read_boundary_ticks(engine, queries.find_session(engine, SESSION).session_no, end) for end in ENDS],
        "audit": audit.audit_session(engine, SESSION),
    }


def assert_same(before: dict[str, object], after: dict[str, object]) -> None:
    for name, value in before.items():
        pairs = zip(value, after[name], strict=True) if name == "between" else [(value, after[name])]
        for expected, got in pairs:
            if isinstance(expected, pd.DataFrame):
                pd.testing.assert_frame_equal(expected, got)
            else:
                assert expected == got, name


def rows_left(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM tick_rows").fetchone()[0])


def in_files(data_dir: DataDir) -> list[int]:
    """Return the numbers of all ticks in the archive's files."""
    found = pyarrow.dataset.dataset(data_dir.root / "archive" / "ticks", partitioning="hive").to_table(["seq"])
    return sorted(found["seq"].to_pylist())


@pytest.mark.scenario("S8")
@pytest.mark.parametrize("part", [1, 700])
def test_every_reader_sees_the_same_ticks_after_archiving(finished, writing, data_dir, path, tmp_path, part):
    if part == 1:
        with transaction(writing, "keeping only a few") as connection:
            connection.exec_driver_sql("DELETE FROM tick_rows WHERE seq > 20")
    before = seen(finished, tmp_path / "before")
    moved = move(writing, data_dir, part_ticks=part)
    assert moved.ticks == before["counts"]["ticks"]
    assert rows_left(path) == 0
    assert_same(before, seen(finished, tmp_path / "after"))
    assert in_files(data_dir) == before["batches"][0]


def test_each_order_of_one_tick_keeps_its_arrival_price(writing, writer, reading, data_dir):
    orders = [msgspec.structs.replace(order_record(6), order_id=f"O6-{place}") for place in range(3)]
    writer.write([make_ticks(make_table(), 1, 20)], [*orders, order_record(9)])
    SessionStore(writing).mark_crashed(lambda session: True)
    before = list(read_order_origins(reading, SESSION))
    assert len([each for each in before if each.limit_arrival is not None]) == 4
    assert list(read_order_origins(reading, SESSION, orders_at_once=3)) == before
    move(writing, data_dir)
    assert list(read_order_origins(reading, SESSION)) == before


def test_the_ledger_balances_and_counts_archived_ticks(finished, writing, data_dir):
    move(writing, data_dir)
    ledger = {row[:3]: row[3] for row in queries.read_ledger(finished, SESSION)}
    assert ledger["table", "ticks", "written"] == ledger["table", "ticks", "archived"] == 1900
    assert queries.count_rows(finished, SESSION)["ticks"] == ledger["table", "ticks", "counted"]


def test_archive_paths_are_partitioned_and_cannot_escape(finished, writing, data_dir):
    move(writing, data_dir)
    root = data_dir.root / "archive" / "ticks"
    files = sorted(root.rglob("*"))
    assert all(path.is_relative_to(root) and ".." not in path.parts for path in files)
    assert {len(path.relative_to(root).parts) for path in files if path.is_file()} == {4}
    assert {path.stat().st_mode & 0o777 for path in files if path.is_file()} == {0o600}
    read = pyarrow.dataset.dataset(root, partitioning="hive").to_table(["day", "venue", "symbol"]).to_pandas()
    assert set(read["symbol"]) == set(HOSTILE)
    assert set(read["day"]) == {"2023-11-14", "2023-11-15", "2023-11-16", "2023-11-17"}


class Stop(BaseException):
    """Stands for a kill of the process."""


@pytest.mark.scenario("S12")
def test_a_kill_between_steps_neither_loses_nor_duplicates_ticks(finished, writing, data_dir, path, tmp_path):
    before = seen(finished, tmp_path / "before")
    steps: list[str] = []

    def until_verified(step: str) -> None:
        steps.append(step)
        if step == "verified":
            raise Stop

    with pytest.raises(Stop):
        move(writing, data_dir, on_step=until_verified)
    assert len(steps) > 20
    for kill_at in (0, 1, 7, len(steps) - 1):
        left = iter(range(kill_at))

        def killed(step: str, left=left) -> None:
            if next(left, None) is None:
                raise Stop

        with pytest.raises(Stop):
            move(writing, data_dir, on_step=killed)
        assert rows_left(path) == 1900
        assert queries.count_rows(finished, SESSION) == before["counts"]
    with pytest.raises(Stop):
        move(writing, data_dir, on_step=lambda step: (_ for _ in ()).throw(Stop) if step == "deleted" else None)
    assert rows_left(path) == 0
    assert find_archivable_sessions(writing, LATER) == []
    assert_same(before, seen(finished, tmp_path / "after"))
    assert in_files(data_dir) == before["batches"][0]


class Careless(DataDir):
    """Store that writes other bytes than it receives."""

    def write_atomic(self, name: str | Path, content: bytes) -> Path:
        damaged = content.replace(b"PAR1", b"PAR2") if "symbol=C" in str(name) else content
        return super().write_atomic(name, damaged)


class Forgetful(DataDir):
    """Store that keeps an instrument's first file in place of every later one."""

    first: bytes | None = None

    def write_atomic(self, name: str | Path, content: bytes) -> Path:
        self.first = self.first or content
        return super().write_atomic(name, self.first)


@pytest.mark.parametrize("disk", [Careless, Forgetful])
def test_a_file_that_differs_from_the_database_deletes_nothing(finished, writing, data_dir, path, disk):
    with pytest.raises(StorageError, match="nothing was deleted"):
        move(writing, disk(data_dir.root))
    assert rows_left(path) == 1900
    assert queries.count_rows(finished, SESSION)["ticks"] == 1900


def test_a_running_session_is_never_touched(writing, writer, data_dir, path):
    writer.write([make_ticks(make_table(), 1, 50)], [])
    assert find_archivable_sessions(writing, LATER) == []
    SessionStore(writing).mark_crashed(lambda session: True)
    (session,) = find_archivable_sessions(writing, LATER)
    with transaction(writing, "running again") as connection:
        connection.exec_driver_sql("UPDATE sessions SET state = 'RUNNING'")
    with pytest.raises(StorageError, match="expected an ended session of 50 ticks, got RUNNING"):
        archive_ticks(writing, session, data_dir, "a", folder_as_stored="a", at_ns=1)
    assert rows_left(path) == 50


def test_only_sessions_that_ended_before_the_limit_are_archivable(finished, writing):
    assert find_archivable_sessions(writing, START_NS) == []
    assert [session.ticks for session in find_archivable_sessions(writing, START_NS + 1)] == [1900]


@pytest.mark.parametrize(
    ("damage", "cause", "message"),
    [
        (lambda file: file.unlink(), Cause.MISSING, "expected archived ticks, got: No such file"),
        (lambda file: file.write_bytes(file.read_bytes()[:-9] + b"123456789"), Cause.CORRUPT, "expected the archived"),
    ],
)
def test_a_missing_or_changed_file_raises_for_every_reader(finished, writing, data_dir, damage, cause, message):
    move(writing, data_dir)
    damage(sorted((data_dir.root / "archive").rglob("*.parquet"))[3])
    for read in (
        lambda: list(read_tick_batches(finished, SESSION, InstrumentTable())),
        lambda: frames(finished, SESSION)["ticks"],
        lambda: list(read_prices(finished, SESSION)),
        lambda: queries.find_missing_ticks(finished, SESSION, None),
    ):
        with pytest.raises(DatabaseError, match=message) as caught:
            read()
        assert caught.value.cause is cause


def test_queries_over_the_database_alone_refuse_archived_sessions(finished, writing, data_dir):
    move(writing, data_dir)
    with pytest.raises(TicksArchived, match="got 1,900 in the archive"):
        audit.find_highest_prices(finished, SESSION)
    with pytest.raises(TicksArchived):
        audit.count_orders_on_stale_ticks(finished, SESSION, 1)


def test_a_reader_started_before_archiving_reads_all_ticks(finished, writing, data_dir):
    whole = [tick for batch in read_tick_batches(finished, SESSION, InstrumentTable()) for tick in batch.seq.tolist()]
    reader = read_tick_batches(finished, SESSION, InstrumentTable(), ticks_at_once=300)
    first_page = next(reader).seq.tolist()
    move(writing, data_dir)
    assert first_page + [tick for batch in reader for tick in batch.seq.tolist()] == whole


def test_the_data_directory_can_be_moved_with_its_archive(finished, writing, data_dir, tmp_path, path):
    move(writing, data_dir)
    compact_database(writing)
    moved = data_dir.root.rename(tmp_path / "elsewhere")
    engine = open_engine(f"sqlite:///{moved / path.name}", role="read")
    assert len(frames(engine, SESSION)["ticks"]) == 1900


def test_compaction_shrinks_the_file_and_survives_an_interruption(writing, writer, reading, data_dir, path):
    for part in range(10):
        writer.write([make_ticks(make_table(), 1 + 20_000 * part, 20_000)], [])
    writer.close()
    SessionStore(writing).mark_crashed(lambda session: True)
    move(writing, data_dir, part_ticks=500_000)

    def killed(step: str) -> None:
        raise Stop

    with pytest.raises(Stop):
        compact_database(writing, killed)
    found = compact_database(writing)
    assert found.free_pages == 0
    assert found.pages > 0
    assert path.stat().st_size < 500_000
    assert queries.count_ticks(reading, SESSION) == 200_000


def test_a_file_without_incremental_vacuum_is_rewritten_once(writing, finished, data_dir, path):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")
        assert connection.execute("PRAGMA auto_vacuum").fetchone()[0] == 0
    move(writing, data_dir)
    assert compact_database(writing).pages > 0
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA auto_vacuum").fetchone()[0] == 2
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_sessions_of_the_same_symbols_get_separate_files(finished, writing, data_dir):
    move(writing, data_dir)
    other = session_start("20260102T030405Z-00000002")
    SessionStore(writing).start(other)
    with SessionWriter(writing, other.session_id) as writer:
        writer.write([make_ticks(make_table(*HOSTILE), 1, 1000, step_ns=DAY_NS // 800)], [])
    SessionStore(writing).mark_crashed(lambda session: True)
    assert move(writing, data_dir).ticks == 1000
    assert len(in_files(data_dir)) == 2900
    assert len(frames(finished, SESSION)["ticks"]) == 1900
    assert len(frames(finished, other.session_id)["ticks"]) == 1000
