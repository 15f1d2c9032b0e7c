"""Whose turn it is on the database, and what is done to it between sessions: lease, retention, restore."""
