"""The platform's in-toto predicate, version 1: a summary of a session, built from its evidence files alone.

in: a session's records and the head of its chain · out: plain data. `verify` builds the predicate again from the
files and compares, so that the signature covers only statements that follow from the files.
"""

from __future__ import annotations

from typing import Any

import msgspec

from hybrid_platform.domain.contract import GATE_IDS
from hybrid_platform.domain.errors import EvidenceError
from hybrid_platform.evidence.chain import ChainEntry, ChainHead
from hybrid_platform.evidence.records import REFUSAL, Evidence, SessionEvidence, SessionFiles

PREDICATE_TYPE = "urn:hybrid-platform:session:v1"
STEPS = ("preflight", "pragma", "session", "postflight")

Data = dict[str, Any]


def build_predicate(files: SessionFiles, chain: ChainHead) -> Data:
    """Return the predicate; raise EvidenceError without records, or with records of several sessions or runs."""
    known = _check_same_run(files)
    session, postflight = files.session, files.postflight
    proofs = postflight.proofs if postflight else ()
    return {
        "session": {
            "session_id": known.session_id,
            "run_id": known.run_id,
            "mode": _settings(files).get("mode"),
            "state": session.state if session else None,
            "exit_code": session.exit_code if session else known.exit_code,
            "exit_reason": session.exit_reason if session else None,
            "clean": session.clean if session else None,
            "reasons": [reason for record in files if record for reason in record.reasons],
        },
        "steps": {kind: record.verdict.value for kind, record in zip((*STEPS, REFUSAL), files, strict=True) if record},
        "gates": {proof.id: proof.verdict.value for proof in proofs if proof.id in GATE_IDS},
        "host": _host(files),
        "code": msgspec.to_builtins(known.code),
        "config": {"config_sha256": known.config_sha256, "trading_sha256": known.trading_sha256},
        "strategy": {
            **_settings(files).get("strategy", {}),
            "sha256_before": files.preflight.strategy_sha256 if files.preflight else None,
            "sha256_after": session.strategy_sha256 if session else None,
        },
        "input": {
            "feed": session.feed if session else _settings(files).get("feed"),
            "files": list(files.preflight.inputs) if files.preflight else [],
        },
        "counts": _counts(session) if session else None,
        "isolation": _isolation(session) if session else None,
        "durability": _durability(files),
        "chain": {"entries": chain.entries, "head": chain.head},
        "times": {
            "first_event": _instant(chain.first),
            "last_event": _instant(chain.last),
            "boot_id": files.preflight.system.boot_id if files.preflight else None,
            "pipeline_s": session.pipeline_s if session else None,
        },
    }


def _check_same_run(files: SessionFiles) -> Evidence:
    """Return the last record, after checking that all records have the same session, run, settings and code."""
    records = [record for record in files if record is not None]
    if not records:
        raise EvidenceError("expected evidence files of a session, got none")
    for name in ("session_id", "run_id", "config_sha256", "trading_sha256", "code"):
        if len({getattr(record, name) for record in records}) > 1:
            raise EvidenceError(f"evidence files: expected one {name}, got several")
    for kind, record in zip((*STEPS, REFUSAL), files, strict=True):
        if record is not None and record.kind != kind:
            raise EvidenceError(f"{kind}.json: expected kind {kind}, got {record.kind[:40]!r}")
    return records[-1]


def _settings(files: SessionFiles) -> Data:
    return files.preflight.settings if files.preflight else {}


def _host(files: SessionFiles) -> Data:
    """Return healthcheck and CPU pressure before and after the session (G1, G2)."""
    return {
        when: {
            "healthcheck": record.healthcheck.verdict.value,
            "pressure": record.pressure.verdict.value,
            "pressure_limit": record.pressure.limit,
            "cpu_pressure": record.pressure.last.percent,
        }
        for when, record in (("before", files.preflight), ("after", files.postflight))
        if record is not None
    }


def _counts(session: SessionEvidence) -> Data:
    counters = session.counters
    return {
        "ticks": counters["tick_count"],
        "signals": session.signals.count,
        "signals_sha256": session.signals.sha256,
        "orders": session.orders,
        "trades": counters["trade_count"],
        "vetoes": session.vetoes,
        "rejected": session.rejected,
        "persist_errors": counters["persist_errors"],
        "dropped": {channel.name: channel.dropped for channel in session.channels},
        "heartbeats": {
            "beaten": session.heartbeats.sent,
            "late": session.heartbeats.late,
            "missing": session.heartbeats.missing,
        },
        "ledger_balances": session.ledger.balances,
    }


def _isolation(session: SessionEvidence) -> Data:
    """Return a summary of the isolation that was read back; ``session.json`` has all of it."""
    isolation = session.isolation
    return {
        "requested": isolation.requested,
        "enforced": isolation.enforced.value,
        "filter_sha256": isolation.filter_sha256,
        "denied_attempts": isolation.denied_attempts,
        "kernel_counts": isolation.kernel_counts,
        "threads": {
            when: len(reading.threads) if reading and reading.threads is not None else None
            for when, reading in (("start", isolation.start), ("end", isolation.end))
        },
        "sockets": {
            when: reading.sockets if reading else None
            for when, reading in (("start", isolation.start), ("end", isolation.end))
        },
        "selftests_held": [test.held if test else None for test in (isolation.selftest_start, isolation.selftest_end)],
        "ending": isolation.ending,
    }


def _durability(files: SessionFiles) -> Data:
    """Return the PRAGMAs as read back, and the numbers of rows written and counted."""
    pragmas = files.pragma.pragmas if files.pragma else None
    rows = files.session.ledger.rows if files.session else ()
    return {
        "sqlite_version": pragmas.sqlite_version if pragmas else None,
        "pragmas": pragmas.values if pragmas else None,
        "rows_written": {row.name: row.count for row in rows if (row.kind, row.reason) == ("table", "written")},
        "rows_counted": files.postflight.counted if files.postflight else None,
    }


def _instant(entry: ChainEntry | None) -> Data | None:
    """Return the times of a chained event; monotonic times are comparable within one boot only."""
    return None if entry is None else {"wall": entry.event.get("ts"), "monotonic_ns": entry.monotonic_ns}
