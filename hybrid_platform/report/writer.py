"""Writer of a session's reports.

in: the evidence files that exist · out: `report.md` and `report.html`, in the evidence directory or, if that is
sealed and the pages differ, below ``reports/``.
"""

from __future__ import annotations

from pathlib import Path

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.domain.ids import SESSION_ID_PATTERN
from hybrid_platform.evidence.bundle import ENVELOPE, is_sealed, read_if_there
from hybrid_platform.evidence.dsse import parse_envelope
from hybrid_platform.evidence.records import SessionFiles, parse_session_files
from hybrid_platform.report import html, markdown
from hybrid_platform.report.attachments import PAGE, REPORT, read_assets
from hybrid_platform.report.model import build_report
from hybrid_platform.report.trading import read_trading
from hybrid_platform.security.paths import DataDir


def read_session_files(data_dir: DataDir, session_id: str) -> SessionFiles:
    """Return the evidence files of a session; raise ConfigError for a session without any."""
    known = SESSION_ID_PATTERN.fullmatch(session_id) is not None
    files = parse_session_files(
        lambda name: read_if_there(data_dir, f"evidence/{session_id}/{name}") if known else None
    )
    if not any(files):
        raise ConfigError([Fault("session", f"a session with evidence below {data_dir.root}", repr(session_id))])
    return files


def write_reports(data_dir: DataDir, session_id: str, keyid: str | None = None) -> Path:
    """Write ``report.md`` and ``report.html`` of a session and return the path of the first.

    A sealed evidence directory is not changed: pages that differ from the sealed ones, because newer code writes
    them, go below ``reports/``. ``keyid`` identifies the key that will sign.
    """
    files = read_session_files(data_dir, session_id)
    folder = f"evidence/{session_id}"
    sealed = is_sealed(data_dir, session_id)
    if sealed:
        keyid = parse_envelope(data_dir.read_bytes(f"{folder}/{ENVELOPE}"), ENVELOPE).signatures[0].keyid
    trading = read_trading(data_dir, session_id)
    report = build_report(files, read_assets(data_dir, session_id, files, keyid), trading)
    pages = {REPORT: markdown.render_report(report).encode(), PAGE: html.render_report(report).encode()}
    if sealed:
        if all(read_if_there(data_dir, f"{folder}/{name}") == page for name, page in pages.items()):
            return data_dir.resolve(f"{folder}/{REPORT}")
        folder = f"reports/{session_id}"
        pages |= trading.plots if trading else {}
    for name, page in pages.items():
        data_dir.write_atomic(f"{folder}/{name}", page)
    return data_dir.resolve(f"{folder}/{REPORT}")


def find_last_session(data_dir: DataDir) -> str:
    """Return the id of the latest session with evidence; raise ConfigError if there is none."""
    folder = data_dir.resolve("evidence")
    there = folder.iterdir() if folder.is_dir() else ()
    found = sorted(path.name for path in there if SESSION_ID_PATTERN.fullmatch(path.name))
    if not found:
        raise ConfigError([Fault("session", f"a session with evidence below {data_dir.root}", "none")])
    return found[-1]
