"""Write a session's report from the evidence files that are there."""

from __future__ import annotations

from pathlib import Path

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.domain.ids import SESSION_ID_PATTERN
from hybrid_platform.evidence.records import (
    POSTFLIGHT,
    PRAGMA,
    PREFLIGHT,
    SESSION,
    PostflightEvidence,
    PragmaGateEvidence,
    PreflightEvidence,
    SessionEvidence,
    read_evidence,
)
from hybrid_platform.report.session_report import SessionFiles, session_report
from hybrid_platform.safety.paths import DataDir


def read_session_files(data_dir: DataDir, session_id: str) -> SessionFiles:
    """Return what a session left; raise ConfigError where there is no such session."""
    known = SESSION_ID_PATTERN.fullmatch(session_id) is not None
    files = SessionFiles(
        read_evidence(data_dir, session_id, PREFLIGHT, PreflightEvidence) if known else None,
        read_evidence(data_dir, session_id, PRAGMA, PragmaGateEvidence) if known else None,
        read_evidence(data_dir, session_id, SESSION, SessionEvidence) if known else None,
        read_evidence(data_dir, session_id, POSTFLIGHT, PostflightEvidence) if known else None,
    )
    if not any(files):
        raise ConfigError([Fault("session", f"a session with evidence below {data_dir.root}", repr(session_id))])
    return files


def write_report(data_dir: DataDir, session_id: str) -> Path:
    """Write ``report.md`` beside a session's evidence and return its path."""
    text = session_report(read_session_files(data_dir, session_id))
    return data_dir.write_atomic(f"evidence/{session_id}/report.md", text.encode())


def last_session(data_dir: DataDir) -> str:
    """Return the latest session that left evidence; raise ConfigError where none did."""
    folder = data_dir.resolve("evidence")
    found = sorted(path.name for path in folder.iterdir() if SESSION_ID_PATTERN.fullmatch(path.name)) if folder.is_dir() else []
    if not found:
        raise ConfigError([Fault("session", f"a session with evidence below {data_dir.root}", "none")])
    return found[-1]
