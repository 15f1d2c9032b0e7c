"""What the supervisor remembers between two looks, and what it shows: the sensor's cursor, as JSON.

in: a cursor's text · out: a `Memory`, and its text again. A cursor that was emptied is a fresh start.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Phase(StrEnum):
    """How the supervised session stands."""

    STARTING = "STARTING"
    """A run was launched and has not shown itself yet."""
    RUNNING = "RUNNING"
    CHECKING = "CHECKING"
    """The job `preflight` runs, because no fresh one passed."""
    BACKOFF = "BACKOFF"
    """It failed, and is started again later."""
    REAPED = "REAPED"
    """Its process was gone: the run was marked as failed, and is judged next."""
    STUCK = "STUCK"
    """Its process lives and gives no sign: a person must look."""
    WAITING = "WAITING"
    """Another session holds the lease on the database."""
    HALTED = "HALTED"
    """Trading is halted: nothing starts until a person resumes."""
    STOPPED = "STOPPED"
    """A person ended it: nothing starts until a person wants it again."""
    CONFIG = "CONFIG"
    """Exit code 12: nothing starts until the wanted configuration changes."""
    ENDED = "ENDED"
    """The feed, or the time that was asked for, came to its end with exit code 0."""


class Block(msgspec.Struct, frozen=True):
    """Why nothing is started any more, until the wanted configuration changes or the sensor is switched on anew."""

    phase: Phase
    why: str
    wanted: str
    """Digest of the configuration that was wanted then."""


class Memory(msgspec.Struct, frozen=True):
    """All that the supervisor knows of the past. Times are wall-clock nanoseconds, UTC."""

    phase: Phase = Phase.STARTING
    why: str = ""
    next_at: str | None = None
    """When something will be tried again; None: when something changes."""
    generation: int = 0
    """Of the last run of `shadow_run` that was asked for; part of its run key, which Dagster remembers for ever."""
    judged: int = 0
    """The last generation whose end was judged."""
    launched_ns: int = 0
    check: int = 0
    """The same for the job `preflight`."""
    check_judged: int = 0
    check_launched_ns: int = 0
    failures: int = 0
    """Failed runs in a row, checks included: what the backoff grows with."""
    cause: str = ""
    """The last failure."""
    not_before_ns: int = 0
    restarts_ns: tuple[int, ...] = ()
    """When it was started again after a failure, within the budget's time."""
    blocked: Block | None = None
    wanted: str = ""
    switched_on: float | None = None
    """When a person switched the sensor on, as Dagster says it."""


def read_memory(cursor: str | None) -> Memory:
    """Return what a cursor says; an empty one, or one that was never ours, says nothing."""
    if not cursor:
        return Memory()
    try:
        return msgspec.json.decode(cursor.encode(), type=Memory)
    except (msgspec.DecodeError, UnicodeError):
        return Memory()


def cursor_of(memory: Memory) -> str:
    """Return the cursor's text, as a person may read it in the UI."""
    return msgspec.json.format(msgspec.json.encode(memory)).decode()
