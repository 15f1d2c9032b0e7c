"""A log that a test can read."""

from __future__ import annotations

from typing import Any, NamedTuple


class Entry(NamedTuple):
    """One line of the log."""

    level: str
    message: str
    fields: dict[str, Any]


class ListLog:
    """A `Log` that keeps its entries."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def info(self, message: str, **fields: Any) -> None:
        """Keep an entry."""
        self.entries.append(Entry("INFO", message, fields))

    def warning(self, message: str, **fields: Any) -> None:
        """Keep an entry."""
        self.entries.append(Entry("WARNING", message, fields))

    def error(self, message: str, **fields: Any) -> None:
        """Keep an entry."""
        self.entries.append(Entry("ERROR", message, fields))

    def of(self, message: str) -> list[dict[str, Any]]:
        """Return the fields of all entries with this message."""
        return [entry.fields for entry in self.entries if entry.message == message]
