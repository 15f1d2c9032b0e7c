"""Fixtures: a migrated database with one running or finished session, its engines and its writer."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from hybrid_platform.domain.errors import ExitCode
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import default_url
from hybrid_platform.storage.migrate import migrate
from hybrid_platform.storage.session_records import SessionEnd, SessionState
from hybrid_platform.storage.sessions import SessionStore
from hybrid_platform.storage.writer import SessionWriter
from hybrid_platform_tests.storage.samples import START_NS, make_order_records, make_table, make_ticks, session_start

SESSION = session_start().session_id


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "bot.db"


@pytest.fixture
def url(path: Path) -> str:
    return default_url(path.parent)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a migrated database with one session, shared because migrating takes time."""
    folder = tmp_path_factory.mktemp("migrated")
    engine = open_engine(default_url(folder), role="write")
    migrate(engine)
    SessionStore(engine).start(session_start())
    return folder / "bot.db"


@pytest.fixture
def writing(migrated: Path, path: Path, url: str) -> sa.Engine:
    path.parent.mkdir(mode=0o700)
    shutil.copy(migrated, path)
    return open_engine(url, role="write")


@pytest.fixture
def reading(writing: sa.Engine, url: str) -> sa.Engine:
    return open_engine(url, role="read")


@pytest.fixture
def writer(writing: sa.Engine) -> Iterator[SessionWriter]:
    with SessionWriter(writing, SESSION) as writer:
        yield writer


@pytest.fixture
def finished(writing, writer, reading) -> sa.Engine:
    """Return a reading engine on a finished session of 10,000 ticks and 40 orders."""
    table = make_table("A", "B")
    for part in range(10):
        writer.write(
            [make_ticks(table, 1 + 1000 * part, 1000)],
            [r for k in range(4) for r in make_order_records(4 * part + k + 1)],
        )
    end = SessionEnd(SessionState.COMPLETE, ExitCode.COMPLETE, "END_OF_FEED", START_NS, is_clean=True)
    SessionStore(writing).finish(SESSION, end, [("table", name, "written", n) for name, n in writer.written.items()])
    return reading
