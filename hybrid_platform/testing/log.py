"""A log in memory, for tests to read."""

from __future__ import annotations

from typing import Any, NamedTuple


class LogEntry(NamedTuple):
    """One entry of the log."""

    level: str
    message: str
    fields: dict[str, Any]


class ListLog:
    """A `Log` that stores its entries in a list."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []

    def info(self, message: str, **fields: Any) -> None:
        """Store an entry."""
        self.entries.append(LogEntry("INFO", message, fields))

    def warning(self, message: str, **fields: Any) -> None:
        """Store an entry."""
        self.entries.append(LogEntry("WARNING", message, fields))

    def error(self, message: str, **fields: Any) -> None:
        """Store an entry."""
        self.entries.append(LogEntry("ERROR", message, fields))

    def of(self, message: str) -> list[dict[str, Any]]:
        """Return the fields of all entries with this message."""
        return [entry.fields for entry in self.entries if entry.message == message]
