"""What systemd is told of this process (sd_notify): ready, alive, stopping, and how it stands.

in: ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC`` of the environment, which are taken out of it, so that no child can
speak for us · out: datagrams. Without such a socket nothing is sent; a service manager that is away harms nobody.
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
    """The way to systemd; owned by the main thread."""

    def __init__(self, environ: MutableMapping[str, str], clock: Clock) -> None:
        path, interval, pid = (environ.pop(name, "") for name in _OURS)
        self._clock = clock
        # A name of the abstract namespace is written with an @ and begins with a zero byte.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        asked = interval.isdecimal() and (not pid or pid == str(os.getpid()))
        # Half of it, as sd_watchdog_enabled(3) asks.
        self._watchdog_ns = int(interval) * NS_PER_US // 2 if asked and self._address else None
        self._next_sign = self._next_status = 0

    def ready(self, status: str) -> None:
        """The session has started; from here on the watchdog runs."""
        self._send("READY=1", f"STATUS={status}")

    def alive(self, status: str) -> None:
        """Somebody who knows says that the session lives; sent no more often than is needed."""
        now = self._clock.monotonic_ns()
        state = []
        if self._watchdog_ns is not None and now >= self._next_sign:
            # Four signs a period: a late one is no death.
            self._next_sign = now + self._watchdog_ns // 2
            state.append("WATCHDOG=1")
        if now >= self._next_status:
            self._next_status = now + int(STATUS_SECONDS * NS_PER_S)
            state.append(f"STATUS={status}")
        if state:
            self._send(*state)

    def stopping(self, status: str) -> None:
        """The session has drained and its evidence is made; the watchdog ends, TimeoutStopSec begins."""
        self._send("STOPPING=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """Say in a line how it stands."""
        self._send(f"STATUS={status}")

    def _send(self, *state: str) -> None:
        if not self._address:
            return
        message = "\n".join(line.replace("\n", " ") for line in state).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
                to.setblocking(False)
                to.sendto(message, self._address)
        except (OSError, ValueError):
            return
