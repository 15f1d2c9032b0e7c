"""A listener on the loopback interface: whatever reaches it has left the sandbox (I1).

Owned by the process outside the sandbox. Connections and datagrams wait in the kernel until `count_arrivals` accepts
them, so it misses none that was made before the call.
"""

from __future__ import annotations

import contextlib
import select
import socket
from types import TracebackType

import msgspec

REACH_TIMEOUT_S = 5.0
MAX_BYTES = 65_536


class Address(msgspec.Struct, frozen=True):
    """Ports of the listener on 127.0.0.1."""

    tcp: int
    udp: int


class Listener:
    """One TCP and one UDP socket on 127.0.0.1, and what they received so far."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as stack:
            self._tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
            self._udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            self._udp.bind(("127.0.0.1", 0))
            for endpoint in (self._tcp, self._udp):
                endpoint.setblocking(False)
            self.address = Address(self._tcp.getsockname()[1], self._udp.getsockname()[1])
            self._sockets = stack.pop_all()
        self._arrivals = 0
        self._received = b""

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close both sockets."""
        self._sockets.close()

    def count_arrivals(self) -> int:
        """Return the number of connections and datagrams that have arrived since the listener was created."""
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = self._tcp.accept()
                with connection:
                    self._arrivals += 1
                    self._received += _receive_all(connection)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._received += self._udp.recv(MAX_BYTES) + b"\n"
                self._arrivals += 1
        self._received = self._received[-MAX_BYTES:]
        return self._arrivals

    def received(self) -> bytes:
        """Return the last 64 KiB that arrived; call `count_arrivals` first."""
        return self._received


def reach(address: Address) -> None:
    """Reach the listener by TCP and UDP: the positive control. Raises OSError."""
    with socket.create_connection(("127.0.0.1", address.tcp), timeout=REACH_TIMEOUT_S) as connection:
        connection.sendall(b"control")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.sendto(b"control", ("127.0.0.1", address.udp))


def _receive_all(connection: socket.socket) -> bytes:
    """Return what a peer sent; stop waiting for a connected peer after 0.2 s of silence."""
    data = b""
    while len(data) < MAX_BYTES and select.select([connection], [], [], 0.2)[0]:
        chunk = connection.recv(4096)
        if not chunk:
            break
        data += chunk
    return data
