"""The running session: channels, four stages, ledger, heartbeats, gates, from preflight to postflight.

The way of the data: `ingest` -> `strategy` -> `execution` -> `persist`, each its own thread.
"""
