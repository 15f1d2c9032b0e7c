"""Asset checks of the session's four assets: their specifications and their results.

The gates' checks block the assets downstream. The checks of `shadow_run` do not, so that postflight always runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import dagster as dg

from hybrid_platform.defs.shared.names import POSTFLIGHT, PRAGMA, PREFLIGHT, SHADOW
from hybrid_platform.domain.records import Verdict
from hybrid_platform.evidence.records import Evidence, SessionEvidence

HOST_READY = dg.AssetCheckSpec(
    "host_ready", asset=PREFLIGHT, blocking=True, description="Healthcheck, CPU pressure, LIVE gate."
)
PRAGMAS_APPLIED = dg.AssetCheckSpec(
    "pragmas_applied", asset=PRAGMA, blocking=True, description="Read back on writing and reading connections."
)
VERDICT = dg.AssetCheckSpec(
    "verdict", asset=POSTFLIGHT, blocking=True, description="Every gate passed, and every figure is proved."
)
SHADOW_CHECKS = {
    "session_complete": "The session drained and ended COMPLETE, exit code 0.",
    "ledger_balances": "Every event of every channel, and every row of every table, is accounted for.",
    "heartbeats_on_time": "No heartbeat late, none missing (G4).",
    "nothing_lost": "No persist error, and nothing dropped on any channel.",
}


class _Outcome(NamedTuple):
    passed: bool
    description: str


def build_verdict_check(evidence: Evidence, spec: dg.AssetCheckSpec) -> dg.AssetCheckResult:
    """Return the check of a step that passes if its evidence does, with the reasons as its description."""
    return dg.AssetCheckResult(
        check_name=spec.name,
        passed=evidence.verdict is Verdict.PASS,
        description="; ".join(evidence.reasons) or "PASS",
        metadata={"exit_code": evidence.exit_code},
    )


def build_session_checks(evidence: SessionEvidence) -> Iterator[dg.AssetCheckResult]:
    """Yield the four checks of a session; all fail if it did not start."""
    for name, outcome in _session_outcomes(evidence).items():
        yield dg.AssetCheckResult(
            asset_key=dg.AssetKey(SHADOW), check_name=name, passed=outcome.passed, description=outcome.description
        )


def _session_outcomes(evidence: SessionEvidence) -> dict[str, _Outcome]:
    if not evidence.began:
        return dict.fromkeys(SHADOW_CHECKS, _Outcome(False, f"the session did not begin: {evidence.failure}"))
    heartbeats, ledger = evidence.heartbeats, evidence.ledger
    drops = sum(channel.dropped for channel in evidence.channels)
    errors = evidence.counters["persist_errors"]
    return {
        "session_complete": _Outcome(
            evidence.exit_code == 0, f"{evidence.state}, exit code {evidence.exit_code}, {evidence.exit_reason}"
        ),
        "ledger_balances": _Outcome(ledger.balances, "; ".join(ledger.faults) or "balanced"),
        "heartbeats_on_time": _Outcome(
            not heartbeats.late and not heartbeats.missing, f"{heartbeats.late} late, {heartbeats.missing} missing"
        ),
        "nothing_lost": _Outcome(not drops and not errors, f"{drops} dropped, {errors} persist errors"),
    }
