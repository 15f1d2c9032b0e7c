"""Decisions of the supervisor that keeps one session alive: observe, reconcile, remember."""
