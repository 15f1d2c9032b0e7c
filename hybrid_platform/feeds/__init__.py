"""Feeds produce ticks: `synthetic`, `replay`, `websocket`. They parse, reject and count; ingest numbers."""

from hybrid_platform.feeds.factory import build_feed

__all__ = ["build_feed"]
