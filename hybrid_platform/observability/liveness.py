"""The pulse: a session's sign of life for whoever watches from outside its process (DESIGN 3).

Every few seconds ``control/heartbeat.json`` is replaced and the lease beats. A thread of its own does it,
so that a slow disk never makes the supervising thread late; what it reports is when *that* thread last
looked, so a pulse alone does not hide that nobody supervises.
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

NAME = "control/heartbeat.json"
MAX_BYTES = 16_384
LOST_LOOKS = 2
"""So many looks in a row must find the lease gone: one may have met a network file system at a bad moment."""


class Phase(StrEnum):
    """How far a session is."""

    STARTING = "STARTING"
    RUNNING = "RUNNING"
    CLOSING = "CLOSING"
    """Drained; its rows are counted and its evidence written."""
    ENDED = "ENDED"


class LifeSign(msgspec.Struct, frozen=True):
    """What the file says."""

    session_id: str
    run_id: str
    owner: ProcessIdentity
    phase: Phase
    n: int
    """Counts the signs of this session."""
    at: str
    at_ns: int
    """Wall clock; a host's time service may step it."""
    unsupervised_ms: int
    """How long the supervising thread had not looked then; 0 while none is needed."""

    def age_s(self, now_ns: int) -> float:
        """Return how long ago, in seconds, somebody supervised the session."""
        return max(0, now_ns - self.at_ns) / NS_PER_S + self.unsupervised_ms * NS_PER_MS / NS_PER_S


def last_sign(data_dir: DataDir) -> LifeSign | None:
    """Return the last sign of life below a data directory; None where there is none that can be understood."""
    try:
        return msgspec.json.decode(data_dir.read_bytes(NAME, MAX_BYTES), type=LifeSign)
    except (FileNotFoundError, PlatformError, msgspec.DecodeError, UnicodeDecodeError):
        return None


class Pulse:
    """Beats from `start` to `stop`; one owner."""

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
        self._said: set[str] = set()
        self._stop = threading.Event()
        self._looked: Callable[[], int] | None = None
        self._on_lost: Callable[[BaseException], None] | None = None
        self.phase = Phase.STARTING
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        """Give the first sign, and start the thread."""
        self._beat()
        self._thread.start()

    def watch(self, looked: Callable[[], int], on_lost: Callable[[BaseException], None]) -> None:
        """The session runs: ``looked`` gives the monotonic instant of its supervisor's last look.

        ``on_lost`` is told once when the lease is not this session's any more.
        """
        self._looked, self._on_lost, self.phase = looked, on_lost, Phase.RUNNING

    def closing(self) -> None:
        """The session has drained: nothing is supervised any more."""
        self._looked, self.phase = None, Phase.CLOSING

    def stop(self) -> None:
        """End the thread, and say in the file that the session has ended; safe to call twice."""
        self._stop.set()
        self._thread.join()
        if self.phase is not Phase.ENDED:
            self._looked, self.phase = None, Phase.ENDED
            self._sign()

    def _run(self) -> None:
        while not self._stop.wait(self._beat_seconds):
            self._beat()

    def _beat(self) -> None:
        self._sign()
        try:
            self._lease.beat()
            self._lost = 0
        except LeaseLost as error:
            self._lost += 1
            # Not only at that look: a session that was still starting then is told once it is watched.
            if self._lost >= LOST_LOOKS and (told := self._on_lost) is not None:
                self._on_lost = None
                told(error)
        except PlatformError as error:
            self._say("the lease could not beat", error)

    def _sign(self) -> None:
        now, looked = self._clock.wall_ns(), self._looked
        unsupervised = 0 if looked is None else max(0, self._clock.monotonic_ns() - looked()) // NS_PER_MS
        self._n += 1
        sign = LifeSign(*self._ids, self._owner, self.phase, self._n, iso_utc(now), now, unsupervised)
        try:
            self._data_dir.write_atomic(NAME, msgspec.json.format(msgspec.json.encode(sign)) + b"\n", durable=False)
        except PlatformError as error:
            self._say("the sign of life could not be written", error)

    def _say(self, what: str, error: PlatformError) -> None:
        """Say a failure once: on a full disk it comes every few seconds."""
        if what not in self._said:
            self._said.add(what)
            self._log.warning(what, error=str(error))
