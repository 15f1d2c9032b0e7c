"""From settings to the feed they name. What a feed needs is imported when it is chosen: pyarrow starts slowly."""

from __future__ import annotations

from hybrid_platform.domain.clocks import Clock
from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.log import Log
from hybrid_platform.feeds.base import Earlier, Feed, Store
from hybrid_platform.feeds.recorded_session import StoredReplay, StoredTicks
from hybrid_platform.feeds.synthetic import SyntheticTicks
from hybrid_platform.settings.session import SessionSettings


def build_feed(
    settings: SessionSettings,
    table: InstrumentTable,
    clock: Clock,
    log: Log,
    *,
    stored: StoredTicks | None = None,
    store: Store | None = None,
    session_id: str = "session",
    earlier: Earlier | None = None,
) -> Feed:
    """Return the session's feed, not yet open.

    ``stored`` reads an earlier session's ticks; ``store`` is where a live feed records its frames;
    ``earlier`` what a live feed goes on from.
    Raises ConfigError for a feed that cannot be made of what is there.
    """
    feed = settings.feed
    if feed.websocket is not None:
        from hybrid_platform.feeds.websocket import LiveFeed

        return LiveFeed(feed.websocket, table, clock, log, store=store, session_id=session_id, earlier=earlier)
    if feed.synthetic is not None:
        return SyntheticTicks(feed.synthetic, table, clock, settings.seconds)
    if feed.replay is None:
        raise ConfigError([Fault("feed", "synthetic, replay or websocket", "none of them")])
    if feed.replay.frames is not None:
        from hybrid_platform.feeds.websocket import FrameRecordingFeed

        return FrameRecordingFeed(feed.replay, table, clock)
    if feed.replay.session is None:
        from hybrid_platform.feeds.files import FileReplay

        return FileReplay(feed.replay, table, clock)
    if stored is None:
        raise ConfigError([Fault("feed.replay.session", "a database to read it from", "none")])
    return StoredReplay(feed.replay, table, clock, stored)
