"""What the supervisor sees at one look: plain facts, and how a run's life is told from them."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.host.process import ProcessIdentity
from hybrid_platform.observability.liveness import LivenessRecord, SessionPhase
from hybrid_platform.settings.operations import SupervisionSettings

TOLERANCE_NS = NS_PER_S
"""Two readings of a clock may differ by so much: evidence that is dated later is dated in the future."""


class Life(Enum):
    """What is known of a run that Dagster believes to go on."""

    QUEUED = "queued"
    """Dagster itself holds it back."""
    STARTING = "starting"
    ALIVE = "alive"
    SILENT = "silent"
    """Its process lives, and nobody supervises the session in it."""
    GONE = "gone"


class RunSeen(NamedTuple):
    """One run that the supervisor had asked for."""

    run_id: str
    generation: int
    launched_ns: int
    life: Life | None
    """None: it has ended."""
    detail: str = ""
    """What its life was told from; the session's id, where there is one."""
    started_ns: int = 0
    ended_ns: int = 0
    exit_code: int = 0
    exit_reason: str = ""
    error: str = ""
    """Class of the error that kept its session from beginning."""
    by_person: bool = False
    """Somebody ended it, in the UI or by a signal to its process."""


class CheckSeen(NamedTuple):
    """The newest preflight that left evidence, whoever ran it."""

    at_ns: int
    passed: bool
    reasons: str

    def ahead_ns(self, now_ns: int) -> int:
        """Return how far in the future it is dated; 0 within what two readings of a clock may differ."""
        ahead = self.at_ns - now_ns
        return ahead if ahead > TOLERANCE_NS else 0


class Seen(NamedTuple):
    """One look."""

    now_ns: int
    switched_on: float | None
    wanted: str
    """Digest of the wanted configuration."""
    rolls: bool
    """Whether the end of a session's time is the supervisor's own cut."""
    run: RunSeen | None
    """The newest one."""
    check_run: RunSeen | None
    check: CheckSeen | None
    halted: str | None
    """Who halted trading, and why."""
    holder: str | None
    """Who else holds the lease on the database."""


def life_of(
    *,
    queued: bool,
    owner: ProcessIdentity | None,
    sign: LivenessRecord | None,
    launched_ns: int,
    now_ns: int,
    settings: SupervisionSettings,
) -> tuple[Life, str]:
    """Return how a run that Dagster believes to go on really stands, and from what that is told.

    ``owner``: the process that said it runs the steps; ``sign``: the last sign of life, of any session. On
    this host the kernel's word decides, elsewhere the sign's age. A process that lives is never GONE.
    """
    waited_s = (now_ns - launched_ns) / NS_PER_S
    patient = waited_s < settings.start_timeout_seconds
    if queued:
        return Life.QUEUED, "queued by Dagster"
    if owner is None:
        told = f"no process has shown itself for {waited_s:.0f} s"
        return (Life.STARTING, told) if patient else (Life.GONE, told)
    process = f"process {owner.pid} on {owner.host}"
    own = sign if sign is not None and sign.owner == owner else None
    age_s = None if own is None else own.age_s(now_ns)
    supervised = own is not None and own.phase in {SessionPhase.STARTING, SessionPhase.RUNNING}
    if owner.is_of_this_boot:
        if owner.is_gone:
            return Life.GONE, f"{process} is gone"
        # After the session there are checks and a report, without signs of life: they have their time too.
        limit_s = settings.stale_seconds if supervised else settings.start_timeout_seconds
        if age_s is not None and age_s > limit_s:
            return Life.SILENT, f"{process} lives, last sign of life {age_s:.0f} s ago"
        return Life.ALIVE, process
    if age_s is None:
        told = f"{process}, which cannot be looked at from here, has given no sign of life for {waited_s:.0f} s"
        return (Life.STARTING, told) if patient else (Life.GONE, told)
    # Before and after the session there are checks and a report, without signs of life.
    limit_s = settings.stale_seconds if supervised else settings.start_timeout_seconds
    told = f"{process}, last sign of life {age_s:.0f} s ago"
    return (Life.ALIVE, told) if age_s <= limit_s else (Life.GONE, told)
