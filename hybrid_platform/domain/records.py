"""What gates and sessions saw: frozen records, written as evidence and read back by the report.

Made in `host`, `storage` and `pipeline`; each becomes one JSON object and comes back equal from it
(``msgspec.to_builtins`` / ``msgspec.convert``). Times are wall-clock nanoseconds since the Unix
epoch, UTC. Carries G1, G2, I7.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Verdict(StrEnum):
    """How a check ended. Only PASS proves anything; only FAIL stops what follows."""

    PASS = "PASS"  # noqa: S105
    FAIL = "FAIL"
    NOT_RUN = "NOT_RUN"
    """Switched off, or not this run's to prove."""
    UNAVAILABLE = "UNAVAILABLE"
    """The host cannot say; a weaker stand-in was judged and held."""

    @property
    def blocks(self) -> bool:
        """Whether what follows must not begin."""
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
    """All tasks were stalled; None where the kernel gives no such line."""


class PressureSource(StrEnum):
    """What a pressure reading rests on."""

    PSI = "PSI"
    UNAVAILABLE = "UNAVAILABLE"
    """No PSI on this host: the load average stands in, and LIVE refuses (G2)."""


class CpuPressure(msgspec.Struct, frozen=True):
    """One reading of the host's pressure; ``percent`` is what is held against the limit."""

    ts: int
    source: PressureSource
    load_percent: float
    """Load average of the last minute ÷ cores × 100: the stand-in where there is no PSI."""
    cpu: ResourcePressure | None = None
    memory: ResourcePressure | None = None
    io: ResourcePressure | None = None

    @property
    def percent(self) -> float:
        """``some avg10`` of the CPU, or the load stand-in where that is unavailable (G2)."""
        return self.load_percent if self.cpu is None else self.cpu.some.avg10


class PressureGate(msgspec.Struct, frozen=True):
    """The gate G2: how the pressure stood against its limit, at first and after waiting."""

    limit: float
    """Percent; 100 or more switches the gate off."""
    first: CpuPressure
    last: CpuPressure
    waited_s: float
    verdict: Verdict
    """NOT_RUN: switched off; UNAVAILABLE: only the load average could be judged, and it held."""
    why: str


class LoadAverage(msgspec.Struct, frozen=True):
    """Tasks running or waiting to run, on average."""

    one_minute: float
    five_minutes: float
    fifteen_minutes: float


class ClockSync(msgspec.Struct, frozen=True):
    """What the kernel says of its own clock; None where it does not say."""

    is_synchronised: bool | None
    """Whether somebody keeps it right."""
    estimated_error_ms: float | None
    maximum_error_ms: float | None
    offset_ms: float | None
    """What is still to be corrected."""
    detail: str


class SystemState(msgspec.Struct, frozen=True):
    """The host and the code, as they were at one moment; None where the host does not say."""

    ts: int
    hostname: str
    kernel: str
    """E.g. ``Linux 6.1.0 x86_64``."""
    python: str
    cores: int
    load: LoadAverage | None
    uptime_s: float | None
    boot_id: str | None
    """Changes with every boot, so that monotonic times of two records can be compared or not."""
    memory_total_bytes: int | None
    memory_available_bytes: int | None
    disk_free_bytes: int | None
    """What an unprivileged writer may still use on the file system of the data directory."""
    package_version: str
    git_commit: str | None
    """Of the package's own checkout; None for an installed package."""
    git_dirty: bool | None
    """Whether anything differs from that commit, files unknown to git included."""
    clock: ClockSync | None = None


class DatabaseReport(msgspec.Struct, frozen=True):
    """What a read-only look at the database found."""

    exists: bool
    readable: bool
    schema: str | None
    """Revision of the schema; None where there is none."""
    ticks: int | None
    """None where they could not be counted."""
    detail: str = ""
    """Why it is not readable or has no schema; redacted by whoever looked."""


class HealthcheckItem(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    detail: str
    """One line: what was found, and what was expected where it failed."""
    required: bool = True
    """Whether its FAIL fails the whole."""

    @property
    def judged(self) -> str:
        """Its verdict as a page shows it: what is not required does not read as a failure."""
        return self.verdict.value if self.required or self.verdict is not Verdict.FAIL else "NOTED"


class HealthcheckRecord(msgspec.Struct, frozen=True):
    """A healthcheck (SPEC 10): its items in the order in which they are printed, and what follows from them."""

    ts: int
    items: tuple[HealthcheckItem, ...]
    verdict: Verdict
    why: str
    """The required items that failed; empty when it passed."""
    took_s: float


class CodeIdentity(msgspec.Struct, frozen=True):
    """Which code ran."""

    version: str
    commit: str | None
    dirty: bool | None
    sha256: str | None = None
    """Of the package's files, as `evidence.code.tree_sha256` counts them."""


class PragmaReading(msgspec.Struct, frozen=True):
    """One PRAGMA as one connection gave it back (I5)."""

    connection: str
    """``write`` or ``read``."""
    name: str
    expected: str | int
    was: str | int

    @property
    def holds(self) -> bool:
        """Whether it is what it has to be."""
        return self.was == self.expected


class SnapshotProof(msgspec.Struct, frozen=True):
    """What a reader saw of a table while a writer's transaction on it was open and spilled to the log."""

    rows_before: int
    rows_seen_by_writer: int
    """Inside the open transaction."""
    rows_seen_by_reader: int
    """At the same moment."""
    rows_after: int
    """When the writer had rolled back: nothing stays."""
    reader_took_ms: float

    @property
    def holds(self) -> bool:
        """Whether the reader was not kept waiting for the writer's rows, and saw none of them."""
        return self.rows_seen_by_writer > self.rows_before == self.rows_seen_by_reader == self.rows_after


class PragmaEvidence(msgspec.Struct, frozen=True):
    """The database as the session will use it, through the same engine factory (G3, S1)."""

    database: str
    """The URL without its secrets."""
    sqlite_version: str
    readings: tuple[PragmaReading, ...]
    snapshot: SnapshotProof

    @property
    def faults(self) -> tuple[str, ...]:
        """What does not hold; empty where the gate passes."""
        wrong = [
            f"PRAGMA {each.name} ({each.connection}): expected {each.expected}, got {each.was}"
            for each in self.readings
            if not each.holds
        ]
        return (*wrong, *(() if self.snapshot.holds else (f"reader beside a writer: {self.snapshot}",)))

    @property
    def values(self) -> dict[str, str | int]:
        """What was read back, e.g. ``write.journal_mode``: ``wal``."""
        return {f"{each.connection}.{each.name}": each.was for each in self.readings}
