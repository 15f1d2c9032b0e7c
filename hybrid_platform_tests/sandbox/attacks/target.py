"""What an attack is aimed at: everything a strategy in the real session might reach for."""

from __future__ import annotations

from concurrent.futures import Executor

import msgspec


class Target(msgspec.Struct, frozen=True):
    """Where the stand's listener, files and processes are. ``token`` is what must not get out."""

    token: str
    tcp: int
    udp: int
    unix: str
    parent: int
    """Pid of the process that holds the keys and the sockets."""
    parent_socket: int
    """Number, there, of a connected socket."""
    secret_address: int
    """Where the secret lies in its memory."""
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
    """Number of a connected socket: the op's own process has one, a guarded child was told its parent's."""
    allowed: int = -1
    """Number of a pipe that the strategy may write to."""

    @property
    def message(self) -> bytes:
        """The token as bytes."""
        return self.token.encode()


class Surroundings(msgspec.Struct):
    """What a strategy finds in its own process."""

    target: Target
    executor: Executor
    """Threads that were there before it."""
