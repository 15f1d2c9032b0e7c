"""Targets of an attack: everything that a strategy in a real session might reach for."""

from __future__ import annotations

from concurrent.futures import Executor

import msgspec


class Target(msgspec.Struct, frozen=True):
    """Addresses of the runner's listener, files and processes. ``token`` must not get out."""

    token: str
    tcp: int
    udp: int
    unix: str
    parent: int
    """Pid of the process that holds the keys and sockets."""
    parent_socket: int
    """Number of a connected socket in that process."""
    secret_address: int
    """Address of the secret in its memory."""
    key: str
    """A private file with the secret in it."""
    key_length: int
    database: str
    evidence: str
    code: str
    """A module file that the strategy may read."""
    victim: int
    """Pid of a process outside."""
    descriptor: int
    """Number of a connected socket: the host process has one; a sandboxed child gets the number of its parent's."""
    allowed: int = -1
    """Number of a pipe that the strategy may write to."""

    @property
    def message(self) -> bytes:
        """The token as bytes."""
        return self.token.encode()


class Surroundings(msgspec.Struct):
    """Resources that a strategy finds in its own process."""

    target: Target
    executor: Executor
    """Threads that are older than the strategy."""
