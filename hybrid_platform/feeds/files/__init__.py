"""Replay of recorded files. A row passes through sources → lines → blocks → columns → merge → pacing."""

from hybrid_platform.feeds.files.feed import FileFeed

__all__ = ["FileFeed"]
