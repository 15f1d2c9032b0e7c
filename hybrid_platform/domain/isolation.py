"""What the guard read back about a guarded strategy: the evidence of I1, never what was intended.

Made in `safety.guard`; each record becomes one JSON object and comes back equal from it
(``msgspec.to_builtins`` / ``msgspec.convert``).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec


class Enforced(StrEnum):
    """How strong the isolation is that was read back, strongest first."""

    KERNEL_PROCESS = "kernel-process"
    """A process of its own: seccomp over all its threads, no socket held, Landlock over its files."""
    KERNEL_NETWORK_ONLY = "kernel-network-only"
    """The same without Landlock: no way to the network, but files are only guarded by their modes."""
    KERNEL_THREAD = "kernel-thread"
    """Seccomp over the stage's threads only: other threads of the process can be made to do the call."""
    AUDIT_HOOK_ONLY = "audit-hook-only"
    """Python's audit hook alone: honest code is stopped, machine code is not."""
    NONE = "none"


class Kind(StrEnum):
    """What a denied attempt would have been."""

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
    GUARD = "guard"
    """Weakening or hiding from the guard itself."""
    FOREIGN = "foreign"
    """A call by another architecture's numbers, or one that is younger than the rules."""
    MACHINE_CODE = "machine-code"
    """A denied call looked up by its C name."""
    FILE = "file"
    SIGNAL = "signal"


class ThreadStatus(msgspec.Struct, frozen=True):
    """One thread, as ``/proc/<pid>/task/<tid>/status`` shows it."""

    tid: int
    name: str
    no_new_privs: bool
    seccomp: int
    """0 none, 1 strict, 2 filter."""
    filters: int
    """How many filters are stacked; 0 also on kernels before 5.9, which do not say."""
    capabilities: str
    """Effective ones, hexadecimal."""

    @property
    def is_filtered(self) -> bool:
        """Whether a seccomp filter holds this thread and nothing can lift it."""
        return self.no_new_privs and self.seccomp == 2


class Reading(msgspec.Struct, frozen=True):
    """One look at a process from outside; None where the host does not say."""

    threads: tuple[ThreadStatus, ...] | None
    sockets: int | None
    """Socket descriptors that the process holds."""
    descriptors: tuple[str, ...] | None
    """What each descriptor is, e.g. ``0 pipe``."""
    own_network: bool | None
    """Whether it is in a network namespace of its own."""


class Attempt(msgspec.Struct, frozen=True):
    """One thing the self-test tried that must fail."""

    name: str
    kind: Kind
    expected: str
    """Name of the errno, e.g. ``EPERM``."""
    outcome: str
    """Name of the errno it failed with; ``OK`` where it was let through."""

    @property
    def subject(self) -> tuple[str, Kind, str]:
        """What was tried and expected, without what came of it."""
        return self.name, self.kind, self.expected

    @property
    def held(self) -> bool:
        """Whether it failed as it must."""
        return self.outcome == self.expected


class SelfTest(msgspec.Struct, frozen=True):
    """The attempts of one self-test, and what a listener outside heard of them."""

    attempts: tuple[Attempt, ...]
    heard: int = 0
    """Connections and datagrams that reached the listener during the attempts; must be 0."""

    @property
    def leaks(self) -> tuple[Attempt, ...]:
        """The attempts that did not fail as they must."""
        return tuple(attempt for attempt in self.attempts if not attempt.held)

    @property
    def held(self) -> bool:
        """Whether something was tried, all of it failed, and nothing was heard."""
        return bool(self.attempts) and not self.leaks and not self.heard


class PositiveControl(msgspec.Struct, frozen=True):
    """The positive control: what was reached *before* the guard, so that the self-test can fail."""

    network: bool
    """The listener heard the process."""
    file: bool
    """The canary file was read."""
    detail: str = ""
    """Why not, where something was not reached."""


class LandlockStatus(msgspec.Struct, frozen=True):
    """What Landlock was asked for and accepted."""

    abi: int
    """0: the kernel has none."""
    handled_fs: int = 0
    """Bit mask of file rights that are denied unless granted."""
    handled_net: int = 0
    scoped: int = 0
    all_threads: bool = False
    """No thread can be outside: there was only one when it was applied, or the kernel synchronised them."""
    readable: tuple[str, ...] = ()
    listable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    error: str = ""


class Denied(msgspec.Struct, frozen=True):
    """Attempts of one kind by one stage; what the self-test did is not among them."""

    source: Literal["kernel", "audit-hook"]
    kind: Kind
    name: str
    """The system call's rule or the audit event."""
    stage: str
    count: int


class IsolationEvidence(msgspec.Struct, frozen=True):
    """The whole of it: ``enforced`` follows from the rest by `safety.guard.levels.decide`."""

    requested: Literal["process", "thread"]
    enforced: Enforced
    why: tuple[str, ...]
    """What keeps it from the level above; empty at the top."""
    machine: str | None
    """The instruction set the filter was made for; None where there is no filter for it."""
    filter_sha256: str | None
    """Of the loaded program's bytes."""
    kernel_counts: bool
    """Whether the kernel reported each denied call to the outside; else only the audit hook counted."""
    control: PositiveControl
    landlock: LandlockStatus
    start: Reading | None
    """Before any user code was imported."""
    end: Reading | None
    """After it was done; None: the process was gone before."""
    selftest_start: SelfTest | None
    selftest_end: SelfTest | None
    ending: str
    """How the process ended, e.g. ``closed``, ``killed by SIGKILL``; ``running`` while it does."""
    denied: tuple[Denied, ...] = ()
    faults: tuple[str, ...] = ()
    """What the host refused of the layers that are not required, e.g. a network namespace."""

    @property
    def denied_attempts(self) -> int:
        """How many attempts were made; the same call may be counted by kernel and hook alike."""
        return sum(entry.count for entry in self.denied)

    @property
    def violations(self) -> tuple[str, ...]:
        """What user code tried and was denied, and a guard that was not read back at the end (I1)."""
        faults = []
        if self.end is None and self.filter_sha256 is not None:
            faults.append(f"isolation: expected the guard to be read back at the end, got not: {self.ending} (I1)")
        for each in self.denied:
            tried = f"{each.count} x {each.name} ({each.kind})"
            faults.append(f"{each.stage or 'strategy'}: expected no attempt, got {tried}, denied (I1)")
        return tuple(faults)
