"""Builders of a session's feed and instrument table. Apart from `factories`, which the sandboxed process imports."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

from hybrid_platform.domain.clocks import Clock
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.log import Log
from hybrid_platform.feeds.base import Feed, ResumePoints
from hybrid_platform.feeds.factory import build_feed
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.reader import read_tick_batches

_CHUNK = 1 << 20


def new_instrument_table(settings: SessionSettings) -> InstrumentTable:
    """Return an empty table that knows the rules of the configured instruments."""
    return InstrumentTable(settings.stated_instruments(), settings.default_quote)


def build_session_feed(
    settings: SessionSettings,
    table: InstrumentTable,
    clock: Clock,
    log: Log,
    database_url: str,
    *,
    store: DataDir | None = None,
    session_id: str = "session",
    resume_points: ResumePoints | None = None,
) -> Feed:
    """Return the feed, not yet opened; raise ConfigError if the settings do not describe one."""
    stored = partial(read_tick_batches, open_engine(database_url, role="read"))
    return build_feed(
        settings,
        table,
        clock,
        log,
        read_session=stored,
        store=store,
        session_id=session_id,
        resume_points=resume_points,
    )


def list_input_files(settings: SessionSettings) -> tuple[dict[str, Any], ...]:
    """Return name, size in bytes and SHA-256 of every file that the feed is going to replay."""
    replay = settings.feed.replay
    if replay is None or not replay.paths:
        return ()
    # Imported late: it loads pyarrow, which no other feed needs and which would delay a short session.
    from hybrid_platform.feeds.files.sources import find_sources

    paths = dict.fromkeys(source.path for source in find_sources(replay.paths))
    return tuple(_identify(Path(path)) for path in paths)


def _identify(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": digest.hexdigest()}
