"""The outside's view of a guarded process: its pipes, what it was denied, how it ended, the evidence.

in: a started child and its plan · out: `IsolationEvidence` of what was read back from outside. Made by
`spawn`, owned by the thread that called it. I1.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from types import TracebackType

import msgspec

from hybrid_platform.domain.errors import IsolationError
from hybrid_platform.domain.isolation import Attempt, Control, Denied, Enforced, IsolationEvidence, Reading, SelfTest
from hybrid_platform.sandbox import _linux, audit
from hybrid_platform.sandbox.bpf import Filter
from hybrid_platform.sandbox.levels import decide
from hybrid_platform.sandbox.listener import Listener
from hybrid_platform.sandbox.protocol import Leaving, Line, PeerGone, Plan, Proceed, Sealed, Tested
from hybrid_platform.sandbox.status import read_back
from hybrid_platform.sandbox.watch import Watcher, take_descriptor

_HEARD_IN_CONTROL = 2
"""One connection and one datagram."""
_SIGNALS = {entry.value: entry.name for entry in signal.Signals}


class GuardedChild:
    """A process under guard. Leave its ``with`` block, or call `close`, and it is gone."""

    def __init__(
        self,
        started: subprocess.Popen[bytes],
        line: Line,
        pipes: dict[str, int],
        listener: Listener,
        plan: Plan,
        timeout_s: float,
    ) -> None:
        self.pid = started.pid
        self.pipes = pipes
        """Our ends of the caller's pipes, by name; `close_pipe` ends one."""
        self._started, self._line, self._listener = started, line, listener
        self._owned = contextlib.ExitStack()
        self._watcher: Watcher | None = None
        self._end: Reading | None = None
        self._selftest_end: SelfTest | None = None
        self._hook_counts: tuple[Denied, ...] = ()
        self._ending = "running"
        try:
            self._come_up(plan, timeout_s)
        except (IsolationError, OSError) as error:
            self._stop_watching()
            raise IsolationError(f"the guarded process did not come up ({self._exit()}): {error}") from None

    def __enter__(self) -> GuardedChild:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def take_over(self, owned: contextlib.ExitStack) -> None:
        """Become the owner of all that was made for this child; `close` releases it."""
        self._owned = owned

    def close(self) -> None:
        """Kill the process if it still runs, and release pipes, listener and canary; may be called again."""
        self._started.kill()
        self._started.wait()
        self._stop_watching()
        self._owned.close()

    def close_pipe(self, name: str) -> None:
        """Close our end of a pipe: the child reads the end of file, or can no longer write."""
        os.close(self.pipes.pop(name))

    def denied(self) -> tuple[Denied, ...]:
        """Return the attempts so far: the kernel's counts at any time, the audit hook's after `close_out`."""
        return (*(self._watcher.counts() if self._watcher else ()), *self._hook_counts)

    def wait(self, timeout_s: float) -> int | None:
        """Return the exit status, negative for a signal; None where the process still runs after the time."""
        try:
            return self._started.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def close_out(self, timeout_s: float) -> None:
        """Answer the child's `Guard.leave`: test and read the guard back once more, then let it go.

        Every wait is bounded by ``timeout_s``. Never raises: a child that was killed, or says nothing, has
        no reading at the end, and `evidence` says how it ended. It may still run then; `close` kills it.
        """
        try:
            leaving = self._line.receive(Leaving, timeout_s)
            if self._watcher is not None:
                self._watcher.pause()
            self._hook_counts = audit.credible(leaving.denied)
            self._line.send(Proceed())
            tested = self._line.receive(Tested, timeout_s)
            # Whatever was heard since the first self-test counts, the strategy's whole run included.
            heard = self._listener.heard() - self._heard
            self._selftest_end = SelfTest(_same_as(self._selftest_start.attempts, tested.attempts), heard)
            self._end = read_back(self.pid)
            self._line.send(Proceed())
        except IsolationError as error:
            status = self.wait(timeout_s) if isinstance(error, PeerGone) else self._started.poll()
            self._ending = f"{_described(status)} before the closing self-test: {error}"
        else:
            self._ending = _described(self.wait(timeout_s))

    def evidence(self) -> IsolationEvidence:
        """Return all that was read back so far, and the level that follows from it."""
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
        enforced, why = decide(undecided, hook_alive=self._hook_alive)
        return msgspec.structs.replace(undecided, enforced=enforced, why=why)

    def _come_up(self, plan: Plan, timeout_s: float) -> None:
        self._line.send(plan)
        self._sealed = sealed = self._line.receive(Sealed, timeout_s)
        machine = _linux.machine()
        if machine is not None and sealed.filter_sha256 is not None:
            filter_ = Filter(machine, notify=plan.notify)
            if sealed.filter_sha256 != filter_.sha256:
                raise IsolationError(f"guard: expected filter {filter_.sha256}, got {sealed.filter_sha256}")
            if sealed.listener is not None:
                self._watcher = Watcher(take_descriptor(self.pid, sealed.listener), filter_, self.pid)
        self._heard = self._listener.heard()
        self._control = Control(
            network=sealed.control.network and self._heard == _HEARD_IN_CONTROL,
            file=sealed.control.file,
            detail=sealed.control.detail,
        )
        self._line.send(Proceed())
        tested = self._line.receive(Tested, timeout_s)
        heard, self._heard = self._heard, self._listener.heard()
        self._selftest_start = SelfTest(tested.attempts, self._heard - heard)
        self._hook_alive = tested.hook_alive
        self._start = read_back(self.pid)
        if self._watcher is not None:
            self._watcher.forget()
        self._line.send(Proceed())

    def _stop_watching(self) -> None:
        """End the watcher's thread; what it counted stays."""
        if self._watcher is not None:
            self._watcher.close()

    def _exit(self) -> str:
        return _described(self.wait(1.0))


def _same_as(first: tuple[Attempt, ...], last: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Return the closing attempts, or none where they are not those that were tried before user code ran."""
    if [entry.subject for entry in first] != [entry.subject for entry in last]:
        return ()
    return tuple(msgspec.structs.replace(entry, outcome=audit.plain(entry.outcome)) for entry in last)


def _described(status: int | None) -> str:
    if status is None:
        return "still running"
    if status < 0:
        return f"killed by {_SIGNALS.get(-status, f'signal {-status}')}"
    return f"exited with {status}"
