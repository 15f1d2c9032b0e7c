"""Write a session's report from the evidence files that are there."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.domain.ids import SESSION_ID_PATTERN
from hybrid_platform.evidence.bundle import Seal, is_sealed, read_if_there, seal
from hybrid_platform.evidence.keys import signing_key
from hybrid_platform.evidence.records import SessionFiles, session_files
from hybrid_platform.pipeline.context import RunContext
from hybrid_platform.report.session_report import session_report
from hybrid_platform.safety.paths import DataDir


class Concluded(NamedTuple):
    """What a run's end leaves for people."""

    report: Path
    seal: Seal


def conclude(context: RunContext) -> Concluded:
    """Write a run's report, then seal its evidence: nothing is written into it afterwards."""
    report = write_report(context.data_dir, context.session_id)
    context.chain.flush()
    sealed = seal(
        context.data_dir, context.session_id, signing_key(context.data_dir, context.settings.keys), context.clock
    )
    chain = sealed.chain
    context.log.info(
        "evidence sealed", bundle_sha256=sealed.sha256, keyid=sealed.keyid, events=chain.entries, head=chain.head
    )
    return Concluded(report, sealed)


def read_session_files(data_dir: DataDir, session_id: str) -> SessionFiles:
    """Return what a session left; raise ConfigError where there is no such session."""
    known = SESSION_ID_PATTERN.fullmatch(session_id) is not None
    files = session_files(lambda name: read_if_there(data_dir, f"evidence/{session_id}/{name}") if known else None)
    if not any(files):
        raise ConfigError([Fault("session", f"a session with evidence below {data_dir.root}", repr(session_id))])
    return files


def write_report(data_dir: DataDir, session_id: str) -> Path:
    """Write a session's report and return the path of ``report.md``.

    It lies beside the evidence until that is sealed; a report that would then read otherwise, because the
    code that writes it is another, goes below ``reports/``.
    """
    pages = {"report.md": session_report(read_session_files(data_dir, session_id)).encode()}
    folder = f"evidence/{session_id}"
    if is_sealed(data_dir, session_id):
        if all(read_if_there(data_dir, f"{folder}/{name}") == page for name, page in pages.items()):
            return data_dir.resolve(f"{folder}/report.md")
        folder = f"reports/{session_id}"
    for name, page in pages.items():
        data_dir.write_atomic(f"{folder}/{name}", page)
    return data_dir.resolve(f"{folder}/report.md")


def last_session(data_dir: DataDir) -> str:
    """Return the latest session that left evidence; raise ConfigError where none did."""
    folder = data_dir.resolve("evidence")
    there = folder.iterdir() if folder.is_dir() else ()
    found = sorted(path.name for path in there if SESSION_ID_PATTERN.fullmatch(path.name))
    if not found:
        raise ConfigError([Fault("session", f"a session with evidence below {data_dir.root}", "none")])
    return found[-1]
