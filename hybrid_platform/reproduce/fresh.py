"""Reproduce a session with the strategy's code in a process of its own, behind the guard that a session has (I1).

in: database, data directory, session · out: `ReproductionEvidence`, and ``reproduce.json``. Rows are read
and compared here; the strategy sees ticks and inputs over a pipe, and neither database, evidence nor keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from hybrid_platform import __version__
from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.ids import SESSION_ID_PATTERN
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.isolation import IsolationEvidence
from hybrid_platform.domain.orders import InputRecord
from hybrid_platform.domain.records import CodeIdentity
from hybrid_platform.evidence.files import write_json
from hybrid_platform.evidence.records import SESSION, SessionEvidence, read_evidence
from hybrid_platform.evidence.reproduction import (
    ReproductionEvidence,
    ReproductionVerdict,
    WrittenRows,
    reproduction_name,
)
from hybrid_platform.host.system import package_root, read_git
from hybrid_platform.reproduce.host import GuardedReplay
from hybrid_platform.reproduce.session import Replaying, reproduce
from hybrid_platform.security.paths import DataDir
from hybrid_platform.session.strategy_host.process import private_paths
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.engine import open_engine

_IS_ID = SESSION_ID_PATTERN.fullmatch


def reproduce_fresh(
    data_dir: DataDir, database_url: str, session_id: str, signing_key: str | None = None
) -> ReproductionEvidence:
    """Reproduce a session in a fresh guarded process, and write ``reproduce.json``.

    ``signing_key``: one that lies outside the data directory; the strategy's code must not read it. Raises ConfigError
    where there is nothing to compare, IsolationError where the guarded process fails.
    """
    session = read_evidence(data_dir, session_id, SESSION, SessionEvidence) if _IS_ID(session_id) else None
    written = WrittenRows(session.ticks, session.journal) if session and session.ticks and session.journal else None
    code = CodeIdentity(__version__, *read_git(package_root()))
    with ExitStack() as stack:
        engine = open_engine(database_url, role="read")
        stack.callback(engine.dispose)
        guarded: list[GuardedReplay] = []

        def begin(
            settings: SessionSettings, table: InstrumentTable, inputs: Sequence[InputRecord], until: int | None
        ) -> Replaying:
            # How strong the guard is stands in the evidence; what the session's host had to have, this one need not.
            settings = settings.model_copy(update={"require_isolation": False})
            closed = private_paths(settings, data_dir, database_url)
            if signing_key is not None:
                closed = (*closed, Path(signing_key).absolute())
            replay = GuardedReplay(settings, closed, table, inputs, until)
            stack.callback(replay.close)
            guarded.append(replay)
            return replay

        found = reproduce(engine, session_id, code, SystemClock(), written, begin)
        isolation = guarded[0].close_out() if guarded else None
    found = _held_to_guard(isolation, _held_to_evidence(session, found))
    write_json(data_dir, reproduction_name(session_id), found)
    return found


def _held_to_evidence(session: SessionEvidence | None, found: ReproductionEvidence) -> ReproductionEvidence:
    """Fail what agrees with the database, but not with the digest of signals that the session's evidence has."""
    if session is None or found.verdict is not ReproductionVerdict.PASS:
        return found
    if session.signals.sha256 == found.signals_sha256:
        return found
    reason = f"signals: expected the digest of session.json, {session.signals.sha256}, got {found.signals_sha256}"
    return msgspec.structs.replace(found, verdict=ReproductionVerdict.FAIL, reasons=(reason,))


def _held_to_guard(isolation: IsolationEvidence | None, found: ReproductionEvidence) -> ReproductionEvidence:
    """Say what guarded the strategy's code, and fail where it tried what is denied: that is no function of ticks."""
    if isolation is None:
        return found
    found = msgspec.structs.replace(found, enforced=isolation.enforced, denied=isolation.denied)
    if not isolation.violations:
        return found
    return msgspec.structs.replace(
        found, verdict=ReproductionVerdict.FAIL, reasons=(*found.reasons, *isolation.violations)
    )
