"""What lies between a session and the one before it: time, and the venue's trades that neither saw (S3).

in: the database, before the session and after it · out: where a live feed goes on from, and the evidence of
the gap. Trades that are missing are counted by the feed's own tracker, as after a reconnect.
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
    """The last session before this one that saw a tick of the same kind of live feed, as it was found at the start."""

    def __init__(self, engine: sa.Engine, feed: str, log: Log) -> None:
        """Find it; ``feed`` is the kind of the session's feed."""
        self._engine = engine
        self._session: SessionInfo | None = None
        self.last: dict[tuple[str, str], BoundaryTick] = {}
        """By ``(venue, symbol)``."""
        ran = (each for each in find_sessions(engine, limit=100) if each.state is not SessionState.REFUSED)
        for session in (each for each in ran if each.feed == feed):
            # One that saw nothing, for the venue was away, ends no gap: it goes on from the one before.
            if (last := self._last_of(session, log)) is None or last:
                self._session, self.last = session, last or {}
                break
            self._session = self._session or session

    def _last_of(self, session: SessionInfo, log: Log) -> dict[tuple[str, str], BoundaryTick] | None:
        """Return its last ticks; None where they are in an archive that cannot be read, which keeps no session off."""
        try:
            return read_boundary_ticks(self._engine, session.session_no, "last")
        except DatabaseError as error:
            if error.cause not in {Cause.MISSING, Cause.CORRUPT}:
                raise
            log.warning(
                "the last ticks of the session before cannot be read", last_session=session.session_id, error=str(error)
            )
            return None

    @property
    def resume_points(self) -> ResumePoints:
        """What a live feed goes on from: the last trades that have an id."""
        return {key: (last.ref, last.ts_event) for key, last in self.last.items() if last.ref is not None}

    def measure_gap(self, session_id: str, started_ns: int, log: Log) -> SessionGap | None:
        """Return, and log, what this session did not see since its predecessor; None where it has none."""
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
        # No row of the tracker's, and ids that follow each other: nothing is missing.
        missing=missing[key] if key in missing else 0 if _follows(last.ref, first.ref) else None,
    )


def _follows(last: int | str | None, first: int | str | None) -> bool:
    return isinstance(last, int) and isinstance(first, int) and first <= last + 1
