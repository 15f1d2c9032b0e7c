"""Feeds produce ticks: `synthetic`, `replay`, `websocket`. They parse, reject and count; ingest numbers."""
