"""Liveness of a session for observers outside its process: the file ``control/heartbeat.json`` and the lease.

Every few seconds the file is replaced and the lease is renewed, by a separate thread, so that a slow disk never delays
the supervising thread. The record contains the time since *that* thread last polled, so that a live process cannot hide
a session that is no longer supervised.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import StrEnum

import msgspec

from hybrid_platform.domain.clocks import NS_PER_MS, NS_PER_S, Clock, iso_utc
from hybrid_platform.domain.errors import PlatformError
from hybrid_platform.domain.log import Log
from hybrid_platform.host.process import ProcessIdentity, this_process
from hybrid_platform.maintenance.lease import BEAT_SECONDS, Lease, LeaseLost
from hybrid_platform.security.paths import DataDir

LIVENESS_FILE = "control/heartbeat.json"
MAX_BYTES = 16_384
LOST_BEATS = 2
"""Number of consecutive beats that must find the lease lost; a single one may be a problem of a network file system."""


class SessionPhase(StrEnum):
    """How far a session is."""

    STARTING = "STARTING"
    RUNNING = "RUNNING"
    CLOSING = "CLOSING"
    """Drained; its rows are being counted and its evidence written."""
    ENDED = "ENDED"


class LivenessRecord(msgspec.Struct, frozen=True):
    """Content of the liveness file."""

    session_id: str
    run_id: str
    owner: ProcessIdentity
    phase: SessionPhase
    n: int
    """Number of this record within its session."""
    at: str
    at_ns: int
    """Wall clock; the time service of a host may step it."""
    unsupervised_ms: int
    """Time since the supervising thread last polled; 0 while no supervision is needed."""

    def age_s(self, now_ns: int) -> float:
        """Return the time in seconds since the session was last supervised."""
        return max(0, now_ns - self.at_ns) / NS_PER_S + self.unsupervised_ms * NS_PER_MS / NS_PER_S


def read_liveness(data_dir: DataDir) -> LivenessRecord | None:
    """Return the last liveness record below a data directory; None if there is none that can be read."""
    try:
        return msgspec.json.decode(data_dir.read_bytes(LIVENESS_FILE, MAX_BYTES), type=LivenessRecord)
    except (FileNotFoundError, PlatformError, msgspec.DecodeError, UnicodeDecodeError):
        return None


class LivenessWriter:
    """Writes liveness records and renews the lease, from `start` to `stop`; one owner."""

    def __init__(
        self,
        data_dir: DataDir,
        lease: Lease,
        session_id: str,
        run_id: str,
        clock: Clock,
        log: Log,
        *,
        beat_seconds: float = BEAT_SECONDS,
    ) -> None:
        self._data_dir = data_dir
        self._lease = lease
        self._ids = session_id, run_id
        self._clock = clock
        self._log = log
        self._beat_seconds = beat_seconds
        self._owner = this_process()
        self._n = self._lost = 0
        self._logged: set[str] = set()
        self._stop = threading.Event()
        self._last_poll_ns: Callable[[], int] | None = None
        self._on_lost: Callable[[BaseException], None] | None = None
        self.phase = SessionPhase.STARTING
        self._thread = threading.Thread(target=self._run, name="liveness", daemon=True)

    def start(self) -> None:
        """Write the first record and start the thread."""
        self._beat()
        self._thread.start()

    def watch(self, last_poll_ns: Callable[[], int], on_lost: Callable[[BaseException], None]) -> None:
        """Enter RUNNING: ``last_poll_ns`` returns the monotonic time of the supervisor's last poll.

        ``on_lost`` is called once if the lease is lost.
        """
        self._last_poll_ns, self._on_lost, self.phase = last_poll_ns, on_lost, SessionPhase.RUNNING

    def enter_closing(self) -> None:
        """Enter CLOSING: the session has drained and is no longer supervised."""
        self._last_poll_ns, self.phase = None, SessionPhase.CLOSING

    def stop(self) -> None:
        """End the thread and write the record of the session's end (idempotent)."""
        self._stop.set()
        self._thread.join()
        if self.phase is not SessionPhase.ENDED:
            self._last_poll_ns, self.phase = None, SessionPhase.ENDED
            self._write()

    def _run(self) -> None:
        while not self._stop.wait(self._beat_seconds):
            self._beat()

    def _beat(self) -> None:
        self._write()
        try:
            self._lease.beat()
            self._lost = 0
        except LeaseLost as error:
            self._lost += 1
            # Also at later beats: a session that was still starting is notified once it is watched.
            if self._lost >= LOST_BEATS and (notify := self._on_lost) is not None:
                self._on_lost = None
                notify(error)
        except PlatformError as error:
            self._log_once("lease not renewed", error)

    def _write(self) -> None:
        now, last_poll = self._clock.wall_ns(), self._last_poll_ns
        unsupervised = 0 if last_poll is None else max(0, self._clock.monotonic_ns() - last_poll()) // NS_PER_MS
        self._n += 1
        record = LivenessRecord(*self._ids, self._owner, self.phase, self._n, iso_utc(now), now, unsupervised)
        content = msgspec.json.format(msgspec.json.encode(record)) + b"\n"
        try:
            self._data_dir.write_atomic(LIVENESS_FILE, content, durable=False)
        except PlatformError as error:
            self._log_once("liveness file not written", error)

    def _log_once(self, message: str, error: PlatformError) -> None:
        """Log a failure once, because on a full disk it recurs every few seconds."""
        if message not in self._logged:
            self._logged.add(message)
            self._log.warning(message, error=str(error))
