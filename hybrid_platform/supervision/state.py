"""State of the supervisor between two evaluations: the sensor's cursor, as JSON.

An empty cursor is a fresh start. The JSON keys are those of the first release, so that its cursors stay readable.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Phase(StrEnum):
    """Phase of the supervised session."""

    STARTING = "STARTING"
    """A run was launched and has no process yet."""
    RUNNING = "RUNNING"
    CHECKING = "CHECKING"
    """The job `preflight` runs, because the last one that passed is not fresh."""
    BACKOFF = "BACKOFF"
    """The session failed and will be restarted later."""
    REAPED = "REAPED"
    """The process was gone: the run was marked as failed and is handled next."""
    STUCK = "STUCK"
    """The process is alive without progress: a person has to check it."""
    WAITING = "WAITING"
    """Another session holds the lease on the database."""
    HALTED = "HALTED"
    """Trading is halted: nothing starts until it is resumed."""
    STOPPED = "STOPPED"
    """An operator ended the session: nothing starts until the operator requests it."""
    CONFIG = "CONFIG"
    """Exit code 12: nothing starts until the desired configuration changes."""
    ENDED = "ENDED"
    """The feed or the requested time ended with exit code 0."""


class Block(msgspec.Struct, frozen=True):
    """Reason why nothing starts until the desired configuration changes or the sensor is switched on again."""

    phase: Phase
    why: str
    desired: str = msgspec.field(name="wanted")
    """Digest of the configuration that was desired at that time."""


class SupervisorState(msgspec.Struct, frozen=True):
    """Everything that the supervisor remembers. Times are wall-clock nanoseconds, UTC."""

    phase: Phase = Phase.STARTING
    why: str = ""
    next_at: str | None = None
    """Time of the next attempt; None: when something changes."""
    generation: int = 0
    """Number of the last requested run of `shadow_run`; part of its run key, which Dagster remembers forever."""
    handled: int = msgspec.field(default=0, name="judged")
    """The last generation whose end was handled."""
    launched_ns: int = 0
    check: int = 0
    """The same for the job `preflight`."""
    handled_check: int = msgspec.field(default=0, name="check_judged")
    check_launched_ns: int = 0
    failures: int = 0
    """Consecutive failures, checks included, which determine the backoff."""
    cause: str = ""
    """The last failure."""
    not_before_ns: int = 0
    restarts_ns: tuple[int, ...] = ()
    """Times of restarts after failures, within the window of the budget."""
    blocked: Block | None = None
    desired: str = msgspec.field(default="", name="wanted")
    switched_on: float | None = None
    """When the sensor was switched on, as reported by Dagster."""


def read_cursor(cursor: str | None) -> SupervisorState:
    """Return the state in a cursor; the initial state for an empty or foreign cursor."""
    if not cursor:
        return SupervisorState()
    try:
        return msgspec.json.decode(cursor.encode(), type=SupervisorState)
    except (msgspec.DecodeError, UnicodeError):
        return SupervisorState()


def to_cursor(state: SupervisorState) -> str:
    """Return the state as the text of a cursor, readable in the UI."""
    return msgspec.json.format(msgspec.json.encode(state)).decode()
