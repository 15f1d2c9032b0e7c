"""The sessions' own rows: start, refuse and finish a session, and mark those that a crash left behind.

in: session records · out: rows of ``sessions`` and ``ledger``; each call is one transaction. The state of a row
changes from RUNNING to COMPLETE or FAILED by `SessionStore.finish`, or to CRASHED at the next start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import sqlalchemy as sa

from hybrid_platform.domain.errors import ExitCode, StorageError
from hybrid_platform.storage import schema
from hybrid_platform.storage.engine import transaction
from hybrid_platform.storage.queries import count_session_rows, load_sessions
from hybrid_platform.storage.session_records import CrashedSession, SessionEnd, SessionInfo, SessionStart, SessionState

LedgerRows = Iterable[tuple[str, str, str, int]]
"""``(kind, name, reason, count)``."""


class SessionStore:
    """Writer of the rows of ``sessions`` and ``ledger``; waits for a locked database (S12)."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def start(self, start: SessionStart) -> None:
        """Insert the session's row as RUNNING; raise DatabaseError CONFLICT if the id exists."""
        with transaction(self._engine, f"starting session {start.session_id}") as connection:
            connection.execute(
                sa.insert(schema.SESSIONS).values(**_start_values(start), state=SessionState.RUNNING.value)
            )

    def refuse(self, start: SessionStart, exit_code: ExitCode, exit_reason: str) -> None:
        """Insert the session's row as REFUSED; an existing row stays unchanged."""
        row = _start_values(start) | {
            "state": SessionState.REFUSED.value,
            "exit_code": int(exit_code),
            "exit_reason": exit_reason,
            "ended_at": start.started_at,
        }
        sessions = schema.SESSIONS.c
        with transaction(self._engine, f"refusing session {start.session_id}") as connection:
            if connection.scalar(sa.select(sessions.session_no).where(sessions.session_id == start.session_id)) is None:
                connection.execute(sa.insert(schema.SESSIONS).values(**row))

    def record_failed_start(self, start: SessionStart, end: SessionEnd) -> None:
        """Insert the row of a session that failed to start, or end its row if that is already RUNNING."""
        ended = _end_values(end)
        sessions = schema.SESSIONS.c
        with transaction(self._engine, f"ending session {start.session_id}") as connection:
            running = sa.update(schema.SESSIONS).where(
                sessions.session_id == start.session_id, sessions.state == SessionState.RUNNING.value
            )
            if connection.execute(running.values(**ended)).rowcount != 1:
                connection.execute(sa.insert(schema.SESSIONS).values(**(_start_values(start) | ended)))

    def finish(self, session_id: str, end: SessionEnd, ledger: LedgerRows) -> None:
        """Write a running session's end and its ledger; raise StorageError if it is not RUNNING."""
        with transaction(self._engine, f"finishing session {session_id}") as connection:
            sessions = schema.SESSIONS.c
            running = sa.update(schema.SESSIONS).where(
                sessions.session_id == session_id, sessions.state == SessionState.RUNNING.value
            )
            if connection.execute(running.values(**_end_values(end))).rowcount != 1:
                raise StorageError(f"finishing session {session_id}: expected it RUNNING, got another state or none")
            _write_ledger(connection, session_id, ledger)

    def write_ledger(self, session_id: str, rows: LedgerRows) -> None:
        """Write rows of a session's ledger; an existing row gets the new count."""
        with transaction(self._engine, f"writing the ledger of {session_id}") as connection:
            _write_ledger(connection, session_id, rows)

    def mark_crashed(
        self, is_gone: Callable[[SessionInfo], bool] = lambda session: session.owner.is_gone
    ) -> list[CrashedSession]:
        """Mark the RUNNING sessions whose process has ended as CRASHED, and return them with their committed rows.

        A holder of the lease knows that no other session runs, and passes ``lambda session: True``.
        """
        running = sa.select(schema.SESSIONS).where(schema.SESSIONS.c.state == SessionState.RUNNING.value)
        with transaction(self._engine, "looking for crashed sessions") as connection:
            gone = [session for session in load_sessions(connection, running) if is_gone(session)]
            return [_mark_crashed(connection, session) for session in gone]


def _mark_crashed(connection: sa.Connection, session: SessionInfo) -> CrashedSession:
    beats = schema.HEARTBEATS.c
    last_beat = connection.scalar(sa.select(sa.func.max(beats.ts)).where(beats.session_no == session.session_no))
    kept = count_session_rows(connection, session.session_no)
    ended_at = last_beat or session.started_at
    connection.execute(
        sa.update(schema.SESSIONS)
        .where(schema.SESSIONS.c.session_no == session.session_no)
        .values(
            state=SessionState.CRASHED.value,
            exit_code=int(ExitCode.CRASH),
            exit_reason="PROCESS_GONE",
            ended_at=ended_at,
        )
    )
    _write_ledger(connection, session.session_id, [("table", name, "counted", count) for name, count in kept.items()])
    return CrashedSession(session.session_id, ended_at, kept)


def _start_values(start: SessionStart) -> dict[str, Any]:
    settings, owner = start.settings, start.owner
    return {
        "session_id": start.session_id,
        "run_id": start.run_id,
        "mode": settings.mode.value,
        "is_clean": False,
        "started_at": start.started_at,
        "config_sha256": settings.config_sha256,
        "trading_sha256": settings.trading_sha256,
        "code_version": start.code_version,
        "strategy": settings.strategy.name,
        "feed": settings.feed.kind,
        "settings": settings.to_deterministic_json(frozenset({"database_url"})),
        "pid": owner.pid,
        "host": owner.host,
        "boot_id": owner.boot_id,
        "pid_started": owner.pid_started,
    }


def _end_values(end: SessionEnd) -> dict[str, Any]:
    return {
        "state": end.state.value,
        "exit_code": int(end.exit_code),
        "exit_reason": end.exit_reason,
        "ended_at": end.ended_at,
        "is_clean": end.is_clean,
    }


def _write_ledger(connection: sa.Connection, session_id: str, rows: LedgerRows) -> None:
    statement = sa.text(
        'INSERT INTO ledger (session_id, kind, name, reason, "count")'
        " VALUES (:session_id, :kind, :name, :reason, :count)"
        ' ON CONFLICT (session_id, kind, name, reason) DO UPDATE SET "count" = excluded."count"'
    )
    values = [dict(zip(("kind", "name", "reason", "count"), row, strict=True), session_id=session_id) for row in rows]
    if values:
        connection.execute(statement, values)
