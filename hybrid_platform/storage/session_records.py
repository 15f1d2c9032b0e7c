"""A session's life as its row in ``sessions`` tells it: who started it with what, how it stands, how it ended."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from hybrid_platform.domain.errors import ExitCode
from hybrid_platform.host.process import ProcessIdentity
from hybrid_platform.settings.session import SessionSettings


class SessionState(StrEnum):
    """How a session stands."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"
    CRASHED = "CRASHED"
    """Left RUNNING by a process that is gone; found and marked by the next start."""
    REFUSED = "REFUSED"
    """A gate did not pass: nothing ran."""


class SessionStart(msgspec.Struct, frozen=True):
    """What is known of a session when its row is made."""

    session_id: str
    run_id: str
    settings: SessionSettings
    code_version: str
    started_at: int
    """Wall clock, nanoseconds."""
    owner: ProcessIdentity


class SessionEnd(msgspec.Struct, frozen=True):
    """How a session ended."""

    state: SessionState
    exit_code: ExitCode
    exit_reason: str
    ended_at: int
    """Wall clock, nanoseconds."""
    is_clean: bool
    """The drain reached its end: the clean marker (S13)."""


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
    """JSON that `config.load_settings` takes: all but ``database_url``, which may hold a password."""
    pid: int
    host: str
    boot_id: str | None
    pid_started: int | None

    @property
    def owner(self) -> ProcessIdentity:
        """The process that runs or ran it."""
        return ProcessIdentity(self.pid, self.host, self.boot_id, self.pid_started)


class CrashedSession(msgspec.Struct, frozen=True):
    """A session that a crash had left RUNNING."""

    session_id: str
    ended_at: int
    """Its last sign of life: the last heartbeat that was committed, else its start."""
    kept: dict[str, int]
    """Rows that were committed, by table."""
