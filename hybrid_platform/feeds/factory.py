"""Creation of the feed that the settings name.

Each feed is imported only when it is chosen: pyarrow and websockets are slow to import.
"""

from __future__ import annotations

from hybrid_platform.domain.clocks import Clock
from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.log import Log
from hybrid_platform.feeds.base import Feed, ResumePoints, Store
from hybrid_platform.feeds.recorded_session import ReadSessionTicks, RecordedSessionFeed
from hybrid_platform.feeds.synthetic import RandomWalkFeed
from hybrid_platform.settings.session import SessionSettings


def build_feed(
    settings: SessionSettings,
    table: InstrumentTable,
    clock: Clock,
    log: Log,
    *,
    read_session: ReadSessionTicks | None = None,
    store: Store | None = None,
    session_id: str = "session",
    resume_points: ResumePoints | None = None,
) -> Feed:
    """Return the session's feed, not yet opened.

    ``read_session`` reads an earlier session's ticks; a live feed records its frames in ``store`` and
    reports a gap to ``resume_points``. Raises ConfigError if the feed cannot be built from these.
    """
    feed = settings.feed
    if feed.websocket is not None:
        from hybrid_platform.feeds.websocket import LiveFeed

        return LiveFeed(
            feed.websocket, table, clock, log, store=store, session_id=session_id, resume_points=resume_points
        )
    if feed.synthetic is not None:
        return RandomWalkFeed(feed.synthetic, table, clock, settings.seconds)
    if feed.replay is None:
        raise ConfigError([Fault("feed", "synthetic, replay or websocket", "none of them")])
    if feed.replay.frames is not None:
        from hybrid_platform.feeds.websocket import RecordedFramesFeed

        return RecordedFramesFeed(feed.replay, table, clock)
    if feed.replay.session is None:
        from hybrid_platform.feeds.files import FileFeed

        return FileFeed(feed.replay, table, clock)
    if read_session is None:
        raise ConfigError([Fault("feed.replay.session", "a database to read it from", "none")])
    return RecordedSessionFeed(feed.replay, table, clock, read_session)
