"""A migrated database with one running session in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from hybrid_platform.storage.engine import default_url, open_engine
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


@pytest.fixture
def writing(url: str) -> sa.Engine:
    engine = open_engine(url, role="write")
    migrate(engine)
    SessionStore(engine).start(session_start())
    return engine


@pytest.fixture
def reading(writing: sa.Engine, url: str) -> sa.Engine:
    return open_engine(url, role="read")


@pytest.fixture
def writer(writing: sa.Engine) -> Iterator[SessionWriter]:
    with SessionWriter(writing, SESSION) as writer:
        yield writer
