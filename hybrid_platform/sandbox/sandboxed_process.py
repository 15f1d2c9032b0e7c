"""A sandboxed process as its parent sees it: its pipes, its denied attempts, its end, and the evidence (I1).

In: a started child and its plan. Out: `IsolationEvidence` of what was read back from outside. `spawn` creates it, and
the thread that called `spawn` owns it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from types import TracebackType

import msgspec

from hybrid_platform.domain.errors import IsolationError
from hybrid_platform.domain.isolation import (
    Attempt,
    Denied,
    Enforced,
    IsolationEvidence,
    PositiveControl,
    Reading,
    SelfTest,
)
from hybrid_platform.sandbox import _linux, audit
from hybrid_platform.sandbox.bpf import Filter
from hybrid_platform.sandbox.levels import decide_level
from hybrid_platform.sandbox.listener import Listener
from hybrid_platform.sandbox.protocol import Leaving, MessagePipe, PeerGone, Plan, Proceed, Sealed, Tested
from hybrid_platform.sandbox.status import read_process
from hybrid_platform.sandbox.watch import Watcher, take_descriptor

_ARRIVALS_IN_CONTROL = 2
"""One connection and one datagram."""
_SIGNALS = {entry.value: entry.name for entry in signal.Signals}


class SandboxedProcess:
    """A process in a sandbox. Leaving its ``with`` block, or `close`, ends the process."""

    def __init__(
        self, started: subprocess.Popen[bytes], messages: MessagePipe, pipes: dict[str, int], listener: Listener
    ) -> None:
        self.pid = started.pid
        self.pipes = pipes
        """The parent's ends of the caller's pipes: name → descriptor. `close_pipe` closes one."""
        self._started, self._messages, self._listener = started, messages, listener
        self._owned = contextlib.ExitStack()
        self._watcher: Watcher | None = None
        self._end: Reading | None = None
        self._selftest_end: SelfTest | None = None
        self._hook_counts: tuple[Denied, ...] = ()
        self._ending = "running"

    def __enter__(self) -> SandboxedProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def confirm_start(self, plan: Plan, timeout_s: float) -> None:
        """Lead the child through its start and read its sandbox back; `spawn` calls it once.

        Raises IsolationError if the child ends, is late, or does not follow the protocol.
        """
        try:
            self._confirm_start(plan, timeout_s)
        except (IsolationError, OSError) as error:
            self._stop_watching()
            ending = _describe_exit(self.wait(1.0))
            raise IsolationError(f"the sandboxed process did not start ({ending}): {error}") from None

    def take_over(self, owned: contextlib.ExitStack) -> None:
        """Become the owner of the resources that were created for this child; `close` releases them."""
        self._owned = owned

    def close(self) -> None:
        """Kill the process if it still runs, and release pipes, listener and canary (idempotent)."""
        self._started.kill()
        self._started.wait()
        self._stop_watching()
        self._owned.close()

    def close_pipe(self, name: str) -> None:
        """Close the parent's end of a pipe: the child reads the end of file, or can no longer write."""
        os.close(self.pipes.pop(name))

    def denied(self) -> tuple[Denied, ...]:
        """Return the attempts so far: the kernel's counts at any time, the audit hook's after `close_out`."""
        return (*(self._watcher.counts() if self._watcher else ()), *self._hook_counts)

    def wait(self, timeout_s: float) -> int | None:
        """Return the exit status, negative for a signal, or None if the process still runs after the timeout."""
        try:
            return self._started.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def close_out(self, timeout_s: float) -> None:
        """Answer the child's `Sandbox.leave`: test and read the sandbox back once more, then let the child end.

        ``timeout_s`` bounds every wait. It never raises: a child that was killed or is silent has no reading at the
        end, and the evidence says how it ended. It may still run then; `close` kills it.
        """
        try:
            leaving = self._messages.receive(Leaving, timeout_s)
            if self._watcher is not None:
                self._watcher.stop_counting()
            self._hook_counts = audit.validate_counts(leaving.denied)
            self._messages.send(Proceed())
            tested = self._messages.receive(Tested, timeout_s)
            # Everything that arrived since the first self-test counts, the strategy's whole run included.
            heard = self._listener.count_arrivals() - self._arrivals
            self._selftest_end = SelfTest(_select_same(self._selftest_start.attempts, tested.attempts), heard)
            self._end = read_process(self.pid)
            self._messages.send(Proceed())
        except IsolationError as error:
            status = self.wait(timeout_s) if isinstance(error, PeerGone) else self._started.poll()
            self._ending = f"{_describe_exit(status)} before the closing self-test: {error}"
        else:
            self._ending = _describe_exit(self.wait(timeout_s))

    def evidence(self) -> IsolationEvidence:
        """Return what was read back so far, and the level that follows from it."""
        undecided = IsolationEvidence(
            requested="process",
            enforced=Enforced.NONE,
            why=(),
            machine=_linux.machine(),
            filter_sha256=self._sealed.filter_sha256,
            kernel_counts=self._watcher is not None,
            control=self._control,
            landlock=self._sealed.landlock,
            start=self._start,
            end=self._end,
            selftest_start=self._selftest_start,
            selftest_end=self._selftest_end,
            ending=self._ending,
            denied=self.denied(),
            faults=self._sealed.faults,
        )
        enforced, why = decide_level(undecided, hook_alive=self._hook_alive)
        return msgspec.structs.replace(undecided, enforced=enforced, why=why)

    def _confirm_start(self, plan: Plan, timeout_s: float) -> None:
        self._messages.send(plan)
        self._sealed = sealed = self._messages.receive(Sealed, timeout_s)
        machine = _linux.machine()
        if machine is not None and sealed.filter_sha256 is not None:
            filter_ = Filter(machine, notify=plan.notify)
            if sealed.filter_sha256 != filter_.sha256:
                raise IsolationError(f"sandbox: expected filter {filter_.sha256}, got {sealed.filter_sha256}")
            if sealed.listener is not None:
                self._watcher = Watcher(take_descriptor(self.pid, sealed.listener), filter_, self.pid)
                self._watcher.start()
        self._arrivals = self._listener.count_arrivals()
        self._control = PositiveControl(
            network=sealed.control.network and self._arrivals == _ARRIVALS_IN_CONTROL,
            file=sealed.control.file,
            detail=sealed.control.detail,
        )
        self._messages.send(Proceed())
        tested = self._messages.receive(Tested, timeout_s)
        before, self._arrivals = self._arrivals, self._listener.count_arrivals()
        self._selftest_start = SelfTest(tested.attempts, self._arrivals - before)
        self._hook_alive = tested.hook_alive
        self._start = read_process(self.pid)
        if self._watcher is not None:
            self._watcher.reset_counts()
        self._messages.send(Proceed())

    def _stop_watching(self) -> None:
        """End the watcher's thread; its counts remain."""
        if self._watcher is not None:
            self._watcher.close()


def _select_same(first: tuple[Attempt, ...], last: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Return the closing attempts, or none if they differ from the attempts made before user code ran."""
    if [entry.subject for entry in first] != [entry.subject for entry in last]:
        return ()
    return tuple(msgspec.structs.replace(entry, outcome=audit.sanitize_name(entry.outcome)) for entry in last)


def _describe_exit(status: int | None) -> str:
    if status is None:
        return "still running"
    if status < 0:
        return f"killed by {_SIGNALS.get(-status, f'signal {-status}')}"
    return f"exited with {status}"
