"""The four evidence files of a session, as typed records; each is one JSON object below ``evidence/<session_id>/``.

Every value was measured or read back by what wrote it; the report adds none of its own.
"""

from __future__ import annotations

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
"""Left, as plain `Evidence`, by a step that could not begin: no pass before it in the same run, another session, …"""
SCHEMA = 1


def evidence_name(session_id: str, kind: str) -> str:
    """Return the name, below the data directory, of one of a session's evidence files."""
    return f"evidence/{session_id}/{kind}.json"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What all four have in common."""

    schema: int = SCHEMA
    kind: str
    session_id: str
    run_id: str
    verdict: Verdict
    reasons: tuple[str, ...]
    """Why it did not pass; empty where it did."""
    exit_code: int
    started_at: str
    ended_at: str
    config_sha256: str
    trading_sha256: str
    code: CodeIdentity


EvidenceT = TypeVar("EvidenceT", bound=Evidence)


def read_evidence(data_dir: DataDir, session_id: str, kind: str, of_type: type[EvidenceT]) -> EvidenceT | None:
    """Return one of a session's evidence files, or None where there is none; raise EvidenceError for a bad one."""
    name = evidence_name(session_id, kind)
    return read_json(data_dir, name, of_type) if data_dir.resolve(name).exists() else None


class LiveCondition(msgspec.Struct, frozen=True):
    """One condition of the LIVE gate (G1)."""

    name: str
    met: bool
    detail: str


class PreflightEvidence(Evidence, frozen=True, kw_only=True):
    """The host before, and what the session was asked to do."""

    settings: dict[str, Any]
    system: SystemState
    healthcheck: HealthcheckRecord
    pressure: PressureGate
    inputs: tuple[dict[str, Any], ...] = ()
    """The files that will be replayed: name, bytes, SHA-256."""
    live_gate: tuple[LiveCondition, ...] = ()
    """Filled for mode LIVE."""
    strategy_sha256: str | None = None
    """Of the strategy's code, before it was run; None where it could not be found."""


class PragmaGateEvidence(Evidence, frozen=True, kw_only=True):
    """The database as the session will use it (G3)."""

    database: str
    """The URL without its secrets."""
    pragmas: PragmaEvidence | None
    migrations: tuple[str, ...]
    """Applied now; empty where the schema was current."""
    before: DatabaseReport
    """The database before anything was written."""


class ChannelFigures(msgspec.Struct, frozen=True):
    """One channel over the whole session, in events."""

    name: str
    capacity: int
    policy: str
    sent: int
    received: int
    dropped: int
    left: int
    high_water: int
    blocked: int
    refused: int = 0
    """Of what was dropped, what was to be kept."""


class LedgerLine(msgspec.Struct, frozen=True):
    """One row of ``ledger``."""

    kind: str
    name: str
    reason: str
    count: int


class LedgerFigures(msgspec.Struct, frozen=True):
    """Where every event went."""

    rows: tuple[LedgerLine, ...]
    balances: bool
    faults: tuple[str, ...]


class HeartbeatFigures(msgspec.Struct, frozen=True):
    """The heartbeats of the session (G4)."""

    beaten: int
    late: int
    missing: int
    longest_late_ms: int
    interval_s: float


class SignalFigures(msgspec.Struct, frozen=True):
    """The signals, and their digest: SHA-256 over the lines ``seq,SIDE`` in order."""

    count: int
    buy: int
    sell: int
    sha256: str


class RowFigures(msgspec.Struct, frozen=True):
    """Rows of a table in a few numbers; `pipeline.row_digests` makes and reads them."""

    count: int
    sha256: str
    """Over all of them."""
    sums: tuple[int, ...]
    """By which one row that was changed can be found."""


class LadderStep(msgspec.Struct, frozen=True):
    """One step of the sampling ladder (S15); ``before`` and ``after`` as "every n-th tick"."""

    at: str
    elapsed_s: float
    before: int
    after: int
    why: str
    """What was at or above its limit, with the figures."""
    held_s: float
    """For how long."""
    cpu_pressure: float
    queue_percent: float
    lag_ms: float


class OverloadFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The load of a live session, as it was watched, and what was done about it (S15); None: not watched."""

    source: str
    """Of the pressure: PSI, or UNAVAILABLE where the load average ÷ cores stood in for it."""
    sample: bool
    pressure_limit: float | None
    queue_limit: float | None
    lag_limit_ms: float | None
    step_up_s: float
    readings: int
    most_pressure: float
    mean_pressure: float
    most_queue: float
    most_lag_ms: float
    above_s: float
    """How long something was at or above its limit, in all …"""
    longest_above_s: float
    """… and at a stretch."""
    spared_s: float
    """How much of that the feed was too slow to be sampled."""
    stepped: int
    steps: tuple[LadderStep, ...]
    seconds_at: dict[str, float]
    """By "every n-th tick"."""
    sampled_out: dict[str, int]
    """Ticks, by the same."""
    stopped: bool
    """Whether the load stayed at the top for too long: OVERLOAD."""


class MetricsFigures(msgspec.Struct, frozen=True):
    """How often the running session's metrics were asked for."""

    port: int
    """The port that was asked for; 0: any."""
    scrapes: int = 0
    failed: int = 0
    """Scrapes that were answered with an error."""
    error: str = ""
    """Why they were not served; empty where they were."""


class LiveFigures(msgspec.Struct, frozen=True):
    """What was sent to a venue, and what came back (mode LIVE)."""

    account: str
    max_notional_usd: Decimal
    """As armed."""
    bundles: tuple[str, ...]
    """Digests of the proof that it was armed on."""
    adapter: str
    submitted: int
    """Orders handed to the adapter."""
    refused: int
    """Orders that the second judge, or the kill switch, kept back."""
    cancels: int
    reports: int
    exposure_usd: Decimal
    """Σ |position| at the last prices, with what is pending, at the end."""
    open_orders: dict[str, str]
    """Orders that may still be open at the venue: id -> last known status."""


class InstrumentGap(msgspec.Struct, frozen=True):
    """What two sessions, one after the other, did not see of an instrument that both saw."""

    venue: str
    symbol: str
    last_at: str
    """Receipt of the last tick before."""
    first_at: str
    seconds: float
    last_id: str | None
    """The venue's trade id of that tick."""
    first_id: str | None
    missing: int | None
    """Trades between them; None where the venue's ids do not say."""


class SessionGap(msgspec.Struct, frozen=True):
    """What lies between a session and the one before it on the same kind of live feed (S3)."""

    session_id: str
    state: str
    exit_reason: str | None
    ended_at: str
    seconds: float
    """From its end to this session's start."""
    instruments: tuple[InstrumentGap, ...]


class SessionEvidence(Evidence, frozen=True, kw_only=True):
    """The session itself."""

    mode: str
    strategy: dict[str, Any]
    feed: dict[str, Any]
    inputs: tuple[dict[str, Any], ...]
    """The files that were replayed: name, bytes, SHA-256."""
    sources: tuple[dict[str, Any], ...] = ()
    """What became of each live source: connects, why connections ended, gaps, lag."""
    began: bool = True
    """False: an error kept it from beginning; every count is 0, and there is no row of it but its own."""
    error: str | msgspec.UnsetType = msgspec.UNSET
    """Class of the error that kept the session from beginning, such as ``LeaseHeld``; absent otherwise."""
    state: str
    exit_reason: str
    failure: str | None
    clean: bool
    """The session drained, flushed, and said so: no thread was left behind."""
    isolation: IsolationEvidence
    counters: dict[str, Any]
    channels: tuple[ChannelFigures, ...]
    ledger: LedgerFigures
    heartbeats: HeartbeatFigures
    signals: SignalFigures
    crashed: tuple[str, ...]
    """Earlier sessions that were found RUNNING without a process, now marked CRASHED."""
    vetoes: dict[str, int]
    rejected: dict[str, int]
    pragmas: dict[str, Any]
    """As the session's own writer and reader read them back."""
    pipeline_s: float
    """From `channels created` to `FINAL METRICS`."""
    ticks_per_second: float
    rows_per_second: float
    lag_ms: dict[str, float]
    """p50, p99 of receipt minus event time."""
    latency_us: dict[str, float]
    """p50, p99 of receipt to order put on the channel; live feeds only."""
    first_event: str | None
    last_event: str | None
    strategy_sha256: str | None = None
    """Of the strategy's code, after it was run."""
    account: AccountSnapshot | None = None
    """Of the running engine at its end, from fills alone (I4); None where it did not get there."""
    ticks: RowFigures | None = None
    """The ticks that were written, but for their trade ids."""
    journal: RowFigures | None = None
    """The rows of ``inputs`` that were written."""
    since_last: SessionGap | None = None
    """None: the first session of its kind in the database, or a replay."""
    overload: OverloadFigures | None = None
    """None: nothing to throttle."""
    metrics: MetricsFigures | None = None
    """None where no port was set."""
    live: LiveFigures | None = None
    """None in SHADOW and PAPER."""
    left_out: tuple[str, ...] = ()
    """What earlier sessions had reported as committed and a restore left out, on purpose."""

    @property
    def orders(self) -> int:
        """Orders that were placed, whatever the mode."""
        return int(self.counters.get("live_orders", self.counters["shadow_orders"]))


class ProofVerdict(StrEnum):
    """How a row of the matrix stands after one session."""

    PASS = "PASS"  # noqa: S105
    FAIL = "FAIL"
    NOT_RUN = "NOT_RUN"


class Proof(msgspec.Struct, frozen=True):
    """One row of the verification matrix: what this session itself proved, with the figure."""

    id: str
    claim: str
    expected: str
    actual: str
    verdict: ProofVerdict


class PostflightEvidence(Evidence, frozen=True, kw_only=True):
    """The host after, and the judgement over all of it."""

    system: SystemState
    healthcheck: HealthcheckRecord
    pressure: PressureGate
    after: DatabaseReport
    counted: dict[str, int]
    """Rows of this session by table, counted in the database now."""
    proofs: tuple[Proof, ...]
    log_lines: tuple[str, ...]
    """The session's fixed log lines, from its log file."""


class SessionFiles(NamedTuple):
    """All that a session left, each piece None where the run did not get so far."""

    preflight: PreflightEvidence | None
    pragma: PragmaGateEvidence | None
    session: SessionEvidence | None
    postflight: PostflightEvidence | None
    refusal: Evidence | None = None
    """Of a step that could not begin."""


def parse_session_files(read: Callable[[str], bytes | None]) -> SessionFiles:
    """Return a session's records; ``read`` gives a file's content by name, None where there is none.

    Raises EvidenceError for a file that is not the record it should be.
    """

    def record(kind: str, of_type: type[EvidenceT]) -> EvidenceT | None:
        content = read(f"{kind}.json")
        return None if content is None else parse_json(content, f"{kind}.json", of_type)

    return SessionFiles(
        record(PREFLIGHT, PreflightEvidence),
        record(PRAGMA, PragmaGateEvidence),
        record(SESSION, SessionEvidence),
        record(POSTFLIGHT, PostflightEvidence),
        record(REFUSAL, Evidence),
    )
