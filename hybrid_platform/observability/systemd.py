"""Notifications to systemd (sd_notify): ready, alive, stopping, status.

In: ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC``, which are removed from the environment, so that no child process can notify
in our name. Out: datagrams. Without such a socket nothing is sent; errors of the socket are ignored.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from hybrid_platform.domain.clocks import NS_PER_S, Clock

NS_PER_US = 1_000
STATUS_SECONDS = 10.0
_OURS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class ServiceManager:
    """Connection to systemd. Owned by the main thread."""

    def __init__(self, environ: MutableMapping[str, str], clock: Clock) -> None:
        path, interval, pid = (environ.pop(name, "") for name in _OURS)
        self._clock = clock
        # A name of the abstract namespace is written with @ and starts with a zero byte.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        requested = interval.isdecimal() and (not pid or pid == str(os.getpid()))
        # Half of the interval, as sd_watchdog_enabled(3) recommends.
        self._watchdog_ns = int(interval) * NS_PER_US // 2 if requested and self._address else None
        self._next_watchdog = self._next_status = 0

    def ready(self, status: str) -> None:
        """Report that the session has started; from now on the watchdog runs."""
        self._send("READY=1", f"STATUS={status}")

    def alive(self, status: str) -> None:
        """Report that the session is alive; sent only as often as needed."""
        now = self._clock.monotonic_ns()
        state = []
        if self._watchdog_ns is not None and now >= self._next_watchdog:
            # Four per period, so that a single late one is harmless.
            self._next_watchdog = now + self._watchdog_ns // 2
            state.append("WATCHDOG=1")
        if now >= self._next_status:
            self._next_status = now + int(STATUS_SECONDS * NS_PER_S)
            state.append(f"STATUS={status}")
        if state:
            self._send(*state)

    def stopping(self, status: str) -> None:
        """Report that the session has drained; the watchdog ends and TimeoutStopSec begins."""
        self._send("STOPPING=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """Report the status in one line."""
        self._send(f"STATUS={status}")

    def _send(self, *state: str) -> None:
        if not self._address:
            return
        message = "\n".join(line.replace("\n", " ") for line in state).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(message, self._address)
        except (OSError, ValueError):
            return
