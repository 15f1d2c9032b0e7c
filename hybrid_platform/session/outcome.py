"""How a session ends: the reason for its drain, its first failure, and its progress until then."""

from __future__ import annotations

import traceback
from typing import NamedTuple

from hybrid_platform.domain.errors import ExitCode, PlatformError


class StopReason:
    """Why a session drained (`sessions.exit_reason`)."""

    END_OF_FEED = "END_OF_FEED"
    TIME_LIMIT = "TIME_LIMIT"
    SIGTERM = "SIGTERM"
    SIGINT = "SIGINT"
    TERMINATED = "TERMINATED"


class SandboxedStageError(PlatformError):
    """A stage of the sandboxed process failed; carries that stage's exit code and the type of its error."""

    def __init__(self, message: str, exit_code: int, kind: str) -> None:
        super().__init__(message)
        self.exit_code = ExitCode(exit_code)
        self.kind = kind


class Failure(NamedTuple):
    """The first error of a session."""

    stage: str
    error: BaseException

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that tells a supervisor whether to restart."""
        return self.error.exit_code if isinstance(self.error, PlatformError) else ExitCode.CRASH

    @property
    def kind(self) -> str:
        """The type of the error; for an error of the sandboxed process, its type there."""
        return self.error.kind if isinstance(self.error, SandboxedStageError) else type(self.error).__name__

    def __str__(self) -> str:
        return f"{self.stage}: {format_error(self.error)}"


class Progress(NamedTuple):
    """Progress of a running session."""

    elapsed_s: float
    ticks: int
    ticks_per_second: float
    signals: int
    orders: int
    trades: int
    vetoes: int
    dropped: int
    committed_rows: int


def format_error(error: BaseException) -> str:
    """Return the message of one of the platform's errors; for any other error its type too."""
    return str(error) if isinstance(error, PlatformError) else f"{type(error).__name__}: {error}"


def format_trace(error: BaseException) -> dict[str, str]:
    """Return the traceback as a log field, or nothing for errors whose message says what to do."""
    is_expected = isinstance(error, PlatformError | OSError | MemoryError)  # a refusal of the host is not a bug
    return {} if is_expected else {"trace": "".join(traceback.format_exception(error))}
