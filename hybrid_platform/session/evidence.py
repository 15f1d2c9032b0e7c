"""The evidence of a session, ``session.json``: one builder for sessions that ran and that failed to start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from hybrid_platform.domain.clocks import NS_PER_MS, NS_PER_S, iso_utc
from hybrid_platform.domain.errors import ExitCode
from hybrid_platform.domain.isolation import IsolationEvidence
from hybrid_platform.domain.records import Verdict
from hybrid_platform.domain.statistics import quantile
from hybrid_platform.evidence.code_digest import strategy_sha256
from hybrid_platform.evidence.records import (
    SESSION,
    ChannelFigures,
    HeartbeatFigures,
    LedgerFigures,
    LedgerLine,
    MetricsFigures,
    PreflightEvidence,
    SessionEvidence,
    SessionGap,
    SignalFigures,
)
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.feeds.base import Feed, ReportsSources
from hybrid_platform.maintenance.lost_rows import LostRows
from hybrid_platform.observability.session_view import ChannelStats
from hybrid_platform.session.ledger import Ledger
from hybrid_platform.session.pipeline import Pipeline
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.session_records import CrashedSession
from hybrid_platform.storage.writer import SessionWriter


@dataclass(frozen=True, slots=True)
class RunHeader:
    """The facts about a session that are known before it starts."""

    context: RunContext
    preflight: PreflightEvidence
    started_ns: int


@dataclass(frozen=True, slots=True)
class EndedSession:
    """A drained session whose rows are counted."""

    pipeline: Pipeline
    writer: SessionWriter
    feed: Feed
    ledger: Ledger
    isolation: IsolationEvidence
    crashed: tuple[CrashedSession, ...]
    """Earlier sessions that were found crashed at the start."""
    lost: LostRows
    since_last: SessionGap | None
    metrics: MetricsFigures | None


def build_evidence(header: RunHeader, **found: Any) -> SessionEvidence:
    """Return the evidence of a session: what follows from its settings, and ``found``; the rest has defaults."""
    settings = header.context.settings
    return SessionEvidence(
        **header.context.evidence_header(SESSION, header.started_ns),
        mode=settings.mode.value,
        strategy=settings.strategy.model_dump(mode="json"),
        feed=describe_feed(settings),
        inputs=header.preflight.inputs,
        **found,
    )


def build_ended_evidence(header: RunHeader, ended: EndedSession) -> SessionEvidence:
    """Return the evidence of a session that ran, with its verdict."""
    pipeline, ledger, isolation = ended.pipeline, ended.ledger, ended.isolation
    heartbeats = _heartbeat_figures(header, pipeline)
    reasons = _find_reasons(ended, heartbeats)
    failure, feed, digest = pipeline.failure, pipeline.counters.feed, pipeline.digest
    is_broken = not ledger.balances or isolation.denied_attempts
    exit_code = failure.exit_code if failure else ExitCode.CRASH if is_broken else ExitCode.COMPLETE
    seconds = pipeline.elapsed_ns / NS_PER_S
    ticks, journal = pipeline.written
    return build_evidence(
        header,
        verdict=Verdict.FAIL if reasons else Verdict.PASS,
        reasons=tuple(reasons),
        exit_code=int(exit_code),
        sources=_source_figures(ended.feed),
        state="COMPLETE" if exit_code is ExitCode.COMPLETE else "FAILED",
        exit_reason=pipeline.exit_reason,
        failure=str(failure) if failure else None,
        clean=pipeline.is_clean,
        isolation=isolation,
        counters=pipeline.metrics(),
        channels=tuple(build_channel_figures(stats) for stats in pipeline.channel_stats()),
        ledger=LedgerFigures(tuple(LedgerLine(*row) for row in ledger.rows), ledger.balances, ledger.faults),
        heartbeats=heartbeats,
        signals=SignalFigures(digest.count, digest.buy, digest.count - digest.buy, digest.sha256),
        crashed=tuple(session.session_id for session in ended.crashed),
        left_out=ended.lost.explained,
        vetoes=dict(pipeline.counters.decisions.veto_reasons),
        rejected=dict(feed.causes),
        pragmas=dict(ended.writer.pragmas),
        pipeline_s=round(seconds, 6),
        ticks_per_second=round(feed.accepted / seconds, 1),
        rows_per_second=round(sum(ended.writer.written.values()) / seconds, 1),
        lag_ms=_quantiles([lag / NS_PER_MS for lag in feed.lag_ns]),
        latency_us=_quantiles([latency / 1000 for latency in pipeline.counters.decisions.decision_ns]),
        first_event=None if feed.first_event is None else iso_utc(feed.first_event),
        last_event=None if feed.last_event is None else iso_utc(feed.last_event),
        strategy_sha256=strategy_sha256(header.context.settings.strategy.name),
        account=pipeline.host.account(),
        ticks=ticks,
        journal=journal,
        live=pipeline.live_stage.figures() if pipeline.live_stage else None,
        since_last=ended.since_last,
        overload=pipeline.overload_figures(),
        metrics=ended.metrics,
    )


def fail_evidence(evidence: SessionEvidence, reason: str) -> SessionEvidence:
    """Return the evidence with one more reason to fail."""
    return msgspec.structs.replace(
        evidence,
        verdict=Verdict.FAIL,
        reasons=(*evidence.reasons, reason),
        state="FAILED",
        exit_code=evidence.exit_code or int(ExitCode.CRASH),
    )


def describe_feed(settings: SessionSettings) -> dict[str, Any]:
    """Return the feed as the settings state it."""
    kind = settings.feed.kind
    return {kind: getattr(settings.feed, kind).model_dump(mode="json", exclude_none=True)}


def build_channel_figures(stats: ChannelStats) -> ChannelFigures:
    """Return the statistics of a channel as evidence."""
    return ChannelFigures(**stats._asdict())


def _heartbeat_figures(header: RunHeader, pipeline: Pipeline) -> HeartbeatFigures:
    context, heartbeats = header.context, pipeline.heartbeats
    return HeartbeatFigures(
        heartbeats.count,
        heartbeats.late,
        heartbeats.missing(context.clock.monotonic_ns()),
        heartbeats.longest_late_ms,
        context.settings.heartbeat.interval_seconds,
    )


def _find_reasons(ended: EndedSession, heartbeats: HeartbeatFigures) -> list[str]:
    """Return why the session does not pass."""
    pipeline = ended.pipeline
    reasons = [str(pipeline.failure)] if pipeline.failure else []
    reasons += [f"ledger: {fault}" for fault in ended.ledger.faults]
    reasons += ended.isolation.violations
    reasons += [f"lost before this session: {fault}" for fault in ended.lost.unexplained]
    if pipeline.live_stage is not None and (still_open := pipeline.live_stage.figures().open_orders):
        reasons.append(f"LIVE: expected no order open at the venue at the end, got {', '.join(still_open)}")
    if heartbeats.late or heartbeats.missing:
        found = f"{heartbeats.late} late, {heartbeats.missing} missing"
        reasons.append(f"heartbeats: expected none late and none missing, got {found} (G4)")
    return reasons


def _source_figures(feed: Feed) -> tuple[dict[str, Any], ...]:
    return tuple(msgspec.to_builtins(source) for source in feed.stats()) if isinstance(feed, ReportsSources) else ()


def _quantiles(values: list[float]) -> dict[str, float]:
    """Return p50, p99 and max, or an empty dict without values."""
    if not values:
        return {}
    ordered = sorted(values)
    return {name: round(quantile(ordered, share), 3) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}
