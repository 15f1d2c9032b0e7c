"""Notifications about runs and about halts of trading."""
