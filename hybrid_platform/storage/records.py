"""A session's life as its row in ``sessions`` tells it: who started it with what, how it stands, how it ended."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

import msgspec

from hybrid_platform.domain.errors import ExitCode
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


class Owner(msgspec.Struct, frozen=True):
    """The process that runs a session, named so that a later process of the same number is not taken for it."""

    pid: int
    host: str
    boot_id: str | None
    """Of the host's boot; None where the host does not say."""
    pid_started: int | None
    """Clock ticks from boot to the process's start; None where the host does not say."""

    @property
    def is_gone(self) -> bool:
        """Whether it certainly runs no more, as far as this host can tell; another host's is not."""
        here = this_process()
        if self.host != here.host:
            return False
        if self.boot_id != here.boot_id:
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return _started(self.pid) != self.pid_started

    @property
    def is_of_this_boot(self) -> bool:
        """Whether it is or was a process of this host since its last boot, so that this kernel knows all of it."""
        here = this_process()
        return (self.host, self.boot_id) == (here.host, here.boot_id)

    @property
    def is_alive_beside(self) -> bool:
        """Whether it certainly runs now, as another process of this host."""
        return self.is_of_this_boot and self.pid != os.getpid() and not self.is_gone


class SessionStart(msgspec.Struct, frozen=True):
    """What is known of a session when its row is made."""

    session_id: str
    run_id: str
    settings: SessionSettings
    code_version: str
    started_at: int
    """Wall clock, nanoseconds."""
    owner: Owner


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
    def owner(self) -> Owner:
        """The process that runs or ran it."""
        return Owner(self.pid, self.host, self.boot_id, self.pid_started)


class CrashedSession(msgspec.Struct, frozen=True):
    """A session that a crash had left RUNNING."""

    session_id: str
    ended_at: int
    """Its last sign of life: the last heartbeat that was committed, else its start."""
    kept: dict[str, int]
    """Rows that were committed, by table."""


def this_process() -> Owner:
    """Return this process as the owner of a session."""
    boot_id = None
    with suppress(OSError):
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return Owner(os.getpid(), platform.node(), boot_id, _started(os.getpid()))


def _started(pid: int) -> int | None:
    """Return when a process started; None where there is none, or only a dead one that nobody has waited for."""
    try:
        # The name in brackets may hold spaces and brackets itself: count from its end.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None
