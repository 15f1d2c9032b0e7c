"""The fixed lines of a session's log, for its report: read back from the file, in order."""

from __future__ import annotations

import os

from hybrid_platform.domain.errors import PlatformError
from hybrid_platform.security.paths import DataDir

FIXED = (
    "PRAGMA verification",
    "all PRAGMAs verified successfully (S1 PASS)",
    "channels created (S6: bounded)",
    "execution task started (shadow adapter, NO NETWORK)",
    "execution task started (live adapter)",
    "live venue open: orders are sent from here on",
    "signal generated",
    "shadow order executed (I1: no network call)",
    "live order sent",
    "live order filled",
    "live order may still be open at the venue: look there",
    "HEARTBEAT (G4)",
    "FINAL METRICS",
    "session ended",
)
EACH = 2
"""Of each message, so many of its first lines."""
MAX_LINE = 65_536


def log_name(session_id: str) -> str:
    """Return the name of a session's log below the data directory."""
    return f"logs/{session_id}.jsonl"


def key_lines(data_dir: DataDir, session_id: str) -> tuple[str, ...]:
    """Return the first lines of each fixed message; empty where the log cannot be read. A log of any length will do."""
    seen = dict.fromkeys(FIXED, 0)
    lines = []
    try:
        descriptor = data_dir.open(log_name(session_id), os.O_RDONLY)
    except (FileNotFoundError, PlatformError):
        return ()
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        while line := file.readline(MAX_LINE):
            message = next((fixed for fixed in FIXED if f'"message":"{fixed}"' in line), None)
            if message is not None and seen[message] < EACH:
                seen[message] += 1
                lines.append(line.rstrip("\n"))
    return tuple(lines)
