"""Typed records of the four evidence files of a session; each is one JSON object below ``evidence/<session_id>/``.

The step that writes a record measured or read back every value in it; reports show these values and add none.
Attribute names are JSON keys of a signed format: change one only with a msgspec ``rename``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

import msgspec

from hybrid_platform.domain.isolation import IsolationEvidence
from hybrid_platform.domain.records import (
    CodeIdentity,
    DatabaseReport,
    HealthcheckRecord,
    PragmaEvidence,
    PressureGate,
    SystemState,
    Verdict,
)
from hybrid_platform.evidence.files import parse_json, read_json
from hybrid_platform.security.paths import DataDir
from hybrid_platform.trading.accounts import AccountSnapshot

PREFLIGHT, PRAGMA, SESSION, POSTFLIGHT = "preflight", "pragma", "session", "postflight"
REFUSAL = "refusal"
"""Written as plain `Evidence` by a step that could not begin, for example because another session is running."""
SCHEMA = 1


def evidence_name(session_id: str, kind: str) -> str:
    """Return the path, below the data directory, of one of a session's evidence files."""
    return f"evidence/{session_id}/{kind}.json"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that all evidence records share."""

    schema: int = SCHEMA
    kind: str
    session_id: str
    run_id: str
    verdict: Verdict
    reasons: tuple[str, ...]
    """Why the step did not pass; empty if it passed."""
    exit_code: int
    started_at: str
    ended_at: str
    config_sha256: str
    trading_sha256: str
    code: CodeIdentity


EvidenceT = TypeVar("EvidenceT", bound=Evidence)


def read_evidence(data_dir: DataDir, session_id: str, kind: str, record_type: type[EvidenceT]) -> EvidenceT | None:
    """Return one of a session's evidence records, or None without the file; raise EvidenceError if it is invalid."""
    name = evidence_name(session_id, kind)
    return read_json(data_dir, name, record_type) if data_dir.resolve(name).exists() else None


class LiveCondition(msgspec.Struct, frozen=True):
    """One condition of the LIVE gate (G1)."""

    name: str
    met: bool
    detail: str


class PreflightEvidence(Evidence, frozen=True, kw_only=True):
    """The host before the session, and the session's settings."""

    settings: dict[str, Any]
    system: SystemState
    healthcheck: HealthcheckRecord
    pressure: PressureGate
    inputs: tuple[dict[str, Any], ...] = ()
    """The files to be replayed: name, size and SHA-256."""
    live_gate: tuple[LiveCondition, ...] = ()
    """The conditions of the LIVE gate; empty for other modes."""
    strategy_sha256: str | None = None
    """Digest of the strategy's code before it ran; None if its code could not be found."""


class PragmaGateEvidence(Evidence, frozen=True, kw_only=True):
    """The database and its connections as the session will use them (G3)."""

    database: str
    """The URL without its secrets."""
    pragmas: PragmaEvidence | None
    migrations: tuple[str, ...]
    """Migrations that this step applied; empty if the schema was current."""
    before: DatabaseReport
    """The database before anything was written."""


class ChannelFigures(msgspec.Struct, frozen=True, rename={"depth": "left", "max_depth": "high_water"}):
    """Event counts of one channel over the whole session."""

    name: str
    capacity: int
    policy: str
    sent: int
    received: int
    dropped: int
    depth: int
    """Events still in the channel at the end."""
    max_depth: int
    blocked: int
    refused: int = 0
    """Dropped events that had been sent as guaranteed."""


class LedgerLine(msgspec.Struct, frozen=True):
    """One row of ``ledger``."""

    kind: str
    name: str
    reason: str
    count: int


class LedgerFigures(msgspec.Struct, frozen=True):
    """The ledger: counts that account for every event."""

    rows: tuple[LedgerLine, ...] = ()
    balances: bool = True
    faults: tuple[str, ...] = ()


class HeartbeatFigures(msgspec.Struct, frozen=True, rename={"sent": "beaten"}):
    """The heartbeats of the session (G4)."""

    sent: int = 0
    late: int = 0
    missing: int = 0
    longest_late_ms: int = 0
    interval_s: float = 0.0


NO_SIGNALS_SHA256 = hashlib.sha256().hexdigest()


class SignalFigures(msgspec.Struct, frozen=True):
    """The signals, and their digest: SHA-256 over the lines ``seq,SIDE`` in order."""

    count: int = 0
    buy: int = 0
    sell: int = 0
    sha256: str = NO_SIGNALS_SHA256


class RowFigures(msgspec.Struct, frozen=True):
    """Digests of the rows of a table, as `evidence.row_digests` computes and compares them."""

    count: int
    sha256: str
    """Digest of all rows."""
    sums: tuple[int, ...]
    """Sums that locate a single changed row."""


class LadderStep(msgspec.Struct, frozen=True):
    """One step of the throttle ladder (S15); ``before`` and ``after`` as "every n-th tick"."""

    at: str
    elapsed_s: float
    before: int
    after: int
    why: str
    """The measures at or above their limits, with their values."""
    held_s: float
    """How long they had been at or above their limits."""
    cpu_pressure: float
    queue_percent: float
    lag_ms: float


_OVERLOAD_KEYS = {
    "max_pressure": "most_pressure",
    "max_queue": "most_queue",
    "max_lag_ms": "most_lag_ms",
    "exempt_s": "spared_s",
}


class OverloadFigures(msgspec.Struct, frozen=True, kw_only=True, rename=_OVERLOAD_KEYS):
    """The observed load of a live session, and the throttling that answered it (S15); None: not observed."""

    source: str
    """Source of the pressure: PSI, or UNAVAILABLE if the load average ÷ cores was used instead."""
    sample: bool
    pressure_limit: float | None
    queue_limit: float | None
    lag_limit_ms: float | None
    step_up_s: float
    readings: int
    max_pressure: float
    mean_pressure: float
    max_queue: float
    max_lag_ms: float
    above_s: float
    """Total time in which a measure was at or above its limit."""
    longest_above_s: float
    """Longest uninterrupted such time."""
    exempt_s: float
    """Part of ``above_s`` in which the feed was too slow to be sampled."""
    stepped: int
    steps: tuple[LadderStep, ...]
    seconds_at: dict[str, float]
    """Time at each level of the ladder; a key n means "every n-th tick"."""
    sampled_out: dict[str, int]
    """Ticks sampled out at each level."""
    stopped: bool
    """Whether sustained load at the top of the ladder ended the session with OVERLOAD."""


class MetricsFigures(msgspec.Struct, frozen=True):
    """Scrapes of the running session's metrics."""

    port: int
    """The configured port; 0 means any free port."""
    scrapes: int = 0
    failed: int = 0
    """Scrapes that got an error response."""
    error: str = ""
    """Why the metrics were not served; empty if they were."""


class LiveFigures(msgspec.Struct, frozen=True):
    """Orders sent to a venue, and reports received from it (mode LIVE)."""

    account: str
    max_notional_usd: Decimal
    """Maximum notional of the arming token."""
    bundles: tuple[str, ...]
    """Digests of the proof bundles in the arming token."""
    adapter: str
    submitted: int
    """Orders handed to the adapter."""
    refused: int
    """Orders that the order guard or the kill switch held back."""
    cancels: int
    reports: int
    exposure_usd: Decimal
    """Worst-case exposure Σ |position| at the last prices, pending orders included, at the end."""
    open_orders: dict[str, str]
    """Last known status, by order id, of orders that may still be open at the venue."""


class InstrumentGap(msgspec.Struct, frozen=True):
    """The gap between two consecutive sessions for an instrument that both received."""

    venue: str
    symbol: str
    last_at: str
    """Receive time of the last tick of the earlier session."""
    first_at: str
    seconds: float
    last_id: str | None
    """The venue's trade id of that tick."""
    first_id: str | None
    missing: int | None
    """Number of trades in between; None if the venue's trade ids do not show it."""


class SessionGap(msgspec.Struct, frozen=True):
    """The gap between a session and the previous one on the same kind of live feed (S3)."""

    session_id: str
    state: str
    exit_reason: str | None
    ended_at: str
    seconds: float
    """From the end of the previous session to the start of this one."""
    instruments: tuple[InstrumentGap, ...]


class SessionEvidence(Evidence, frozen=True, kw_only=True):
    """The session: its end state, counters, channels, ledger and isolation."""

    mode: str
    strategy: dict[str, Any]
    feed: dict[str, Any]
    inputs: tuple[dict[str, Any], ...]
    """The replayed files: name, size and SHA-256."""
    sources: tuple[dict[str, Any], ...] = ()
    """Figures of each live source: connects, reasons of disconnects, gaps, lag."""
    began: bool = True
    """False if an error prevented the start; then every count is 0, and the session's row is its only row."""
    error: str | msgspec.UnsetType = msgspec.UNSET
    """Class of the error that prevented the start, such as ``LeaseHeld``; absent otherwise."""
    state: str
    exit_reason: str
    failure: str | None = None
    clean: bool
    """Whether the session drained, flushed and wrote its end marker, with every thread ended."""
    isolation: IsolationEvidence
    counters: dict[str, Any]
    channels: tuple[ChannelFigures, ...]
    ledger: LedgerFigures = LedgerFigures()
    heartbeats: HeartbeatFigures
    signals: SignalFigures = SignalFigures()
    crashed: tuple[str, ...] = ()
    """Earlier sessions that were RUNNING without a process and are now marked CRASHED."""
    vetoes: dict[str, int] = {}
    rejected: dict[str, int] = {}
    pragmas: dict[str, Any] = {}
    """The values that the session's own writer and reader read back."""
    pipeline_s: float = 0.0
    """Time from the log message `channels created` to `FINAL METRICS`."""
    ticks_per_second: float = 0.0
    rows_per_second: float = 0.0
    lag_ms: dict[str, float] = {}
    """p50 and p99 of receive time minus event time."""
    latency_us: dict[str, float] = {}
    """p50 and p99 from the receipt of a tick to its order on the channel; live feeds only."""
    first_event: str | None = None
    last_event: str | None = None
    strategy_sha256: str | None = None
    """Digest of the strategy's code after it ran."""
    account: AccountSnapshot | None = None
    """The engine's account at the end, derived from fills alone (I4); None if the engine did not end."""
    ticks: RowFigures | None = None
    """Digests of the written ticks, without their trade ids."""
    journal: RowFigures | None = None
    """Digests of the written rows of ``inputs``."""
    since_last: SessionGap | None = None
    """None for a replay, and for the first session of its kind in the database."""
    overload: OverloadFigures | None = None
    """None if the feed cannot be throttled."""
    metrics: MetricsFigures | None = None
    """None if no port is configured."""
    live: LiveFigures | None = None
    """None in SHADOW and PAPER."""
    left_out: tuple[str, ...] = ()
    """Rows that earlier sessions had reported as committed and that an accepted restore lacks."""

    @property
    def orders(self) -> int:
        """Number of orders placed, in any mode."""
        return int(self.counters.get("live_orders", self.counters["shadow_orders"]))


class ProofVerdict(StrEnum):
    """Verdict on one contract id after one session."""

    PASS = "PASS"  # noqa: S105
    FAIL = "FAIL"
    NOT_RUN = "NOT_RUN"


class Proof(msgspec.Struct, frozen=True):
    """The result for one contract id: what this session proved, with the figures."""

    id: str
    claim: str
    expected: str
    actual: str
    verdict: ProofVerdict


class PostflightEvidence(Evidence, frozen=True, kw_only=True):
    """The host after the session, and the verdicts on all evidence."""

    system: SystemState
    healthcheck: HealthcheckRecord
    pressure: PressureGate
    after: DatabaseReport
    counted: dict[str, int]
    """Rows of this session in each table, counted by postflight."""
    proofs: tuple[Proof, ...]
    log_lines: tuple[str, ...]
    """The contract's fixed log lines, from the session's log file."""


class SessionFiles(NamedTuple):
    """The records of a session; each is None if the run did not reach that step."""

    preflight: PreflightEvidence | None
    pragma: PragmaGateEvidence | None
    session: SessionEvidence | None
    postflight: PostflightEvidence | None
    refusal: Evidence | None = None
    """Written by a step that could not begin."""


def parse_session_files(read: Callable[[str], bytes | None]) -> SessionFiles:
    """Return a session's records; ``read`` returns the content of a file, or None if it does not exist.

    Raises EvidenceError for a file that is not a valid record of its kind.
    """

    def record(kind: str, record_type: type[EvidenceT]) -> EvidenceT | None:
        content = read(f"{kind}.json")
        return None if content is None else parse_json(content, f"{kind}.json", record_type)

    return SessionFiles(
        record(PREFLIGHT, PreflightEvidence),
        record(PRAGMA, PragmaGateEvidence),
        record(SESSION, SessionEvidence),
        record(POSTFLIGHT, PostflightEvidence),
        record(REFUSAL, Evidence),
    )
