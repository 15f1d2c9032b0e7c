"""The structured log of a session: its sinks, the names of its events, and reading a finished log."""
