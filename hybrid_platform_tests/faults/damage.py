"""Kinds of damage to the files of a database, and a session in this process that suffers them."""

from __future__ import annotations

import io
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from hybrid_platform.domain.clocks import Clock, SystemClock
from hybrid_platform.evidence.records import Evidence
from hybrid_platform.gates.database import verify_database
from hybrid_platform.gates.postflight import postflight
from hybrid_platform.gates.preflight import preflight
from hybrid_platform.run.open import open_run
from hybrid_platform.session.runner import SessionRunner
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import FILE_SUFFIXES, sqlite_url
from hybrid_platform.storage.migrate import migrate
from hybrid_platform_tests.support import (
    PROCESS_TIMEOUT_S,
    InProcessRun,
    Settings,
    merge_settings,
    synthetic_feed,
    wait_until,
)

PAGE = 8_192
WAL_HEADER, FRAME_HEADER = 32, 24
BUSY = merge_settings(
    synthetic_feed(4_000),
    {"seconds": 600, "isolation": "thread", "storage": {"flush_interval_ms": 20}},
    {"risk": {"max_open_orders": 10**6}, "channels": {"tick": 16_384, "signal": 8_192, "persist": 65_536}},
)
Damage = Callable[[Path], None]


def run_with_damage(
    data_dir: Path,
    damage_files: Damage,
    *layers: Settings,
    rows: int = 500,
    clock: Clock | None = None,
    more: int = 200,
) -> InProcessRun:
    """Run a session in this process, damage its database after ``rows`` rows, drain after ``more`` further rows."""
    settings = load_settings(merge_settings({"data_dir": str(data_dir)}, BUSY, *layers), environ={})
    clock, output = clock or SystemClock(), io.StringIO()
    run_id = str(uuid.uuid4())
    with open_run(settings, run_id=run_id, created_ns=SystemClock().wall_ns(), clock=clock, stream=output) as run:
        steps: list[Evidence] = [preflight(run), verify_database(run)]
        shadow = SessionRunner(run)
        shadow.start()
        wait_until(lambda: shadow.wait(0) or shadow.progress().committed_rows > rows, "some commits")
        damage_files(data_dir / "bot.db")
        seen = shadow.progress().committed_rows
        wait_until(lambda: shadow.wait(0) or shadow.progress().committed_rows > seen + more, "some more")
        shadow.request_stop("SIGTERM")
        assert shadow.wait(PROCESS_TIMEOUT_S)
        steps += [shadow.finish(), postflight(run)]
    return InProcessRun(data_dir, steps, output.getvalue())


def leave_unchanged(database: Path) -> None:
    """Leave the database unchanged."""


def delete(database: Path) -> None:
    """Delete the database, its WAL and its shared memory file."""
    for end in FILE_SUFFIXES:
        Path(f"{database}{end}").unlink(missing_ok=True)


def delete_log(database: Path) -> None:
    """Delete the write-ahead log."""
    Path(f"{database}-wal").unlink()


def replace_by_copy(database: Path) -> None:
    """Replace the database by a copy, as a careless restore does."""
    other = database.with_name("copy.db")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("VACUUM INTO ?", (str(other),))
    other.replace(database)


def replace_by_new(database: Path) -> None:
    """Replace the database by an empty one of the same schema."""
    delete(database)
    engine = open_engine(sqlite_url(database), role="write")
    migrate(engine)
    engine.dispose()


def damage_header(database: Path) -> None:
    """Overwrite the file header."""
    _overwrite(database, 0, b"\xff" * 100)


def damage_pages(database: Path) -> None:
    """Overwrite the start of every page except the first."""
    for page in range(1, database.stat().st_size // PAGE):
        _overwrite(database, page * PAGE, b"\xff" * 200)


def flip_bits_of_pages(database: Path) -> None:
    """Flip one bit in each page of the second half, which holds rows."""
    pages = database.stat().st_size // PAGE
    for page in range(pages // 2, pages):
        _flip(database, page * PAGE + PAGE - 100)


def flip_bits_of_log(database: Path) -> None:
    """Flip one bit in every frame of the write-ahead log."""
    log = Path(f"{database}-wal")
    for frame in range((log.stat().st_size - WAL_HEADER) // (FRAME_HEADER + PAGE)):
        _flip(log, WAL_HEADER + frame * (FRAME_HEADER + PAGE) + FRAME_HEADER + PAGE - 100)


def flip_a_bit_of_log(database: Path) -> None:
    """Flip one bit near the start of the write-ahead log."""
    _flip(Path(f"{database}-wal"), WAL_HEADER + 3 * (FRAME_HEADER + PAGE) + FRAME_HEADER + PAGE - 100)


def _flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def _overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)
