"""Reproduction of a session with the strategy's code in a fresh process, sandboxed as in a session (S8, I1).

in: database, data directory, session · out: `ReproductionEvidence`, and ``reproduce.json``. Rows are read and compared
in this process; the strategy receives ticks and inputs over a pipe, and cannot reach database, evidence or keys.
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
from hybrid_platform.reproduce.host import SandboxedReplay, start_sandboxed_replay
from hybrid_platform.reproduce.session import Replayer, reproduce
from hybrid_platform.security.paths import DataDir
from hybrid_platform.session.strategy_host.process import private_paths
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.engine import open_engine

_match_session_id = SESSION_ID_PATTERN.fullmatch


def reproduce_in_sandbox(
    data_dir: DataDir, database_url: str, session_id: str, signing_key: str | None = None
) -> ReproductionEvidence:
    """Reproduce a session in a fresh sandboxed process, and write ``reproduce.json``.

    ``signing_key``: path of a key outside the data directory, which the strategy's code must not read. Raises
    ConfigError if there is nothing to compare, IsolationError if the sandboxed process fails.
    """
    session = read_evidence(data_dir, session_id, SESSION, SessionEvidence) if _match_session_id(session_id) else None
    written = WrittenRows(session.ticks, session.journal) if session and session.ticks and session.journal else None
    code = CodeIdentity(__version__, *read_git(package_root()))
    with ExitStack() as stack:
        engine = open_engine(database_url, role="read")
        stack.callback(engine.dispose)
        replays: list[SandboxedReplay] = []

        def start_replay(
            settings: SessionSettings, table: InstrumentTable, inputs: Sequence[InputRecord], until: int | None
        ) -> Replayer:
            # The evidence records how strong the sandbox is; this host need not meet the demands of the session's host.
            settings = settings.model_copy(update={"require_isolation": False})
            closed = private_paths(settings, data_dir, database_url)
            if signing_key is not None:
                closed = (*closed, Path(signing_key).absolute())
            replay = start_sandboxed_replay(settings, closed, table, inputs, until)
            stack.callback(replay.close)
            replays.append(replay)
            return replay

        found = reproduce(engine, session_id, code, SystemClock(), written, start_replay)
        isolation = replays[0].close_out() if replays else None
    found = _check_sandbox(isolation, _check_signals_digest(session, found))
    write_json(data_dir, reproduction_name(session_id), found)
    return found


def _check_signals_digest(session: SessionEvidence | None, found: ReproductionEvidence) -> ReproductionEvidence:
    """Fail a reproduction whose signals differ from the digest in ``session.json``, although they equal the rows."""
    if session is None or found.verdict is not ReproductionVerdict.PASS:
        return found
    if session.signals.sha256 == found.signals_sha256:
        return found
    reason = f"signals: expected the digest of session.json, {session.signals.sha256}, got {found.signals_sha256}"
    return msgspec.structs.replace(found, verdict=ReproductionVerdict.FAIL, reasons=(reason,))


def _check_sandbox(isolation: IsolationEvidence | None, found: ReproductionEvidence) -> ReproductionEvidence:
    """Add the sandbox to the evidence; fail if the code attempted what is denied, which cannot follow from ticks."""
    if isolation is None:
        return found
    found = msgspec.structs.replace(found, enforced=isolation.enforced, denied=isolation.denied)
    if not isolation.violations:
        return found
    return msgspec.structs.replace(
        found, verdict=ReproductionVerdict.FAIL, reasons=(*found.reasons, *isolation.violations)
    )
