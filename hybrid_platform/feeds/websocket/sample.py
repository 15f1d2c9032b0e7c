"""A rejected frame as a log may show it: one printable line, short, without secrets (S5).

in: whatever a venue sent · out: at most `SAMPLE_CHARS` characters of printable ASCII.
"""

from __future__ import annotations

import re

SAMPLE_CHARS = 200
_LOOKED_AT = 2_000
"""Characters that are looked at, so that a huge frame costs no more than a small one."""

_SECRETS = (
    (re.compile(r"-----BEGIN.*", re.DOTALL), "***"),
    (re.compile(r"eyJ[\w-]{5,}(?:\.[\w-]*){1,2}"), "***"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[^\s\"',;}]+"), r"\1 ***"),
    (re.compile(r"://[^/@\s\"']+@"), "://***@"),
    (
        re.compile(
            r"(?i)((?:token|secret|passw\w*|passphrase|api_?-?key|signature|authorization|listen_?key|jwt|cookie)"
            r"[\"']?\s*[:=]\s*)(?:\"(?:[^\"\\]|\\.)*\"?|[^\s\"',;&}]+)"
        ),
        r"\1***",
    ),
)


def redacted(text: str) -> str:
    """Return ``text`` with what looks like a credential replaced by ``***``."""
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text


def sample_of(frame: bytes | str) -> str:
    """Return what stood in a frame: redacted, one line of printable ASCII, cut to `SAMPLE_CHARS`."""
    head = frame[:_LOOKED_AT]
    text = head.decode("utf-8", "backslashreplace") if isinstance(head, bytes) else head
    shown = ascii(redacted(text))[1:-1]
    return shown if len(shown) <= SAMPLE_CHARS else shown[: SAMPLE_CHARS - 1] + "…"
