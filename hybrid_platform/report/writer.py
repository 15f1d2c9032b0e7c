"""Write a session's report from the evidence files that are there."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from hybrid_platform.domain.errors import ConfigError, Fault, PlatformError
from hybrid_platform.domain.ids import SESSION_ID_PATTERN
from hybrid_platform.evidence.bundle import ENVELOPE, SealedBundle, is_sealed, read_if_there, seal
from hybrid_platform.evidence.dsse import parse_envelope
from hybrid_platform.evidence.keys import load_signing_key
from hybrid_platform.evidence.records import SESSION, SessionEvidence, SessionFiles, parse_session_files
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.report import html, markdown
from hybrid_platform.report.assets import PAGE, REPORT, read_assets
from hybrid_platform.report.measures.records import Measures
from hybrid_platform.report.model import build_report
from hybrid_platform.report.trading import read_trading, write_trading
from hybrid_platform.security.paths import DataDir
from hybrid_platform.storage.engine import open_engine


class Concluded(NamedTuple):
    """What a run's end leaves for people."""

    report: Path
    seal: SealedBundle
    measures: Measures | None
    """None: there was no session to measure, or its rows could not be."""


def conclude(context: RunContext) -> Concluded:
    """Measure a run's trading, write its report, then seal its evidence: nothing is written into it afterwards."""
    measures = _measure(context)
    context.chain.flush()
    signer = load_signing_key(context.data_dir, context.settings.keys)
    report = write_report(context.data_dir, context.session_id, signer.keyid)
    sealed = seal(context.data_dir, context.session_id, signer, context.clock)
    chain = sealed.chain
    context.log.info(
        "evidence sealed", bundle_sha256=sealed.sha256, keyid=sealed.keyid, events=chain.entries, head=chain.head
    )
    return Concluded(report, sealed, measures)


def report_refusal(context: RunContext) -> None:
    """Write the report of a run that was refused: its evidence is left, and people read reports."""
    try:
        report = write_report(context.data_dir, context.session_id)
    except PlatformError as error:
        context.log.warning("the refusal's report could not be written", error=str(error))
    else:
        context.log.info("refusal reported", report=str(report))


def _measure(context: RunContext) -> Measures | None:
    if context.read(SESSION, SessionEvidence) is None:
        return None
    engine = open_engine(context.database_url, role="read", single_connection=True)
    try:
        return write_trading(context.data_dir, engine, context.session_id)
    except (PlatformError, ValueError, ArithmeticError, LookupError) as error:
        # Rows that nobody here wrote may be anything; the verdict on them is postflight's.
        context.log.warning("the session's trading could not be measured", error=f"{type(error).__name__}: {error}")
        return None
    finally:
        engine.dispose()


def read_session_files(data_dir: DataDir, session_id: str) -> SessionFiles:
    """Return what a session left; raise ConfigError where there is no such session."""
    known = SESSION_ID_PATTERN.fullmatch(session_id) is not None
    files = parse_session_files(
        lambda name: read_if_there(data_dir, f"evidence/{session_id}/{name}") if known else None
    )
    if not any(files):
        raise ConfigError([Fault("session", f"a session with evidence below {data_dir.root}", repr(session_id))])
    return files


def write_report(data_dir: DataDir, session_id: str, keyid: str | None = None) -> Path:
    """Write a session's ``report.md`` and ``report.html`` and return the path of the first.

    They lie beside the evidence until that is sealed; reports that would then read otherwise, because the
    code that writes them is another, go below ``reports/``. ``keyid``: of the key that is going to sign.
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


def last_session(data_dir: DataDir) -> str:
    """Return the latest session that left evidence; raise ConfigError where none did."""
    folder = data_dir.resolve("evidence")
    there = folder.iterdir() if folder.is_dir() else ()
    found = sorted(path.name for path in there if SESSION_ID_PATTERN.fullmatch(path.name))
    if not found:
        raise ConfigError([Fault("session", f"a session with evidence below {data_dir.root}", "none")])
    return found[-1]
