"""The child's side of `spawn`: applies the sandbox before any user code is imported, and tests it again after (I1).

In: the plan, over the sandbox's own pipe. Out: a `Sandbox` with the caller's pipes. A child's main module calls
`enter` first, names its threads with `Sandbox.stage`, and calls `Sandbox.leave` last.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable

from hybrid_platform.domain.isolation import Attempt, LandlockStatus
from hybrid_platform.sandbox import _linux, landlock, process, seccomp, selftest
from hybrid_platform.sandbox.audit import AuditHook
from hybrid_platform.sandbox.bpf import Filter
from hybrid_platform.sandbox.descriptors import close_all_but
from hybrid_platform.sandbox.protocol import Leaving, MessagePipe, Plan, Proceed, Sealed, Tested

ANSWER_TIMEOUT_S = 60.0
LEAVE_TIMEOUT_S = 600.0
"""How long a finished child waits for a busy parent; the end of the parent is noticed at once."""


def enter() -> Sandbox:
    """Apply the sandbox to this process, which `spawn` started, and return after the parent has read it back.

    Call it while there is one thread and no user code is imported. Raises IsolationError if the parent is gone or
    does not agree. A host without seccomp or Landlock is reported, not refused: the parent decides whether the
    sandbox is strong enough.
    """
    messages = MessagePipe(int(sys.argv[1]), int(sys.argv[2]))
    sandbox = Sandbox(messages, messages.receive(Plan, ANSWER_TIMEOUT_S))
    sandbox.seal()
    return sandbox


class Sandbox:
    """A sandboxed process's handle on its own sandbox; `enter` creates it."""

    def __init__(self, messages: MessagePipe, plan: Plan) -> None:
        self._messages, self._plan = messages, plan
        self.pipes = plan.pipes
        """The caller's pipes: name → descriptor."""
        self.arguments = plan.arguments
        """The caller's text for the main module."""
        self._landlock = LandlockStatus(abi=0)
        self._filter: Filter | None = None

    def stage(self, name: str) -> None:
        """Name the calling thread: from now on its attempts are attributed to ``name``."""
        process.name_thread(name)
        self._hook.register(name)

    def leave(self) -> None:
        """Test the sandbox once more and wait until the parent has read it back; call it last.

        Raises IsolationError if the parent is gone.
        """
        self._messages.send(Leaving(self._hook.counts()))
        self._messages.receive(Proceed, LEAVE_TIMEOUT_S)
        self._messages.send(self._test())
        self._messages.receive(Proceed, LEAVE_TIMEOUT_S)

    def seal(self) -> None:
        """Apply every layer that this host has, in the order of docs/isolation.md, and test the result."""
        plan = self._plan
        close_all_but({*self._messages.descriptors, *plan.pipes.values()})
        control = selftest.run_control(plan.listener, plan.canary)
        faults: list[str] = []
        listener = None
        if _linux.machine() is not None:
            if plan.own_network:
                _try_layer(faults, "network namespace", process.leave_network)
            _try_layer(faults, "capabilities", process.drop_capabilities)
            # After the changes of credentials, because these would reset the parent-death signal.
            process.die_with_parent(plan.parent)
            listener = self._confine(faults)
        self._hook = AuditHook(deny=self._filter is None, every_thread=True)
        self._hook.install()
        _print_errors_in_python()
        digest = self._filter.sha256 if self._filter else None
        self._messages.send(Sealed(control, self._landlock, digest, listener, tuple(faults)))
        self._messages.receive(Proceed, ANSWER_TIMEOUT_S)
        if listener is not None:
            # Only the parent may answer. With a copy open here, calls would hang after the parent's death, not fail.
            os.close(listener)
        self._messages.send(self._test())
        self._messages.receive(Proceed, ANSWER_TIMEOUT_S)

    def _confine(self, faults: list[str]) -> int | None:
        """Apply Landlock and the filter; return the listener's descriptor if the filter notifies."""
        try:
            _linux.prctl(_linux.PR_SET_NO_NEW_PRIVS, 1)
            self._landlock = landlock.restrict(self._plan.grants)
        except OSError as error:
            self._landlock = LandlockStatus(abi=landlock.read_abi(), error=str(error))
        filter_ = Filter(_linux.machine() or "", notify=self._plan.notify)
        try:
            listener = seccomp.load(filter_, all_threads=True)
        except OSError as error:
            faults.append(f"seccomp: {error}")
            return None
        self._filter = filter_
        return listener

    def _test(self) -> Tested:
        """Make every attempt in a thread started inside the sandbox, and those on files in this older thread too."""
        attempts: list[Attempt] = []

        def try_all() -> None:
            with self._hook.exempt():
                if self._filter is not None:
                    attempts.extend(selftest.try_calls(self._filter, self._plan.listener))
                self._try_files(attempts)

        thread = threading.Thread(target=try_all, name="sandbox-selftest")
        thread.start()
        thread.join()
        with self._hook.exempt():
            self._try_files(attempts)
        return Tested(tuple(attempts), self._hook.is_alive())

    def _try_files(self, attempts: list[Attempt]) -> None:
        if self._landlock.handled_fs:
            attempts.extend(selftest.try_files(self._plan.canary))
        if self._landlock.scoped:
            attempts.append(selftest.try_signal(self._plan.parent))


def _print_errors_in_python() -> None:
    """Print uncaught errors in Python: the interpreter's own printer duplicates a descriptor to read the source.

    That would be denied, and a stray exception of an honest strategy would count as an attempt.
    """
    sys.excepthook = traceback.print_exception
    threading.excepthook = lambda args: traceback.print_exception(args.exc_value)
    sys.unraisablehook = lambda args: traceback.print_exception(args.exc_value)


def _try_layer(faults: list[str], name: str, apply: Callable[[], None]) -> None:
    """Apply a layer that is not required; record why the host refused it."""
    try:
        apply()
    except OSError as error:
        faults.append(f"{name}: {error}")
