"""Records of what gates and sessions observed: written as evidence, read back by reports (G1, G2, I7).

Each record becomes one JSON object and is equal after reading it back (``msgspec.to_builtins``, ``msgspec.convert``).
Times are wall-clock nanoseconds since the Unix epoch, UTC.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Verdict(StrEnum):
    """Result of a check. Only PASS proves anything; only FAIL stops the next step."""

    PASS = "PASS"  # noqa: S105
    FAIL = "FAIL"
    NOT_RUN = "NOT_RUN"
    """Switched off, or not provable by this run."""
    UNAVAILABLE = "UNAVAILABLE"
    """The host does not provide the value; a weaker substitute was checked and passed."""

    @property
    def blocks(self) -> bool:
        """Whether the next step must not begin."""
        return self is Verdict.FAIL


class PressureAverages(msgspec.Struct, frozen=True):
    """One line of a PSI file: percent of time in which tasks were stalled for the resource."""

    avg10: float
    """Percent, over the last 10 s."""
    avg60: float
    avg300: float
    total: int
    """Microseconds of stall since boot."""


class ResourcePressure(msgspec.Struct, frozen=True):
    """Pressure on one resource."""

    some: PressureAverages
    """At least one task was stalled."""
    full: PressureAverages | None = None
    """All tasks were stalled; None if the kernel has no such line."""


class PressureSource(StrEnum):
    """Source of a pressure reading."""

    PSI = "PSI"
    UNAVAILABLE = "UNAVAILABLE"
    """No PSI on this host: the load average is the substitute, and LIVE refuses (G2)."""


class CpuPressure(msgspec.Struct, frozen=True):
    """One reading of the host's pressure; ``percent`` is compared with the limit."""

    ts: int
    source: PressureSource
    load_percent: float
    """Load average of the last minute ÷ cores × 100: the substitute for PSI."""
    cpu: ResourcePressure | None = None
    memory: ResourcePressure | None = None
    io: ResourcePressure | None = None

    @property
    def percent(self) -> float:
        """``some avg10`` of the CPU, or the load if that is unavailable (G2)."""
        return self.load_percent if self.cpu is None else self.cpu.some.avg10


class PressureGate(msgspec.Struct, frozen=True):
    """The gate G2: pressure and limit, at first and after waiting."""

    limit: float
    """Percent; 100 or more switches the gate off."""
    first: CpuPressure
    last: CpuPressure
    waited_s: float
    verdict: Verdict
    """NOT_RUN: switched off; UNAVAILABLE: only the load average could be checked, and it passed."""
    why: str


class LoadAverage(msgspec.Struct, frozen=True):
    """Average number of tasks that run or wait to run."""

    one_minute: float
    five_minutes: float
    fifteen_minutes: float


class ClockSync(msgspec.Struct, frozen=True):
    """State of the kernel's clock; a value that the kernel does not report is None."""

    is_synchronised: bool | None
    """Whether a time service keeps the clock synchronised."""
    estimated_error_ms: float | None
    maximum_error_ms: float | None
    offset_ms: float | None
    """Remaining correction."""
    detail: str


class SystemState(msgspec.Struct, frozen=True):
    """State of host and code at one moment; a value that the host does not report is None."""

    ts: int
    hostname: str
    kernel: str
    """E.g. ``Linux 6.1.0 x86_64``."""
    python: str
    cores: int
    load: LoadAverage | None
    uptime_s: float | None
    boot_id: str | None
    """Changes with every boot; monotonic times are comparable only within one boot."""
    memory_total_bytes: int | None
    memory_available_bytes: int | None
    disk_free_bytes: int | None
    """Space for an unprivileged writer on the file system of the data directory."""
    package_version: str
    git_commit: str | None
    """Of the package's own checkout; None for an installed package."""
    git_dirty: bool | None
    """Whether the checkout differs from that commit; untracked files count."""
    clock: ClockSync | None = None


class DatabaseReport(msgspec.Struct, frozen=True):
    """Result of a read-only probe of the database."""

    exists: bool
    readable: bool
    schema: str | None
    """Revision of the schema; None without a schema."""
    ticks: int | None
    """None if they could not be counted."""
    detail: str = ""
    """Why the database is not readable or has no schema; already redacted."""


class HealthcheckItem(msgspec.Struct, frozen=True):
    """One item of a healthcheck."""

    name: str
    verdict: Verdict
    detail: str
    """One line: the finding, and the expectation if it failed."""
    required: bool = True
    """Whether a FAIL of this item fails the healthcheck."""

    @property
    def judged(self) -> str:
        """The verdict as shown on a page: a failed item that is not required reads NOTED."""
        return self.verdict.value if self.required or self.verdict is not Verdict.FAIL else "NOTED"


class HealthcheckRecord(msgspec.Struct, frozen=True):
    """A healthcheck: its items in printed order, and the verdict that follows from them."""

    ts: int
    items: tuple[HealthcheckItem, ...]
    verdict: Verdict
    why: str
    """The required items that failed; empty when it passed."""
    took_s: float


class CodeIdentity(msgspec.Struct, frozen=True):
    """Identity of the code that ran."""

    version: str
    commit: str | None
    dirty: bool | None
    sha256: str | None = None
    """Digest of the package's files, by `evidence.code_digest.tree_sha256`."""


class PragmaReading(msgspec.Struct, frozen=True):
    """One PRAGMA as read back from one connection (I5)."""

    connection: str
    """``write`` or ``read``."""
    name: str
    expected: str | int
    got: str | int = msgspec.field(name="was")

    @property
    def holds(self) -> bool:
        """Whether the value is the expected one."""
        return self.got == self.expected


class SnapshotProof(msgspec.Struct, frozen=True):
    """Row counts of a reader while a writer had an open transaction on the table, spilled to the WAL."""

    rows_before: int
    rows_seen_by_writer: int
    """Inside the open transaction."""
    rows_seen_by_reader: int
    """At the same moment."""
    rows_after: int
    """After the writer had rolled back."""
    reader_took_ms: float

    @property
    def holds(self) -> bool:
        """Whether the reader saw none of the uncommitted rows and did not wait for them."""
        return self.rows_seen_by_writer > self.rows_before == self.rows_seen_by_reader == self.rows_after


class PragmaEvidence(msgspec.Struct, frozen=True):
    """The database as the session will use it, opened by the same engine factory (G3, S1)."""

    database: str
    """The URL without its secrets."""
    sqlite_version: str
    readings: tuple[PragmaReading, ...]
    snapshot: SnapshotProof

    @property
    def faults(self) -> tuple[str, ...]:
        """Violations; empty if the gate passes."""
        wrong = [
            f"PRAGMA {each.name} ({each.connection}): expected {each.expected}, got {each.got}"
            for each in self.readings
            if not each.holds
        ]
        return (*wrong, *(() if self.snapshot.holds else (f"reader during a write: {self.snapshot}",)))

    @property
    def values(self) -> dict[str, str | int]:
        """Values that were read back, e.g. ``write.journal_mode``: ``wal``."""
        return {f"{each.connection}.{each.name}": each.got for each in self.readings}
