"""Metadata of the session's assets: numbers under stable names for plots, tables to read, paths of files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import dagster as dg

from hybrid_platform.defs.shared.tables import build_table_key, build_table_metadata
from hybrid_platform.domain.records import DatabaseReport, HealthcheckRecord, PressureGate
from hybrid_platform.domain.text import plural
from hybrid_platform.evidence.bundle import SealedBundle
from hybrid_platform.evidence.records import (
    Evidence,
    PostflightEvidence,
    PragmaGateEvidence,
    PreflightEvidence,
    SessionEvidence,
    evidence_name,
)
from hybrid_platform.report import model
from hybrid_platform.report.attachments import PAGE, REPORT
from hybrid_platform.report.blocks import Table
from hybrid_platform.report.measures.records import Measures
from hybrid_platform.security.paths import DataDir

Metadata = dict[str, Any]


class StoredEvidence(Protocol):
    """A session whose evidence is below a data directory, such as a run's context."""

    @property
    def data_dir(self) -> DataDir: ...  # noqa: D102
    @property
    def session_id(self) -> str: ...  # noqa: D102
    @property
    def database_url(self) -> str: ...  # noqa: D102


def build_preflight_metadata(session: StoredEvidence, evidence: PreflightEvidence) -> Metadata:
    """Return the host before the session, and the settings."""
    return {
        **_build_common(session, evidence),
        **_build_host(evidence.healthcheck, evidence.pressure),
        "settings": dg.MetadataValue.json(evidence.settings),
    }


def build_pragma_metadata(session: StoredEvidence, evidence: PragmaGateEvidence) -> Metadata:
    """Return the PRAGMAs as read back from each connection."""
    shown: Metadata = {
        **_build_common(session, evidence),
        "database": evidence.database,
        **_build_database("before", evidence.before),
    }
    if evidence.pragmas is not None:
        shown["pragmas"] = _convert_table(model.pragma_table(evidence.pragmas.readings))
    return shown


def build_session_metadata(session: StoredEvidence, evidence: SessionEvidence) -> Metadata:
    """Return the session's figures."""
    counters = evidence.counters
    return {
        **_build_common(session, evidence),
        "state": evidence.state,
        "exit_reason": evidence.exit_reason,
        "ticks": counters["tick_count"],
        "signals": counters["signal_count"],
        "shadow_orders": counters["shadow_orders"],
        **({"live_orders": evidence.orders} if evidence.live else {}),
        "trades": counters["trade_count"],
        "vetoes": counters["risk_vetoes"],
        "persist_errors": counters["persist_errors"],
        "rejected_rows": counters["rejected"],
        "dropped": sum(channel.dropped for channel in evidence.channels),
        "ticks_per_second": evidence.ticks_per_second,
        "pipeline_seconds": evidence.pipeline_s,
        "heartbeats": evidence.heartbeats.sent,
        "heartbeats_late": evidence.heartbeats.late,
        **_build_load(evidence),
        "signals_digest": evidence.signals.sha256,
        "channels": _convert_table(model.channel_table(evidence)),
        "ledger": _convert_table(model.ledger_table(evidence)),
        "log": dg.MetadataValue.path(str(session.data_dir.root / "logs" / f"{session.session_id}.jsonl")),
    }


def _build_load(evidence: SessionEvidence) -> Metadata:
    """Return the CPU pressure during the session, and the ticks that overload protection sampled out (S15)."""
    load = evidence.overload
    if load is None:
        return {}
    return {
        "cpu_pressure_mean": load.mean_pressure,
        "cpu_pressure_most": load.max_pressure,
        "sampling_steps": load.stepped,
        "sampled_out": sum(load.sampled_out.values()),
    }


def build_postflight_metadata(
    session: StoredEvidence, evidence: PostflightEvidence, bundle: SealedBundle, measures: Measures | None
) -> Metadata:
    """Return the verdict, the report itself, and the signed bundle."""
    folder = session.data_dir.root / "evidence" / session.session_id
    return {
        **_build_common(session, evidence),
        "gates": _convert_table(model.proof_table(model.select_gates(evidence.proofs))),
        # Paths, not links: a browser does not open a file: link from a page that came over http.
        "report_page": dg.MetadataValue.path(str(folder / PAGE)),
        "report": dg.MetadataValue.md(session.data_dir.read_bytes(f"evidence/{session.session_id}/{REPORT}").decode()),
        "report_file": dg.MetadataValue.path(str(folder / REPORT)),
        **_build_host(evidence.healthcheck, evidence.pressure),
        **_build_database("after", evidence.after),
        "proofs": _convert_table(model.proof_table(evidence.proofs)),
        "proofs_passed": sum(proof.verdict.value == "PASS" for proof in evidence.proofs),
        "bundle": dg.MetadataValue.path(str(bundle.path)),
        "bundle_sha256": bundle.sha256,
        "bundle_key": bundle.keyid,
        "chain_head": f"{bundle.chain.entries} events, {bundle.chain.head}",
        **_build_trading(measures),
    }


def _build_trading(found: Measures | None) -> Metadata:
    """Return the trading results as numbers that the UI plots from run to run."""
    if found is None:
        return {}
    drawdown, trips, cost = found.risk.drawdown, found.round_trips, found.cost
    numbers = {
        "pnl_usd": float(found.result.pnl),
        "fees_usd": float(found.result.fees),
        "max_drawdown_percent": drawdown.percent if drawdown else None,
        "sharpe": found.risk.sharpe,
        "win_rate": trips.win_rate,
        "slippage_bps": cost.slippage_bps,
        "shortfall_bps": cost.shortfall_bps,
    }
    return {name: value for name, value in numbers.items() if value is not None}


def _build_common(session: StoredEvidence, evidence: Evidence) -> Metadata:
    path = session.data_dir.root / evidence_name(evidence.session_id, evidence.kind)
    return {
        "verdict": evidence.verdict.value,
        "reasons": "; ".join(evidence.reasons) or "none",
        "session_id": evidence.session_id,
        "exit_code": evidence.exit_code,
        "evidence": dg.MetadataValue.path(str(path)),
    }


def _build_host(health: HealthcheckRecord, pressure: PressureGate) -> Metadata:
    return {
        "cpu_pressure_first": pressure.first.percent,
        "cpu_pressure": pressure.last.percent,
        "cpu_pressure_limit": pressure.limit,
        "pressure_waited_seconds": pressure.waited_s,
        "healthcheck": _convert_table(model.health_table({"found": health})),
    }


def _build_database(when: str, report: DatabaseReport) -> Metadata:
    return {f"database_ticks_{when}": report.ticks or 0, f"database_{when}": "exists" if report.exists else "new"}


def _convert_table(table: Table) -> dg.TableMetadataValue:
    return build_table(table.heads, table.rows)


def build_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> dg.TableMetadataValue:
    """Return a table for the UI; a value that is neither a number nor text is shown as text."""
    records = [dict(zip(heads, map(_to_cell, row), strict=True)) for row in rows]
    columns = [dg.TableColumn(head, type=_name_type(records, head)) for head in heads]
    return dg.MetadataValue.table([dg.TableRecord(record) for record in records], dg.TableSchema(columns))


def _to_cell(value: object) -> str | int | float | bool:
    if value is None:
        return ""
    # Dagster cannot serialize subclasses such as members of a StrEnum.
    return value if type(value) in {str, int, float, bool} else str(value)  # type: ignore[return-value]


def _name_type(records: Sequence[Mapping[str, object]], head: str) -> str:
    types = {type(record[head]) for record in records}
    return "int" if types == {int} else "float" if types and types <= {int, float} else "string"


def build_data_version(session: StoredEvidence, evidence: Evidence) -> dg.DataVersion:
    """Return the digest of a piece of evidence as it was written."""
    content = session.data_dir.read_bytes(evidence_name(evidence.session_id, evidence.kind))
    return dg.DataVersion(hashlib.sha256(content).hexdigest())


def build_table_materializations(session: StoredEvidence, evidence: SessionEvidence) -> list[dg.AssetMaterialization]:
    """Return one materialization for each table of the database that the session added rows to."""
    if not evidence.began:
        return []
    rows = {row.name: row.count for row in evidence.ledger.rows if (row.kind, row.reason) == ("table", "counted")}
    rows |= {"sessions": 1, "ledger": len(evidence.ledger.rows)}
    return [
        dg.AssetMaterialization(
            build_table_key(name),
            description=f"{plural(count, 'row')} of session {session.session_id}",
            metadata={
                "dagster/row_count": count,
                "session_id": session.session_id,
                "database": session.database_url,
                **build_table_metadata(name),
            },
        )
        for name, count in rows.items()
        if count
    ]
