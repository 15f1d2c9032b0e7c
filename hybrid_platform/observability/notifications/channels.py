"""Notification channels: how a notification is rendered for a receiver, and how it is sent.

Each channel is one JSON POST with bounded time and attempts. Sending never raises, and no message contains an address,
because anyone who has an address can send. Redirects are not followed, so that content reaches only its receiver.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from hybrid_platform.domain.backoff import backoff_s
from hybrid_platform.observability.notifications.messages import Notification

CHANNELS: Mapping[str, Callable[[Notification], dict[str, Any]]] = {
    "webhook": Notification.to_json,
    "slack": Notification.to_slack,
}
"""Name of a channel -> the body that its receivers get. The settings are ``notify.<name>_env`` and ``_file``."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
FIRST_PAUSE_S = 1.0
_RETRY = frozenset({408, 425, 429})


class Receiver(NamedTuple):
    """Receiver of notifications."""

    channel: str
    """A key of `CHANNELS`."""
    address: str
    """The URL, which is a secret."""

    def __repr__(self) -> str:
        return f"Receiver({self.channel}, ***)"


def check_address(address: str) -> str:
    """Return what is wrong with an address, without repeating it; "" if it is valid."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "not a URL"
    if not address.isascii() or not address.isprintable() or " " in address:
        return "a text with characters that a URL cannot have"
    if not host or parts.scheme not in {"https", "http"}:
        return "not an https URL"
    if parts.scheme == "http" and host not in LOOPBACK:
        return "http to another machine, which is readable on the way"
    return ""


def post(
    receiver: Receiver,
    body: Mapping[str, Any],
    *,
    timeout_s: float,
    attempts: int,
    pause: Callable[[float], object] = time.sleep,
) -> str:
    """Send ``body`` as JSON, with retries where they can help; return "" or why it was not accepted."""
    why = ""
    for attempt in range(attempts):
        if attempt:
            pause(backoff_s(attempt, FIRST_PAUSE_S))
        why, is_final = _post_once(receiver.address, body, timeout_s)
        if not why or is_final:
            break
    return why


def _post_once(address: str, body: Mapping[str, Any], timeout_s: float) -> tuple[str, bool]:
    """Return why one attempt failed ("" if it did not), and whether a retry is pointless."""
    import requests

    with requests.Session() as session:
        # Proxies of the environment are for other machines; password files are never used.
        session.trust_env = urlsplit(address).hostname not in LOOPBACK
        session.auth = _no_auth
        try:
            # Streamed, because an endless answer would otherwise be read completely.
            with session.post(address, json=body, timeout=timeout_s, allow_redirects=False, stream=True) as response:
                status = response.status_code
        except requests.RequestException as error:
            return type(error).__name__, False  # its text contains the address
        except (OSError, ValueError) as error:
            return type(error).__name__, True
    if 200 <= status < 300:
        return "", True
    redirect = " (redirects are not followed)" if 300 <= status < 400 else ""
    return f"HTTP {status}{redirect}", status < 500 and status not in _RETRY


def _no_auth(request: Any) -> Any:
    return request
