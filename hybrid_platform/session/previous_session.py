"""The gap between a session and the one before it: time, and trades of the venue that neither has seen (S3).

in: the database, before and after the session · out: the point from which a live feed resumes, and the evidence
of the gap. The feed's own tracker counts the missing trades, as after a reconnect.
"""

from __future__ import annotations

import sqlalchemy as sa

from hybrid_platform.domain.clocks import NS_PER_S, iso_utc
from hybrid_platform.domain.log import Log
from hybrid_platform.evidence.records import InstrumentGap, SessionGap
from hybrid_platform.feeds.base import BETWEEN_SESSIONS, ResumePoints
from hybrid_platform.storage.errors import Cause, DatabaseError
from hybrid_platform.storage.queries import find_session, find_sessions, read_gaps
from hybrid_platform.storage.reader import BoundaryTick, read_boundary_ticks
from hybrid_platform.storage.session_records import SessionInfo, SessionState


class PreviousSession:
    """The last session that received a tick from the same kind of live feed, as found at the start."""

    def __init__(self, engine: sa.Engine, feed: str, log: Log) -> None:
        """``feed`` is the kind of the session's feed."""
        self._engine = engine
        self._session: SessionInfo | None = None
        self.last: dict[tuple[str, str], BoundaryTick] = {}
        """The last tick by ``(venue, symbol)``."""
        ran = (each for each in find_sessions(engine, limit=100) if each.state is not SessionState.REFUSED)
        for session in (each for each in ran if each.feed == feed):
            # A session without ticks, because the venue was away, does not end the gap: look further back.
            if (last := self._read_last_ticks(session, log)) is None or last:
                self._session, self.last = session, last or {}
                break
            self._session = self._session or session

    def _read_last_ticks(self, session: SessionInfo, log: Log) -> dict[tuple[str, str], BoundaryTick] | None:
        """Return its last ticks, or None if their archive cannot be read, which must not prevent a session."""
        try:
            return read_boundary_ticks(self._engine, session.session_no, "last")
        except DatabaseError as error:
            if error.cause not in {Cause.MISSING, Cause.CORRUPT}:
                raise
            log.warning(
                "last ticks of the previous session not readable", last_session=session.session_id, error=str(error)
            )
            return None

    @property
    def resume_points(self) -> ResumePoints:
        """The last trades with an id, from which a live feed resumes."""
        return {key: (last.ref, last.ts_event) for key, last in self.last.items() if last.ref is not None}

    def measure_gap(self, session_id: str, started_ns: int, log: Log) -> SessionGap | None:
        """Return and log what this session has missed since the previous one; None if there is none."""
        before = self._session
        if before is None:
            return None
        first = read_boundary_ticks(self._engine, find_session(self._engine, session_id).session_no, "first")
        missing = {
            (venue, symbol): count for venue, symbol, count in read_gaps(self._engine, session_id, BETWEEN_SESSIONS)
        }
        ended_ns = before.ended_at if before.ended_at is not None else before.started_at
        gaps = tuple(_gap(key, last, first[key], missing) for key, last in sorted(self.last.items()) if key in first)
        since = SessionGap(
            session_id=before.session_id,
            state=before.state.value,
            exit_reason=before.exit_reason,
            ended_at=iso_utc(ended_ns),
            seconds=round((started_ns - ended_ns) / NS_PER_S, 3),
            instruments=gaps,
        )
        log.info(
            "gap since the last session (S3)",
            last_session=since.session_id,
            seconds=since.seconds,
            longest_without_a_tick_s=max((gap.seconds for gap in gaps), default=None),
            missing={f"{gap.venue} {gap.symbol}": gap.missing for gap in gaps if gap.missing is not None},
        )
        return since


def _gap(
    key: tuple[str, str], last: BoundaryTick, first: BoundaryTick, missing: dict[tuple[str, str], int | None]
) -> InstrumentGap:
    return InstrumentGap(
        *key,
        last_at=iso_utc(last.ts_recv),
        first_at=iso_utc(first.ts_recv),
        seconds=round((first.ts_recv - last.ts_recv) / NS_PER_S, 3),
        last_id=None if last.ref is None else str(last.ref),
        first_id=None if first.ref is None else str(first.ref),
        # Without a row of the tracker, consecutive ids mean that nothing is missing.
        missing=missing[key] if key in missing else 0 if _follows(last.ref, first.ref) else None,
    )


def _follows(last: int | str | None, first: int | str | None) -> bool:
    return isinstance(last, int) and isinstance(first, int) and first <= last + 1
