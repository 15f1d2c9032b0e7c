"""The operators' webhooks: one JSON POST, with bounded time and tries. It never raises and tells no address.

in: an address, which is a secret, and a body · out: "" where it was taken, else why not, in words that hold
nothing of the address. Redirects are not followed: what was meant for one receiver goes to no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from hybrid_platform.domain.backoff import backoff_s

LOOPBACK = ("localhost", "127.0.0.1", "::1")
FIRST_PAUSE_S = 1.0
_RETRY = frozenset({408, 425, 429})


class Receiver(NamedTuple):
    """Where to send."""

    name: str
    """``webhook`` or ``slack``."""
    address: str
    """The URL; whoever has it can send."""

    def __repr__(self) -> str:
        return f"Receiver({self.name}, ***)"


def fault_of(address: str) -> str:
    """Return what is wrong with an address, in words that do not repeat it; "" where nothing is."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "no URL"
    if not address.isascii() or not address.isprintable() or " " in address:
        return "a text with blanks or other characters that no URL has"
    if not host or parts.scheme not in {"https", "http"}:
        return "no https URL"
    if parts.scheme == "http" and host not in LOOPBACK:
        return "http to another machine: it would be readable on the way"
    return ""


def post(
    receiver: Receiver,
    body: Mapping[str, Any],
    *,
    timeout_s: float,
    attempts: int,
    pause: Callable[[float], object] = time.sleep,
) -> str:
    """Send ``body`` as JSON, trying again where that can help; return "" or why it was not taken."""
    why = ""
    for attempt in range(attempts):
        if attempt:
            pause(backoff_s(attempt, FIRST_PAUSE_S))
        why, is_final = _try(receiver.address, body, timeout_s)
        if not why or is_final:
            break
    return why


def _try(address: str, body: Mapping[str, Any], timeout_s: float) -> tuple[str, bool]:
    """Return why one try failed ("" where it did not), and whether another one is of no use."""
    import requests

    with requests.Session() as session:
        # Proxies of the environment are for other machines; a password file is for nobody here.
        session.trust_env = urlsplit(address).hostname not in LOOPBACK
        session.auth = _no_auth
        try:
            # Not streamed, an answer without end would be read to it.
            with session.post(address, json=body, timeout=timeout_s, allow_redirects=False, stream=True) as answer:
                status = answer.status_code
        except requests.RequestException as error:
            return type(error).__name__, False  # its text holds the address
        except (OSError, ValueError) as error:
            return type(error).__name__, True
    if 200 <= status < 300:
        return "", True
    moved = " (redirects are not followed)" if 300 <= status < 400 else ""
    return f"HTTP {status}{moved}", status < 500 and status not in _RETRY


def _no_auth(request: Any) -> Any:
    return request
