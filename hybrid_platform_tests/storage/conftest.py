"""A migrated database with one running session in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import default_url
from hybrid_platform.storage.migrate import migrate
from hybrid_platform.storage.sessions import SessionStore
from hybrid_platform.storage.writer import SessionWriter
from hybrid_platform_tests.storage.samples import session_start

SESSION = session_start().session_id


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "bot.db"


@pytest.fixture
def url(path: Path) -> str:
    return default_url(path.parent)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a migrated database with one session: migrating once is enough for most tests."""
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
