"""Records of a session's row in ``sessions``: its start, its state and its end.

Free of SQLAlchemy, so that the CLI and the strategy process can import them quickly.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from hybrid_platform.domain.errors import ExitCode
from hybrid_platform.host.process import ProcessIdentity
from hybrid_platform.settings.session import SessionSettings


class SessionState(StrEnum):
    """State of a session in the database."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"
    CRASHED = "CRASHED"
    """Left RUNNING by a process that has ended; marked by the next start."""
    REFUSED = "REFUSED"
    """A gate did not pass, and nothing ran."""


class SessionStart(msgspec.Struct, frozen=True):
    """A session when its row is created."""

    session_id: str
    run_id: str
    settings: SessionSettings
    code_version: str
    started_at: int
    """Wall clock, nanoseconds."""
    owner: ProcessIdentity


class SessionEnd(msgspec.Struct, frozen=True):
    """End of a session."""

    state: SessionState
    exit_code: ExitCode
    exit_reason: str
    ended_at: int
    """Wall clock, nanoseconds."""
    is_clean: bool
    """Whether the drain reached its end: the clean marker (S13)."""


class SessionInfo(msgspec.Struct, frozen=True):
    """One row of ``sessions``."""

    session_no: int
    session_id: str
    run_id: str
    mode: str
    state: SessionState
    exit_code: int | None
    exit_reason: str | None
    is_clean: bool
    started_at: int
    ended_at: int | None
    config_sha256: str
    trading_sha256: str
    code_version: str
    strategy: str
    feed: str
    settings: str
    """JSON for `load_settings`, without ``database_url``, which may contain a password."""
    pid: int
    host: str
    boot_id: str | None
    pid_started: int | None

    @property
    def owner(self) -> ProcessIdentity:
        """The process that runs or ran the session."""
        return ProcessIdentity(self.pid, self.host, self.boot_id, self.pid_started)


class CrashedSession(msgspec.Struct, frozen=True):
    """A session that a crash had left in state RUNNING."""

    session_id: str
    ended_at: int
    """Time of the last committed heartbeat, or of the start if there was none."""
    kept: dict[str, int]
    """Committed rows by table."""
