"""A run: what its four steps share, opened by whoever launches it, by Dagster or by the CLI.

in: settings and the run's identity · out: a `RunContext` with an open log. Whatever the settings name
that is not there raises ConfigError before anything is written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from hybrid_platform import __version__
from hybrid_platform.config import SessionSettings
from hybrid_platform.domain.clocks import Clock, SystemClock
from hybrid_platform.domain.ids import session_id_of
from hybrid_platform.domain.records import CodeIdentity
from hybrid_platform.host.system import package_root, read_git
from hybrid_platform.pipeline.context import RunContext
from hybrid_platform.pipeline.gates import check_settings
from hybrid_platform.safety.logs import Render, SessionLog, as_json
from hybrid_platform.safety.paths import DataDir
from hybrid_platform.storage.engine import url_of


@contextmanager
def open_run(
    settings: SessionSettings,
    *,
    run_id: str,
    created_ns: int,
    clock: Clock | None = None,
    stream: TextIO | None = None,
    render: Render = as_json,
) -> Iterator[RunContext]:
    """Yield a run's context; its session id follows from ``run_id`` and ``created_ns`` alone.

    Raises ConfigError for whatever the settings name that is not there.
    """
    clock = clock or SystemClock()
    database_url = url_of(settings)
    data_dir = DataDir(settings.data_dir)
    check_settings(settings, database_url, clock, data_dir)
    session_id = session_id_of(created_ns, run_id)
    log = SessionLog(session_id, clock, stream=stream or sys.stdout, data_dir=data_dir, render=render)
    try:
        yield RunContext(settings, session_id, run_id, data_dir, database_url, _code(), clock, log)
    finally:
        log.close()


def _code() -> CodeIdentity:
    return CodeIdentity(__version__, *read_git(package_root()))
