"""The fixed lines of a session's log, for its report: read back from the file, in order."""

from __future__ import annotations

from hybrid_platform.domain.errors import PlatformError
from hybrid_platform.safety.paths import DataDir

FIXED = (
    "PRAGMA verification",
    "all PRAGMAs verified successfully (S1 PASS)",
    "channels created (S6: bounded)",
    "execution task started (shadow adapter, NO NETWORK)",
    "signal generated",
    "shadow order executed (I1: no network call)",
    "HEARTBEAT (G4)",
    "FINAL METRICS",
    "session ended",
)
EACH = 2
"""Of each message, so many of its first lines."""
MAX_BYTES = 16 * 2**20


def log_name(session_id: str) -> str:
    """Return the name of a session's log below the data directory."""
    return f"logs/{session_id}.jsonl"


def key_lines(data_dir: DataDir, session_id: str) -> tuple[str, ...]:
    """Return the first lines of each fixed message; empty where the log cannot be read."""
    try:
        text = data_dir.read_bytes(log_name(session_id), MAX_BYTES).decode(errors="replace")
    except (FileNotFoundError, PlatformError):
        return ()
    seen = dict.fromkeys(FIXED, 0)
    lines = []
    for line in text.splitlines():
        message = next((fixed for fixed in FIXED if f'"message":"{fixed}"' in line), None)
        if message is not None and seen[message] < EACH:
            seen[message] += 1
            lines.append(line)
    return tuple(lines)
