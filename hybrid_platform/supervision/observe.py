"""What can be seen of a session without Dagster: the last preflight, a standing halt, who holds the lease.

in: the wanted run's data directory and database · out: facts for `seen.Seen`. Reads a few small files, waits for none.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from hybrid_platform.domain.clocks import NS_PER_S, Clock
from hybrid_platform.domain.commands import CommandKind
from hybrid_platform.domain.errors import PlatformError
from hybrid_platform.domain.ids import make_session_id
from hybrid_platform.domain.records import Verdict
from hybrid_platform.evidence.files import CHECKS
from hybrid_platform.maintenance.lease import LeaseHolder, lease_path, read_holder
from hybrid_platform.security.paths import DataDir
from hybrid_platform.session.commands import CommandFile
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.location import resolve_database_url
from hybrid_platform.supervision.observed import TOLERANCE_NS, CheckSeen

_MAX_BYTES = 1 << 20


class _Written(msgspec.Struct, frozen=True):
    """What is needed of a `pipeline.gates.checks.CheckEvidence`."""

    verdict: Verdict
    reasons: tuple[str, ...]
    at: str


def last_preflight(data_dir: DataDir, now_ns: int) -> CheckSeen | None:
    """Return the newest preflight that ran alone and left evidence; None where none did, or it cannot be read.

    One that is dated in the future (the clock was set back) counts only where there is no other: it must not hide
    those that are made until the clock has caught up with it.
    """
    folder = data_dir.resolve(CHECKS)
    names = sorted(path.name for path in folder.glob("*-preflight.json")) if folder.is_dir() else []
    if not names:
        return None
    try:
        now = make_session_id(now_ns + TOLERANCE_NS, "").partition("-")[0]
        name = next((name for name in reversed(names) if name.partition("-")[0] <= now), names[-1])
        found = msgspec.json.decode(data_dir.read_bytes(f"{CHECKS}/{name}", _MAX_BYTES), type=_Written)
        at = datetime.fromisoformat(found.at)
    except (OSError, PlatformError, msgspec.DecodeError, ValueError):
        return None
    return CheckSeen(int(at.timestamp() * NS_PER_S), found.verdict is Verdict.PASS, "; ".join(found.reasons))


def standing_halt(data_dir: DataDir, clock: Clock) -> str | None:
    """Return who halted trading and why, as long as nobody resumed it."""
    standing = CommandFile(data_dir, clock).standing()
    if standing is None or standing.kind is not CommandKind.HALT:
        return None
    return f"by {standing.who}: {standing.why}"


def lease_holder(settings: SessionSettings, data_dir: DataDir, clock: Clock) -> str | None:
    """Return who holds the lease on the wanted run's database; None where nobody does, as far as can be seen.

    A holder of another boot or host counts while its beats are younger than ``supervision.stale_seconds``.
    """
    path = lease_path(resolve_database_url(settings))
    holder: LeaseHolder | None = read_holder(path)
    if holder is None:
        return None
    if holder.owner.is_of_this_boot:
        return None if holder.owner.is_gone else str(holder)
    try:
        age_s = (clock.wall_ns() - path.stat().st_mtime_ns) / NS_PER_S
    except FileNotFoundError:
        return None
    return str(holder) if age_s <= settings.supervision.stale_seconds else None
