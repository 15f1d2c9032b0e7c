"""What a room needs of a log: a level, a fixed message, and fields. Where it goes is not its business."""

from __future__ import annotations

from typing import Any, Protocol


class Log(Protocol):
    """A structured log; safe to call from any thread, and it never raises."""

    def info(self, message: str, **fields: Any) -> None:
        """Say what happened."""

    def warning(self, message: str, **fields: Any) -> None:
        """Say what an operator should look at."""

    def error(self, message: str, **fields: Any) -> None:
        """Say what failed."""
