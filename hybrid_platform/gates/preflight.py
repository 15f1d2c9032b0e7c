"""Preflight: the gate before a session, on host, settings and LIVE conditions (G1, G2, S14).

in: a run's context · out: `PreflightEvidence`, PASS or FAIL with reasons and exit code. Invalid settings raise
ConfigError before anything is written.
"""

from __future__ import annotations

import threading

from hybrid_platform.domain.clocks import Clock
from hybrid_platform.domain.errors import ConfigError, ExitCode, Fault
from hybrid_platform.domain.records import Verdict
from hybrid_platform.evidence.code_digest import strategy_sha256
from hybrid_platform.evidence.records import (
    PREFLIGHT,
    PreflightEvidence,
)
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.gates.conclusion import conclude
from hybrid_platform.gates.host_checks import check_host, host_failures
from hybrid_platform.host.system import read_system_state
from hybrid_platform.live.gate import live_conditions
from hybrid_platform.live.inputs import build_live_request
from hybrid_platform.log.events import LogEvent
from hybrid_platform.log.session_log import SessionLog
from hybrid_platform.observability.notifications.delivery import find_receivers
from hybrid_platform.security.paths import DataDir
from hybrid_platform.session.feeds import build_session_feed, list_input_files, new_instrument_table
from hybrid_platform.session.strategy_host.process import check_reach, check_strategy, private_paths
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.strategies.loader import build_strategy, is_built_in


def check_settings(settings: SessionSettings, database_url: str, clock: Clock, data_dir: DataDir) -> None:
    """Raise ConfigError if the strategy, feed, files or receivers in the settings do not exist; write nothing."""
    log = SessionLog("", clock)
    if settings.require_isolation and settings.isolation != "process":
        raise ConfigError([Fault("require_isolation", "isolation: process", f"isolation: {settings.isolation}")])
    if settings.isolation == "process":
        check_reach(settings, private_paths(settings, data_dir, database_url))
    if settings.isolation == "thread" or is_built_in(settings.strategy.name):
        build_strategy(settings.strategy)
    else:
        check_strategy(settings)
    find_receivers(settings.notify)
    feed = build_session_feed(settings, new_instrument_table(settings), clock, log, database_url, store=data_dir)
    feed.open()
    feed.close()


def preflight(context: RunContext, stop: threading.Event | None = None) -> PreflightEvidence:
    """Judge whether a session may begin: host healthy, CPU pressure below the limit, LIVE locked."""
    started = context.clock.wall_ns()
    context.log.info(
        LogEvent.PREFLIGHT_STARTED, mode=context.settings.mode, config_sha256=context.settings.config_sha256
    )
    health, pressure = check_host(context, allow_missing_database=True, stop=stop or threading.Event())
    conditions = live_conditions(build_live_request(context, pressure))
    unmet = [condition for condition in conditions if not condition.met]
    # Refusals of LIVE come first, because waiting does not fix them and a supervisor must not retry for CONFIG.
    failed = [(f"LIVE refused: {condition.detail}", ExitCode.CONFIG) for condition in unmet]
    failed += host_failures(health, pressure)
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
    return conclude(context, evidence)
