"""The interface of a structured log: a level, a fixed message, and fields."""

from __future__ import annotations

from typing import Any, Protocol


class Log(Protocol):
    """A structured log. Any thread may call it, and it never raises."""

    def info(self, message: str, **fields: Any) -> None:
        """Log an event of normal operation."""

    def warning(self, message: str, **fields: Any) -> None:
        """Log an event that needs an operator's attention."""

    def error(self, message: str, **fields: Any) -> None:
        """Log a failure."""
