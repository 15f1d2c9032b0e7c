"""Work on the database between sessions, under the same lease: retention, restore.

A session that starts meanwhile waits for such work, which is short; such work waits for a session's end
as long as it is told to, and gives way to one that waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from hybrid_platform.maintenance.lease import BEAT_SECONDS, Holder, Lease, LeaseHeld, holder_of

MAINTENANCE = "maintenance:"
"""What a holder that is no session calls itself begins so."""
PATIENCE_SECONDS = 120.0
"""How long a session waits for maintenance; one piece of it takes seconds."""
LOOK_SECONDS = 0.25


def session_lease(path: Path, session_id: str, on_wait: Callable[[str], None]) -> Lease:
    """Take the lease for a session; wait for maintenance. Raises LeaseHeld where another session holds it."""
    return _take(path, session_id, PATIENCE_SECONDS, _is_maintenance, on_wait, threading.Event())


def maintenance_lease(
    path: Path, what: str, wait_seconds: float, on_wait: Callable[[str], None], stop: threading.Event
) -> Lease:
    """Take the lease for maintenance; wait so long for a session to end, or until ``stop``. Raises LeaseHeld."""
    return _take(path, f"{MAINTENANCE} {what}", wait_seconds, lambda holder: True, on_wait, stop)


class Beating:
    """Shows now and then that a lease's holder lives; call it often."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._due = time.monotonic() + BEAT_SECONDS

    def __call__(self, _step: str) -> None:
        """Beat, if it is time; raise LeaseLost where the lease is another's now."""
        if time.monotonic() >= self._due:
            self._lease.beat()
            self._due = time.monotonic() + BEAT_SECONDS


def _is_maintenance(holder: Holder | None) -> bool:
    return holder is not None and holder.session_id.startswith(MAINTENANCE)


def _take(
    path: Path,
    name: str,
    seconds: float,
    is_worth_waiting: Callable[[Holder | None], bool],
    on_wait: Callable[[str], None],
    stop: threading.Event,
) -> Lease:
    deadline = time.monotonic() + seconds
    has_said = False
    while True:
        try:
            return Lease(path, name)
        except LeaseHeld:
            holder = holder_of(path)
            if not is_worth_waiting(holder) or time.monotonic() >= deadline:
                raise
            if not has_said:
                on_wait(str(holder or "somebody who has not said who"))
                has_said = True
            if stop.wait(LOOK_SECONDS):
                raise
