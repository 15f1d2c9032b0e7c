"""Live market data by websocket, and its recordings: `LiveFeed`, `RecordedFramesFeed`; see docs/live-data.md."""

from __future__ import annotations

from hybrid_platform.feeds.websocket.feed import LiveFeed, SourceStats
from hybrid_platform.feeds.websocket.playback import RecordedFramesFeed

__all__ = ["LiveFeed", "RecordedFramesFeed", "SourceStats"]
