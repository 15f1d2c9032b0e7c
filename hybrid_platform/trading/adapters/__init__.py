"""Execution adapters: shadow, paper, and the protocol of live ones."""
