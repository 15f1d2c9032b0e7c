"""The gates before a session: the host and the settings, then the database (G1, G2, G3, S1, S14).

in: a run's context · out: evidence, PASS or FAIL with reasons and exit code; a refusal leaves a
``sessions`` row with state REFUSED wherever the database can be opened.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from hybrid_platform.domain.clocks import Clock
from hybrid_platform.domain.errors import ConfigError, ExitCode, Fault, GateRefused, PlatformError
from hybrid_platform.domain.records import CpuPressure, HealthcheckRecord, PressureGate, Verdict
from hybrid_platform.evidence.code_digest import strategy_sha256
from hybrid_platform.evidence.records import (
    PRAGMA,
    PREFLIGHT,
    REFUSAL,
    Evidence,
    EvidenceT,
    PragmaGateEvidence,
    PreflightEvidence,
)
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.host.flight_recorder import take_snapshot
from hybrid_platform.host.pressure import read_pressure, wait_for_pressure
from hybrid_platform.host.system import read_system_state
from hybrid_platform.live.gate import Release, live_conditions, release
from hybrid_platform.live.inputs import LiveRequest
from hybrid_platform.log.events import GATE_PASSED, LogEvent
from hybrid_platform.log.session_log import SessionLog
from hybrid_platform.observability.health import health_of
from hybrid_platform.observability.notifications.notifier import receivers_of
from hybrid_platform.security.paths import DataDir
from hybrid_platform.session.commands import CommandFile
from hybrid_platform.session.feeds import build_session_feed, list_input_files, new_instrument_table
from hybrid_platform.session.strategy_host.process import check_reach, check_strategy, private_paths
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import redact_url
from hybrid_platform.storage.migrate import migrate
from hybrid_platform.storage.pragmas import verify_pragmas
from hybrid_platform.storage.probe import probe_database
from hybrid_platform.storage.sessions import SessionStore
from hybrid_platform.strategies.loader import build_strategy, is_built_in


def check_settings(settings: SessionSettings, database_url: str, clock: Clock, data_dir: DataDir) -> None:
    """Raise ConfigError for whatever the settings name that is not there; write nothing."""
    log = SessionLog("", clock)
    if settings.require_isolation and settings.isolation != "process":
        raise ConfigError([Fault("require_isolation", "isolation: process", f"isolation: {settings.isolation}")])
    if settings.isolation == "process":
        check_reach(settings, private_paths(settings, data_dir, database_url))
    if settings.isolation == "thread" or is_built_in(settings.strategy.name):
        build_strategy(settings.strategy)
    else:
        check_strategy(settings)
    receivers_of(settings.notify)
    feed = build_session_feed(settings, new_instrument_table(settings), clock, log, database_url, store=data_dir)
    feed.open()
    feed.close()


def host_checks(
    context: RunContext, *, allow_missing_database: bool, stop: threading.Event
) -> tuple[HealthcheckRecord, PressureGate]:
    """Run healthcheck and pressure gate, print their lines, and append a flight recorder snapshot."""
    gates = context.settings.gates
    pressure = wait_for_pressure(
        gates.cpu_pressure_limit,
        gates.pressure_wait_seconds,
        lambda: read_pressure(context.clock),
        context.clock,
        stop,
        _say_waiting(context, gates.cpu_pressure_limit),
    )
    health = health_of(context, allow_missing_database=allow_missing_database)
    take_snapshot(context.data_dir, context.clock, pressure.last, health)
    context.log.info(
        LogEvent.HOST_CHECKED,
        healthcheck=health.verdict,
        cpu_pressure=pressure.last.percent,
        limit=pressure.limit,
        waited_s=round(pressure.waited_s, 1),
    )
    return health, pressure


def host_reasons(health: HealthcheckRecord, pressure: PressureGate) -> list[tuple[str, ExitCode]]:
    """Return why the host does not pass, each with what a supervisor should make of it."""
    reasons = []
    if health.verdict.blocks:
        reasons.append((f"healthcheck: {health.why}", ExitCode.CRASH))
    if pressure.verdict.blocks:
        reasons.append((f"CPU pressure: {pressure.why}", ExitCode.OVERLOAD))
    return reasons


def _say_waiting(context: RunContext, limit: float) -> Callable[[CpuPressure, float], None]:
    def say(reading: CpuPressure, left_s: float) -> None:
        context.log.info(
            "waiting for CPU pressure to fall", cpu_pressure=reading.percent, limit=limit, seconds_left=round(left_s)
        )

    return say


def preflight(context: RunContext, stop: threading.Event | None = None) -> PreflightEvidence:
    """Judge whether a session may begin: host healthy, pressure below the limit, LIVE locked."""
    started = context.clock.wall_ns()
    context.log.info(
        LogEvent.PREFLIGHT_STARTED, mode=context.settings.mode, config_sha256=context.settings.config_sha256
    )
    health, pressure = host_checks(context, allow_missing_database=True, stop=stop or threading.Event())
    conditions = live_conditions(_live_request(context, pressure))
    unmet = [condition for condition in conditions if not condition.met]
    # What will never heal by waiting comes first: its exit code must not make a supervisor try again.
    failed = [(f"LIVE refused: {condition.detail}", ExitCode.CONFIG) for condition in unmet]
    failed += host_reasons(health, pressure)
    evidence = PreflightEvidence(
        **context.evidence_header(PREFLIGHT, started),
        verdict=Verdict.FAIL if failed else Verdict.PASS,
        reasons=tuple(reason for reason, _ in failed),
        exit_code=int(failed[0][1]) if failed else 0,
        settings=context.settings.model_dump(mode="json"),
        system=read_system_state(context.clock, context.data_dir.root),
        healthcheck=health,
        pressure=pressure,
        live_gate=conditions,
        inputs=list_input_files(context.settings),
        strategy_sha256=strategy_sha256(context.settings.strategy.name),
    )
    return _concluded(context, evidence)


def _live_request(context: RunContext, pressure: PressureGate) -> LiveRequest:
    """Return this run's request to trade live, and how things stand."""
    standing = CommandFile(context.data_dir, context.clock).standing()
    return LiveRequest(
        context.settings,
        context.data_dir,
        context.code,
        context.clock.wall_ns(),
        pressure,
        None if standing is None else f"{standing.kind} by {standing.who}: {standing.why}",
    )


def open_gate(context: RunContext, pressure: PressureGate) -> Release:
    """Judge every condition of LIVE once more, use the arming token up, and return what the gate gives out.

    ``pressure``: as preflight found it. Raises GateRefused.
    """
    return release(_live_request(context, pressure))


def verify_database(context: RunContext) -> PragmaGateEvidence:
    """Migrate, apply the PRAGMAs, read them back, and prove that a reader reads while the writer writes."""
    context.require_passed(PREFLIGHT, PreflightEvidence)
    started = context.clock.wall_ns()
    before = probe_database(context.database_url)
    busy_timeout_ms = context.settings.storage.busy_timeout_ms
    found: dict[str, Any] = {"pragmas": None, "migrations": ()}
    reasons: list[str] = []
    exit_code = ExitCode.COMPLETE
    try:
        engine = open_engine(context.database_url, role="write", busy_timeout_ms=busy_timeout_ms)
        try:
            found["migrations"] = tuple(migrate(engine))
        finally:
            engine.dispose()
        found["pragmas"] = evidence = verify_pragmas(context.database_url, busy_timeout_ms=busy_timeout_ms)
        writing = {reading.name: reading.was for reading in evidence.readings if reading.connection == "write"}
        context.log.info(LogEvent.PRAGMAS_READ_BACK, **writing)
        reasons += evidence.faults
        exit_code = ExitCode.CONFIG if reasons else exit_code
    except PlatformError as error:
        reasons.append(str(error))
        exit_code = error.exit_code
    if not reasons:
        context.log.info(LogEvent.PRAGMAS_VERIFIED)
    return _concluded(
        context,
        PragmaGateEvidence(
            **context.evidence_header(PRAGMA, started),
            verdict=Verdict.FAIL if reasons else Verdict.PASS,
            reasons=tuple(reasons),
            exit_code=int(exit_code),
            database=redact_url(context.database_url),
            before=before,
            **found,
        ),
    )


def refuse(context: RunContext, refused: GateRefused) -> None:
    """Leave evidence, and a REFUSED row, of a step that could not begin (SPEC 3)."""
    reason, exit_code = str(refused), int(refused.exit_code)
    common = context.evidence_header(REFUSAL, context.clock.wall_ns())
    _concluded(context, Evidence(**common, verdict=Verdict.FAIL, reasons=(reason,), exit_code=exit_code))


def _concluded(context: RunContext, evidence: EvidenceT) -> EvidenceT:
    """Write a gate's evidence; where it did not pass, log why and leave a REFUSED row."""
    context.write(evidence)
    if evidence.verdict is Verdict.PASS:
        context.log.info(GATE_PASSED[evidence.kind])
        return evidence
    for reason in evidence.reasons:
        context.log.error(f"{evidence.kind} FAIL", reason=reason, exit_code=evidence.exit_code)
    _leave_row(context, evidence)
    return evidence


def _leave_row(context: RunContext, evidence: Evidence) -> None:
    try:
        engine = open_engine(context.database_url, role="write")
        try:
            migrate(engine)
            SessionStore(engine).refuse(context.session_start(), ExitCode(evidence.exit_code), evidence.reasons[0])
        finally:
            engine.dispose()
    except PlatformError as error:
        context.log.warning("the refusal could not be written to the database", error=str(error))
