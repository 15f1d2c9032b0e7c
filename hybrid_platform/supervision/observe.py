"""Facts about a session that do not need Dagster: the last preflight, a halt in force, the holder of the lease.

In: data directory and database of the desired run. Out: facts for an `Observation`. Reads a few small files and never
waits.
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
from hybrid_platform.supervision.observed import TOLERANCE_NS, ObservedPreflight

_MAX_BYTES = 1 << 20


class _CheckRecord(msgspec.Struct, frozen=True):
    """The needed part of a `CheckEvidence`."""

    verdict: Verdict
    reasons: tuple[str, ...]
    at: str


def read_last_preflight(data_dir: DataDir, now_ns: int) -> ObservedPreflight | None:
    """Return the newest stand-alone preflight with evidence; None if there is none that can be read.

    A preflight that is dated in the future (the clock was set back) counts only if there is no other, because it must
    not hide newer ones until the clock has caught up.
    """
    folder = data_dir.resolve(CHECKS)
    names = sorted(path.name for path in folder.glob("*-preflight.json")) if folder.is_dir() else []
    if not names:
        return None
    try:
        now = make_session_id(now_ns + TOLERANCE_NS, "").partition("-")[0]
        name = next((name for name in reversed(names) if name.partition("-")[0] <= now), names[-1])
        found = msgspec.json.decode(data_dir.read_bytes(f"{CHECKS}/{name}", _MAX_BYTES), type=_CheckRecord)
        at = datetime.fromisoformat(found.at)
    except (OSError, PlatformError, msgspec.DecodeError, ValueError):
        return None
    return ObservedPreflight(int(at.timestamp() * NS_PER_S), found.verdict is Verdict.PASS, "; ".join(found.reasons))


def read_halt(data_dir: DataDir, clock: Clock) -> str | None:
    """Return the author and reason of a halt of trading; None if it is not halted."""
    command = CommandFile(data_dir, clock).standing()
    if command is None or command.kind is not CommandKind.HALT:
        return None
    return f"by {command.who}: {command.why}"


def read_lease_holder(settings: SessionSettings, data_dir: DataDir, clock: Clock) -> str | None:
    """Return the holder of the lease on the desired run's database; None if there is none, as far as can be observed.

    A holder of another boot or host counts while its last beat is younger than ``supervision.stale_seconds``.
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
