"""Sample data and helpers for the storage tests.

session_start             the start record of a session with given settings
make_table                an instrument table of given symbols
make_ticks                a batch of regular ticks
order_record              one order record
make_order_records        all records of a filled order
locked_by_another_process a context in which a child process holds the write lock
run_script                output of Python code run in a new process
create_release_database   the database of an older release, from a dump
create_migrated_database  the same, migrated to this release
read_table                all rows of a table, read with the bare driver
sql_damage                a function that executes a statement on a database file
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path

import numpy as np

from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.orders import (
    OrderEventRecord,
    OrderRecord,
    OrderStatus,
    OrderType,
    Record,
    Side,
    SignalRecord,
    TimeInForce,
    TradeRecord,
)
from hybrid_platform.domain.ticks import TickBatch
from hybrid_platform.host.process import this_process
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import default_url
from hybrid_platform.storage.migrate import migrate
from hybrid_platform.storage.session_records import SessionStart

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000


def session_start(session_id: str = "20260102T030405Z-00000001", **settings: object) -> SessionStart:
    return SessionStart(
        session_id, "run-1", SessionSettings.model_validate(settings), "0.1.0+abc", START_NS, this_process()
    )


def make_table(*symbols: str) -> InstrumentTable:
    table = InstrumentTable()
    for symbol in symbols or ("SOL/USDC",):
        table.intern("SYNTHETIC", symbol)
    return table


def make_ticks(table: InstrumentTable, first: int, count: int, *, step_ns: int = MS) -> TickBatch:
    """Return ticks ``first`` … ``first + count - 1``, one per millisecond, cycling through the table's instruments."""
    seq = np.arange(first, first + count, dtype=np.int64)
    return TickBatch(
        table,
        seq,
        seq % len(table),
        100 * 10**9 + seq % 97 * 10**7,
        (seq % 5) * 10**9,
        (seq % 3 - 1).astype(np.int8),
        None,
        START_NS + seq * step_ns,
        START_NS + seq * step_ns + 5 * MS,
    )


def order_record(k: int, status: OrderStatus = OrderStatus.INITIALIZED) -> OrderRecord:
    return OrderRecord(
        f"O{k}", f"S{k}", k, "SYNTHETIC", "SOL/USDC", Side.BUY, OrderType.LIMIT, Decimal("0.1"), Decimal("100.10"),
        TimeInForce.GTC, False, status, True, START_NS + k,
    )  # fmt: skip


def make_order_records(k: int) -> list[Record]:
    """Return all records of a filled order."""
    ts = START_NS + k
    states = (OrderStatus.INITIALIZED, OrderStatus.SUBMITTED, OrderStatus.ACCEPTED, OrderStatus.FILLED)
    return [
        SignalRecord(f"S{k}", k, "SYNTHETIC", "SOL/USDC", Side.BUY, Decimal("0.1"), 0.75, "TEST", ts),
        order_record(k),
        *(OrderEventRecord(4 * k + place, f"O{k}", state, "", ts) for place, state in enumerate(states)),
        order_record(k, OrderStatus.FILLED),
        TradeRecord(
            k, f"T{k}-1", f"O{k}", "SYNTHETIC", "SOL/USDC", Side.BUY, Decimal("0.1"), Decimal("100.2"),
            Decimal("0.01002"), True, ts,
        ),
    ]  # fmt: skip


class LockHolder:
    """Child process that holds a writing transaction open on the database."""

    def __init__(self, path: Path) -> None:
        code = (
            "import sqlite3, sys\n"
            "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "connection.execute('BEGIN IMMEDIATE')\n"
            "print('locked', flush=True)\n"
            "sys.stdin.read()\n"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "locked\n"
        self._releasing = threading.Lock()

    def release(self) -> None:
        """End the process; a timer and the end of the test may both call this."""
        with self._releasing:
            if self._process.poll() is None:
                self._process.communicate()


@contextmanager
def locked_by_another_process(path: Path) -> Iterator[LockHolder]:
    holder = LockHolder(path)
    try:
        yield holder
    finally:
        holder.release()


def run_script(code: str, *arguments: object, timeout: float = 60, **options: object) -> str:
    """Run Python code in a new process and return its output; fail with its errors."""
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout, check=False, **options,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


def create_release_database(revision: str, path: Path) -> Path:
    """Create the database of a release with this schema revision, from a dump of two of its sessions."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        for pragma in ("page_size = 8192", "auto_vacuum = INCREMENTAL", "journal_mode = WAL"):
            connection.execute(f"PRAGMA {pragma}")
        connection.executescript((Path(__file__).parent / "releases" / f"{revision}.sql").read_text())
    path.chmod(0o600)
    return path


def create_migrated_database(revision: str, path: Path) -> Path:
    """Create the database of a release and migrate it to this one."""
    create_release_database(revision, path)
    engine = open_engine(default_url(path.parent), role="write")
    migrate(engine)
    engine.dispose()
    return path


def read_table(path: Path, table: str) -> list[tuple[object, ...]]:
    """Return all rows of a table, read with the bare driver."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()


def sql_damage(statement: str) -> Callable[[Path], None]:
    """Return a function that executes a statement on a database, bypassing this package."""

    def damage(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(statement)

    return damage
