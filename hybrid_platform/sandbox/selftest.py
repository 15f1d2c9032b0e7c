"""Self-test of the sandbox: every way out must fail as its rule states, after a control that succeeded (I1).

In: the filter, the listener's address and the canary file. Out: a record of each attempt. It runs in the sandboxed
process, before any user code and again at the end. The parent counts what arrived at the listener meanwhile.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from hybrid_platform.domain.isolation import Attempt, Kind, PositiveControl
from hybrid_platform.sandbox import _linux
from hybrid_platform.sandbox.bpf import Filter
from hybrid_platform.sandbox.listener import Address, reach
from hybrid_platform.sandbox.syscalls import Rule


class Canary(msgspec.Struct, frozen=True):
    """A file that the parent created in a folder without grants: readable before Landlock, never after."""

    path: str
    content: str


def run_control(address: Address, canary: Canary | None) -> PositiveControl:
    """Reach the listener and read the canary; both must succeed before the sandbox is applied."""
    faults = []
    network = file = False
    try:
        reach(address)
        network = True
    except OSError as error:
        faults.append(f"the listener was not reached: {error}")
    if canary is not None:
        try:
            file = Path(canary.path).read_text(encoding="utf-8") == canary.content
        except OSError as error:
            faults.append(f"the canary was not read: {error}")
    return PositiveControl(network, file, "; ".join(faults))


def try_calls(filter_: Filter, address: Address) -> tuple[Attempt, ...]:
    """Try every rule by its number, then the listener, fork, exec and dup as Python does them.

    If the calling thread is not under the filter at all, the first attempt shows it and is the last one, because
    further attempts would succeed.
    """
    attempts = try_rules(filter_)
    return (*attempts, *_try_from_python(address)) if attempts[0].held else attempts


def try_rules(filter_: Filter) -> tuple[Attempt, ...]:
    """Try every rule that has a harmless probe, ``socket`` first; if that one succeeds, try nothing else."""
    calls = {
        rule.name: (rule, number, rule.probe)
        for rule in filter_.rules
        if rule.probe is not None and (number := rule.number(filter_.machine)) is not None
    }
    first = _probe(*calls.pop("socket"))
    return (first, *(_probe(*call) for call in calls.values())) if first.held else (first,)


def try_files(canary: Canary) -> tuple[Attempt, ...]:
    """Try to read the canary and to create a file next to it."""
    path = Path(canary.path)

    def leave() -> None:
        created = path.with_name(path.name + ".pth")
        created.touch()
        created.unlink()

    return (
        _try("read a private file", Kind.FILE, path.read_bytes, errno.EACCES),
        _try("leave a file", Kind.FILE, leave, errno.EACCES),
    )


def try_signal(pid: int) -> Attempt:
    """Try to signal a process outside; signal 0 has no effect."""
    return _try("signal the parent", Kind.SIGNAL, lambda: os.kill(pid, 0))


def _probe(rule: Rule, number: int, arguments: tuple[int, ...]) -> Attempt:
    return _try(rule.name, rule.kind, lambda: _linux.syscall(number, *arguments), rule.errno)


def _try_from_python(address: Address) -> Iterator[Attempt]:
    def udp() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
            endpoint.sendto(b"self-test", ("127.0.0.1", address.udp))

    def fork() -> None:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

    yield _try("TCP to the listener", Kind.SOCKET, lambda: reach(address))
    yield _try("UDP to the listener", Kind.SOCKET, udp)
    yield _try("unix socket", Kind.SOCKET, lambda: socket.socket(socket.AF_UNIX).close())
    yield _try("fork", Kind.PROCESS, fork)
    # The path does not exist: without the filter this fails with ENOENT and starts no other program.
    yield _try("exec", Kind.PROCESS, lambda: os.execv("/nonexistent/program", ["program"]))  # noqa: S606
    yield _try("dup", Kind.DESCRIPTOR, lambda: os.close(os.dup(0)))


def _try(name: str, kind: Kind, action: Callable[[], object], expected: int = errno.EPERM) -> Attempt:
    try:
        action()
        outcome = "OK"
    except OSError as error:
        outcome = _name(error.errno)
    return Attempt(name, kind, _name(expected), outcome)


def _name(code: int | None) -> str:
    return errno.errorcode.get(code or 0, f"errno {code}")
