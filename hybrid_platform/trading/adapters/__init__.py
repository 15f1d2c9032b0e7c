"""Execution adapters: where approved orders go in SHADOW, PAPER and LIVE."""
