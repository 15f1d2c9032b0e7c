"""The opening of a run, by the CLI or by Dagster: the context that its steps share.

in: settings and the run's identity · out: a `RunContext` with an open log. Settings that name something
missing raise ConfigError before anything is written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from hybrid_platform import __version__
from hybrid_platform.domain.clocks import Clock, SystemClock
from hybrid_platform.domain.errors import GateRefused
from hybrid_platform.domain.ids import make_session_id
from hybrid_platform.domain.records import CodeIdentity
from hybrid_platform.evidence.chain import EventChain
from hybrid_platform.evidence.code_digest import find_package, tree_sha256
from hybrid_platform.evidence.keys import check_signing_key
from hybrid_platform.evidence.records import PREFLIGHT, evidence_name
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.gates.conclusion import refuse
from hybrid_platform.gates.preflight import check_settings
from hybrid_platform.host.system import package_root, read_git
from hybrid_platform.log.session_log import Render, SessionLog, render_json
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.location import resolve_database_url


@contextmanager
def open_run(
    settings: SessionSettings,
    *,
    run_id: str,
    created_ns: int,
    clock: Clock | None = None,
    stream: TextIO | None = None,
    render: Render = render_json,
    after_refusal: Callable[[RunContext], None] = lambda context: None,
) -> Iterator[RunContext]:
    """Yield a run's context; its session id follows from ``run_id`` and ``created_ns`` alone.

    Raises ConfigError if the settings name something that is missing. A GateRefused that ends the run leaves
    evidence and a REFUSED row, calls ``after_refusal``, and propagates.
    """
    clock = clock or SystemClock()
    database_url = resolve_database_url(settings)
    data_dir = DataDir(settings.data_dir)
    session_id = make_session_id(created_ns, run_id)
    if not data_dir.resolve(evidence_name(session_id, PREFLIGHT)).exists():
        # Only before the first step: if something goes missing later, that is a verdict and not a wrong setting.
        check_settings(settings, database_url, clock, data_dir)
    check_signing_key(data_dir, settings.keys)
    chain = EventChain(data_dir, session_id, clock)
    out = stream or sys.stdout
    log = SessionLog(session_id, clock, stream=out, data_dir=data_dir, render=render, on_line=chain.watch)
    try:
        context = RunContext(
            settings, session_id, run_id, data_dir, database_url, read_code_identity(), clock, log, chain
        )
        try:
            yield context
        except GateRefused as refused:
            refuse(context, refused)
            after_refusal(context)
            raise
    finally:
        log.close()


def read_code_identity() -> CodeIdentity:
    """Return the version, commit and digest of the running code."""
    root = package_root()
    return CodeIdentity(__version__, *read_git(root), tree_sha256(find_package(root)))
