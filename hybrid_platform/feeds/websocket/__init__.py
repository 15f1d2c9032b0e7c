"""Live market data by websocket, and its recordings: `LiveFeed`, `FrameRecordingFeed`; see docs/live-data.md."""

from __future__ import annotations

from hybrid_platform.feeds.websocket.feed import LiveFeed, SourceStats
from hybrid_platform.feeds.websocket.playback import FrameRecordingFeed

__all__ = ["FrameRecordingFeed", "LiveFeed", "SourceStats"]
