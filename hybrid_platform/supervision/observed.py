"""One observation of the supervisor: plain facts, and how a run's liveness follows from them."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.host.process import ProcessIdentity
from hybrid_platform.observability.liveness import LivenessRecord, SessionPhase
from hybrid_platform.settings.operations import SupervisionSettings

TOLERANCE_NS = NS_PER_S
"""Tolerated difference of two clock readings; evidence dated later than that is dated in the future."""


class RunLiveness(Enum):
    """Liveness of a run that Dagster regards as in progress."""

    QUEUED = "queued"
    """Queued by Dagster."""
    STARTING = "starting"
    ALIVE = "alive"
    SILENT = "silent"
    """Its process is alive, but the session in it is not supervised."""
    GONE = "gone"


class ObservedRun(NamedTuple):
    """One run that the supervisor requested."""

    run_id: str
    generation: int
    launched_ns: int
    liveness: RunLiveness | None
    """None: the run has ended."""
    detail: str = ""
    """The finding that its liveness follows from; the session's id, if there is one."""
    started_ns: int = 0
    ended_ns: int = 0
    exit_code: int = 0
    exit_reason: str = ""
    error: str = ""
    """Class of the error that prevented the start of its session."""
    by_operator: bool = False
    """Ended by an operator, in the UI or by a signal to its process."""


class ObservedPreflight(NamedTuple):
    """The newest preflight that left evidence."""

    at_ns: int
    passed: bool
    reasons: str

    def ahead_ns(self, now_ns: int) -> int:
        """Return how far in the future it is dated; 0 within the tolerance."""
        ahead = self.at_ns - now_ns
        return ahead if ahead > TOLERANCE_NS else 0


class Observation(NamedTuple):
    """One observation."""

    now_ns: int
    switched_on: float | None
    desired: str
    """Digest of the desired configuration."""
    rolls: bool
    """Whether the supervisor sets the time limit of a session."""
    run: ObservedRun | None
    """The newest run."""
    check_run: ObservedRun | None
    check: ObservedPreflight | None
    halted: str | None
    """Author and reason of a halt of trading; None if it is not halted."""
    holder: str | None
    """Another holder of the lease on the database."""


def assess_liveness(
    *,
    queued: bool,
    owner: ProcessIdentity | None,
    record: LivenessRecord | None,
    launched_ns: int,
    now_ns: int,
    settings: SupervisionSettings,
) -> tuple[RunLiveness, str]:
    """Return the liveness of a run that Dagster regards as in progress, and the finding it follows from.

    ``owner``: the process that runs the steps, as it reported itself; ``record``: the last liveness record, of any
    session. On this host the kernel decides, elsewhere the age of the record. A process that is alive is never GONE.
    """
    waited_s = (now_ns - launched_ns) / NS_PER_S
    may_still_start = waited_s < settings.start_timeout_seconds
    if queued:
        return RunLiveness.QUEUED, "queued by Dagster"
    if owner is None:
        finding = f"no process has appeared for {waited_s:.0f} s"
        return (RunLiveness.STARTING, finding) if may_still_start else (RunLiveness.GONE, finding)
    process = f"process {owner.pid} on {owner.host}"
    own = record if record is not None and record.owner == owner else None
    age_s = None if own is None else own.age_s(now_ns)
    # Before and after the session there are checks and a report, without liveness records.
    supervised = own is not None and own.phase in {SessionPhase.STARTING, SessionPhase.RUNNING}
    limit_s = settings.stale_seconds if supervised else settings.start_timeout_seconds
    if owner.is_of_this_boot:
        if owner.is_gone:
            return RunLiveness.GONE, f"{process} is gone"
        if age_s is not None and age_s > limit_s:
            return RunLiveness.SILENT, f"{process} is alive, last liveness record {age_s:.0f} s ago"
        return RunLiveness.ALIVE, process
    if age_s is None:
        finding = (
            f"{process}, which cannot be observed from this host, has written no liveness record for {waited_s:.0f} s"
        )
        return (RunLiveness.STARTING, finding) if may_still_start else (RunLiveness.GONE, finding)
    finding = f"{process}, last liveness record {age_s:.0f} s ago"
    return (RunLiveness.ALIVE, finding) if age_s <= limit_s else (RunLiveness.GONE, finding)
