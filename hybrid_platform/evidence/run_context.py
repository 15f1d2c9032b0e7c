"""The context that all steps of a run share: settings, identity, data directory, clock, log and event chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hybrid_platform.domain.clocks import Clock, iso_utc
from hybrid_platform.domain.errors import ExitCode, GateRefused
from hybrid_platform.domain.records import CodeIdentity, Verdict
from hybrid_platform.evidence.chain import EventChain
from hybrid_platform.evidence.files import write_json
from hybrid_platform.evidence.records import Evidence, EvidenceT, evidence_name, read_evidence
from hybrid_platform.host.process import this_process
from hybrid_platform.log.events import LogEvent
from hybrid_platform.log.session_log import SessionLog
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.session_records import SessionStart


@dataclass(frozen=True, slots=True)
class RunContext:
    """One run. Its four steps share a context, or each step builds the same one when it runs in another process."""

    settings: SessionSettings
    session_id: str
    run_id: str
    data_dir: DataDir
    database_url: str
    code: CodeIdentity
    clock: Clock
    log: SessionLog
    chain: EventChain

    def evidence_header(self, kind: str, started_ns: int) -> dict[str, Any]:
        """Return the fields that every evidence record has, with the end time set to now."""
        return {
            "kind": kind,
            "session_id": self.session_id,
            "run_id": self.run_id,
            "started_at": iso_utc(started_ns),
            "ended_at": iso_utc(self.clock.wall_ns()),
            "config_sha256": self.settings.config_sha256,
            "trading_sha256": self.settings.trading_sha256,
            "code": self.code,
        }

    def session_start(self) -> SessionStart:
        """Return the fields of the session's row at its start."""
        code = f"{self.code.version}+{self.code.commit or 'unknown'}{'.dirty' if self.code.dirty else ''}"
        return SessionStart(self.session_id, self.run_id, self.settings, code, self.clock.wall_ns(), this_process())

    def write(self, evidence: Evidence) -> None:
        """Write an evidence file atomically and add its digest to the event chain."""
        sha256 = write_json(self.data_dir, evidence_name(self.session_id, evidence.kind), evidence)
        event = LogEvent.EVIDENCE_WRITTEN
        self.chain.watch(
            {
                "ts": iso_utc(self.clock.wall_ns()),
                "level": "info",
                "message": event.value,
                "event": event.event,
                "kind": evidence.kind,
                "verdict": evidence.verdict.value,
                "sha256": sha256,
            }
        )
        self.chain.flush()

    def read(self, kind: str, record_type: type[EvidenceT]) -> EvidenceT | None:
        """Return an evidence record of this run, or None if there is none."""
        evidence = read_evidence(self.data_dir, self.session_id, kind, record_type)
        if evidence is None:
            return None
        return evidence if evidence.run_id == self.run_id else None

    def require_passed(self, kind: str, record_type: type[EvidenceT]) -> EvidenceT:
        """Return the evidence of a step that passed in this same run; raise GateRefused if it did not pass."""
        evidence = self.read(kind, record_type)
        if evidence is None:
            raise GateRefused(
                f"expected {kind} to have passed in this run, got not run: launch the job shadow_run as a whole",
                ExitCode.CONFIG,
            )
        if evidence.verdict is not Verdict.PASS:
            raise GateRefused(
                f"expected {kind} PASS, got {evidence.verdict}: {'; '.join(evidence.reasons)}", ExitCode.CONFIG
            )
        if evidence.config_sha256 != self.settings.config_sha256:
            raise GateRefused(f"expected the settings that {kind} checked, got another config_sha256", ExitCode.CONFIG)
        return evidence
