"""Report of a finished session to Dagster, if the operator has configured an instance with ``DAGSTER_HOME``.

`defs.session.runless` makes the report in a separate process, because the command line runs without Dagster. The report
is for the UI only; a failure is printed and changes nothing else.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hybrid_platform.evidence.run_context import RunContext

HOME = "DAGSTER_HOME"
MODULE = "hybrid_platform.defs.session.runless"
TIMEOUT_S = 60.0
"""Bound on the report; it takes about two seconds."""


def report_to_dagster(run: RunContext, environ: Mapping[str, str]) -> str | None:
    """Report the session of a run; return why that failed, or None if it worked or nothing is configured."""
    home = environ.get(HOME)
    if not home:
        return None
    command = [sys.executable, "-m", MODULE, str(run.data_dir.root), run.session_id, run.database_url]
    try:
        # Relative paths in dagster.yaml are meant relative to the file.
        done = subprocess.run(
            command, cwd=home, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines() or ["no message"]
    return lines[-1][:500]
