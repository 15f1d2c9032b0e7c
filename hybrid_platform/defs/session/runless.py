"""Report of a session to Dagster that no Dagster run belongs to: the command line ran the session.

in: a data directory, a session id and the database's URL, as arguments · out: the materializations and checks of a run,
as runless events of the instance that ``DAGSTER_HOME`` names. The command line starts this module as a
separate process, so that only `defs` needs Dagster.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from typing import NamedTuple

import dagster as dg

from hybrid_platform.defs.session.checks import (
    HOST_READY,
    PRAGMAS_APPLIED,
    VERDICT,
    build_session_checks,
    build_verdict_check,
)
from hybrid_platform.defs.shared import metadata
from hybrid_platform.defs.shared.names import POSTFLIGHT, PRAGMA, PREFLIGHT, SHADOW
from hybrid_platform.evidence.bundle import ENVELOPE, MANIFEST, SealedBundle, is_sealed, read_chain, read_if_there
from hybrid_platform.evidence.dsse import parse_envelope
from hybrid_platform.evidence.files import parse_json
from hybrid_platform.evidence.records import Evidence
from hybrid_platform.report.measures.records import MEASURES, Measures
from hybrid_platform.report.writer import read_session_files
from hybrid_platform.security.paths import DataDir

Event = dg.AssetMaterialization | dg.AssetCheckEvaluation


class StoredSession(NamedTuple):
    """A session that has ended, by where it is stored."""

    data_dir: DataDir
    session_id: str
    database_url: str


def report_session(session: StoredSession, instance: dg.DagsterInstance) -> None:
    """Report a session to an instance."""
    for event in build_events(session):
        instance.report_runless_asset_event(event)


def build_events(session: StoredSession) -> Iterator[Event]:
    """Yield the events of each step that left evidence, in their order."""
    files = read_session_files(session.data_dir, session.session_id)
    if files.preflight is not None:
        shown = metadata.build_preflight_metadata(session, files.preflight)
        yield _build_materialization(session, PREFLIGHT, files.preflight, shown)
        yield _build_evaluation(PREFLIGHT, build_verdict_check(files.preflight, HOST_READY))
    if files.pragma is not None:
        shown = metadata.build_pragma_metadata(session, files.pragma)
        yield _build_materialization(session, PRAGMA, files.pragma, shown)
        yield _build_evaluation(PRAGMA, build_verdict_check(files.pragma, PRAGMAS_APPLIED))
    if files.session is not None:
        yield from metadata.build_table_materializations(session, files.session)
        shown = metadata.build_session_metadata(session, files.session)
        yield _build_materialization(session, SHADOW, files.session, shown)
        for check in build_session_checks(files.session):
            yield _build_evaluation(SHADOW, check)
    if files.postflight is not None and is_sealed(session.data_dir, session.session_id):
        bundle = read_bundle(session)
        measures = read_measures(session)
        shown = metadata.build_postflight_metadata(session, files.postflight, bundle, measures)
        yield _build_materialization(session, POSTFLIGHT, files.postflight, shown, bundle.sha256)
        yield _build_evaluation(POSTFLIGHT, build_verdict_check(files.postflight, VERDICT))


def read_bundle(session: StoredSession) -> SealedBundle:
    """Return the sealed bundle of a session."""
    folder = DataDir(session.data_dir.resolve(f"evidence/{session.session_id}"))
    envelope = parse_envelope(folder.read_bytes(ENVELOPE), ENVELOPE)
    digest = hashlib.sha256(folder.read_bytes(MANIFEST)).hexdigest()
    chain = read_chain(folder, session.session_id)
    return SealedBundle(folder.root / ENVELOPE, digest, envelope.signatures[0].keyid, chain)


def read_measures(session: StoredSession) -> Measures | None:
    """Return the measures of a session's trading, or None if it was not measured."""
    name = f"{MEASURES}.json"
    content = read_if_there(session.data_dir, f"evidence/{session.session_id}/{name}")
    return None if content is None else parse_json(content, name, Measures)


def _build_materialization(
    session: StoredSession, name: str, evidence: Evidence, shown: metadata.Metadata, data_version: str | None = None
) -> dg.AssetMaterialization:
    version = data_version or metadata.build_data_version(session, evidence).value
    tags = {"dagster/data_version": str(version), "dagster/code_version": str(evidence.code.sha256)}
    description = f"session {session.session_id}, run by the command line"
    return dg.AssetMaterialization(name, description=description, metadata=shown, tags=tags)


def _build_evaluation(name: str, check: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(name),
        check_name=str(check.check_name),
        passed=check.passed,
        metadata=dict(check.metadata),
        description=check.description,
    )


if __name__ == "__main__":
    _, root, session_id, database_url = sys.argv
    with dg.DagsterInstance.get() as configured:
        report_session(StoredSession(DataDir(root), session_id, database_url), configured)
