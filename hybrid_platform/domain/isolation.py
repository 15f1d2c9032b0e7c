"""Evidence of I1: readings of a sandboxed strategy, never intentions.

`hybrid_platform.sandbox` creates these records. Each one converts to a JSON object and back without change
(``msgspec.to_builtins``, ``msgspec.convert``).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec


class Enforced(StrEnum):
    """Strength of the isolation that was read back, strongest first."""

    KERNEL_PROCESS = "kernel-process"
    """A separate process: seccomp for all its threads, no open socket, Landlock for its files."""
    KERNEL_NETWORK_ONLY = "kernel-network-only"
    """The same without Landlock: no way to the network, but only their modes protect files."""
    KERNEL_THREAD = "kernel-thread"
    """Seccomp for the stage's threads only: other threads of the process can be made to issue the call."""
    AUDIT_HOOK_ONLY = "audit-hook-only"
    """Python's audit hook alone: it stops honest code, but not machine code."""
    NONE = "none"


class Kind(StrEnum):
    """Kind of a denied attempt."""

    SOCKET = "socket"
    DNS = "dns"
    ASYNC_IO = "async-io"
    TRANSFER = "transfer"
    DESCRIPTOR = "descriptor"
    PROCESS = "process"
    MEMORY = "memory"
    NAMESPACE = "namespace"
    MOUNT = "mount"
    KERNEL = "kernel"
    IPC = "ipc"
    METADATA = "metadata"
    SANDBOX = "guard"
    """Weakening the sandbox itself, or hiding from it."""
    FOREIGN = "foreign"
    """A call with another architecture's number, or one that is newer than the rules."""
    MACHINE_CODE = "machine-code"
    """A lookup of a denied call by its C name."""
    FILE = "file"
    SIGNAL = "signal"


class ThreadStatus(msgspec.Struct, frozen=True):
    """One thread, from ``/proc/<pid>/task/<tid>/status``."""

    tid: int
    name: str
    no_new_privs: bool
    seccomp: int
    """0 none, 1 strict, 2 filter."""
    filters: int
    """Number of stacked filters; also 0 on kernels before 5.9, which do not report it."""
    capabilities: str
    """Effective capabilities, in hexadecimal."""

    @property
    def is_filtered(self) -> bool:
        """Whether a seccomp filter binds this thread and nothing can remove it."""
        return self.no_new_privs and self.seccomp == 2


class Reading(msgspec.Struct, frozen=True):
    """One reading of a process from outside; None for a value that the host does not report."""

    threads: tuple[ThreadStatus, ...] | None
    sockets: int | None
    """Number of open socket descriptors."""
    descriptors: tuple[str, ...] | None
    """Number and kind of each descriptor, such as ``0 pipe``."""
    own_network: bool | None
    """Whether it is in another network namespace than its parent."""


class Attempt(msgspec.Struct, frozen=True):
    """One attempt of the self-test, which must fail."""

    name: str
    kind: Kind
    expected: str
    """Name of the errno, such as ``EPERM``."""
    outcome: str
    """Name of the errno it failed with; ``OK`` if it succeeded."""

    @property
    def subject(self) -> tuple[str, Kind, str]:
        """The attempt and its expected errno, without the outcome."""
        return self.name, self.kind, self.expected

    @property
    def held(self) -> bool:
        """Whether it failed with the expected errno."""
        return self.outcome == self.expected


class SelfTest(msgspec.Struct, frozen=True):
    """The attempts of one self-test, and how many of them reached a listener outside."""

    attempts: tuple[Attempt, ...]
    heard: int = 0
    """Connections and datagrams that reached the listener during the attempts; must be 0."""

    @property
    def leaks(self) -> tuple[Attempt, ...]:
        """The attempts that did not fail with the expected errno."""
        return tuple(attempt for attempt in self.attempts if not attempt.held)

    @property
    def held(self) -> bool:
        """Whether there were attempts, all of them failed as expected, and none reached the listener."""
        return bool(self.attempts) and not self.leaks and not self.heard


class PositiveControl(msgspec.Struct, frozen=True):
    """Targets that were reached *before* the sandbox was applied; they prove that the self-test can fail."""

    network: bool
    """Whether the process reached the listener."""
    file: bool
    """Whether it read the canary file."""
    detail: str = ""
    """Why one of them was not reached."""


class LandlockStatus(msgspec.Struct, frozen=True):
    """Rights that were requested of Landlock, and what it accepted."""

    abi: int
    """0 if the kernel has no Landlock."""
    handled_fs: int = 0
    """Bit mask of file rights that are denied unless granted."""
    handled_net: int = 0
    scoped: int = 0
    all_threads: bool = False
    """Whether no thread can be outside: there was only one, or the kernel included the others."""
    readable: tuple[str, ...] = ()
    listable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    error: str = ""


class Denied(msgspec.Struct, frozen=True):
    """Number of attempts of one kind by one stage, without the self-test's own."""

    source: Literal["kernel", "audit-hook"]
    kind: Kind
    name: str
    """Name of the system call's rule or of the audit event."""
    stage: str
    count: int


class IsolationEvidence(msgspec.Struct, frozen=True):
    """All readings of a sandbox; `sandbox.levels.decide_level` derives ``enforced`` from the other fields."""

    requested: Literal["process", "thread"]
    enforced: Enforced
    why: tuple[str, ...]
    """Reasons why the level is not higher; empty at the highest level."""
    machine: str | None
    """Instruction set of the filter; None on a system without a filter."""
    filter_sha256: str | None
    """Digest of the loaded program's bytes."""
    kernel_counts: bool
    """Whether the kernel reported each denied call to the parent; if not, only the audit hook counted."""
    control: PositiveControl
    landlock: LandlockStatus
    start: Reading | None
    """Reading before any user code was imported."""
    end: Reading | None
    """Reading after user code ended; None if the process ended earlier."""
    selftest_start: SelfTest | None
    selftest_end: SelfTest | None
    ending: str
    """How the process ended, such as ``exited with 0`` or ``killed by SIGKILL``; ``running`` before that."""
    denied: tuple[Denied, ...] = ()
    faults: tuple[str, ...] = ()
    """Optional layers that the host refused, such as a network namespace."""

    @property
    def denied_attempts(self) -> int:
        """Number of attempts; kernel and hook may both count the same call."""
        return sum(entry.count for entry in self.denied)

    @property
    def violations(self) -> tuple[str, ...]:
        """Denied attempts of user code, and a sandbox that was not read back at the end (I1)."""
        faults = []
        if self.end is None and self.filter_sha256 is not None:
            faults.append(f"isolation: expected a reading of the sandbox at the end, got none: {self.ending} (I1)")
        for each in self.denied:
            tried = f"{each.count} x {each.name} ({each.kind})"
            faults.append(f"{each.stage or 'strategy'}: expected no attempt, got {tried}, denied (I1)")
        return tuple(faults)
