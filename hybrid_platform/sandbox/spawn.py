"""Start of a sandboxed process. The sandbox is read back from outside before and after user code runs (I1).

In: a main module, the paths of code it may read, and the paths that stay private. Out: a `SandboxedProcess` with the
caller's pipes, and `IsolationEvidence`. The child's side is `child.enter`.

The interpreter is fresh: without a fork, no memory is copied and no thread is in an unknown state. Its environment is
built here, it holds only the named pipes, and it dies with the thread that started it. Call `spawn` from a thread
that lives as long as the session.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hybrid_platform.domain.errors import IsolationError
from hybrid_platform.sandbox import process, seccomp
from hybrid_platform.sandbox.descriptors import describe_descriptor
from hybrid_platform.sandbox.grants import build_grants
from hybrid_platform.sandbox.listener import Listener
from hybrid_platform.sandbox.protocol import MessagePipe, Plan
from hybrid_platform.sandbox.sandboxed_process import SandboxedProcess
from hybrid_platform.sandbox.selftest import Canary
from hybrid_platform.sandbox.watch import can_watch

START_TIMEOUT_S = 60.0
KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH")
_FIXED_ENVIRONMENT = {"PYTHONHASHSEED": "0", "HOME": "/nonexistent", "LOGNAME": "strategy"}
"""A fixed hash seed for S8. Without a home and a user name, libraries would ask a name service over a socket."""
_FLAGS = ("-s", "-P", "-B")
"""No user site, no implicit import path, no byte code. ``-I`` would also ignore the environment built here."""
_TO_CHILD, _FROM_CHILD = "sandbox", "sandbox-up"
"""Names of the sandbox's own pipes."""
_BOOT = """
import json, runpy, sys
module, paths = sys.argv[1], json.loads(sys.argv[2])
sys.path[:], sys.argv[:] = paths, [module, *sys.argv[3:]]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnOptions:
    """Resources that a sandboxed process gets, and files that it must not reach."""

    code: Sequence[Path] = ()
    """Module files or packages it may read."""
    private: Sequence[Path] = ()
    """Existing directories it must not read, even if code lies around them. A canary file goes into the first."""
    writable: Sequence[Path] = ()
    """Directories it may write to."""
    pipes_to_child: Sequence[str] = ()
    pipes_from_child: Sequence[str] = ()
    arguments: str = ""
    """Text for the main module."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables in addition to the few that are passed on."""
    output: int = subprocess.DEVNULL
    """Descriptor for standard output and error: a pipe that the caller drains."""
    own_network: bool = True
    """Use an empty network namespace if the host allows it."""
    hide_parent: bool = False
    """Make the calling process non-dumpable, see `process.set_dumpable`."""
    timeout_s: float = START_TIMEOUT_S
    """Time for each answer of the child during its start."""


def spawn(module: str, options: SpawnOptions) -> SandboxedProcess:
    """Start ``module`` in a sandboxed process and return it after its sandbox was read back.

    The evidence tells how strong the sandbox is. Raises IsolationError if the child does not start, and ConfigError
    if ``options.code`` lies in ``options.private``.
    """
    if options.output >= 0 and (kind := describe_descriptor(options.output)) != "pipe":
        # The child could overwrite a file, type into a terminal, or reach the network through a socket.
        raise IsolationError(f"sandbox: expected a pipe for the child's output, got a {kind}")
    grants = build_grants(options.code, options.private, options.writable)
    if options.hide_parent:
        process.set_dumpable(dumpable=False)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(Listener())
        canary = stack.enter_context(_canary(options.private[0] if options.private else None))
        ours, theirs = _create_pipes((_TO_CHILD, *options.pipes_to_child), (_FROM_CHILD, *options.pipes_from_child))
        stack.callback(_close, ours)
        try:
            started = subprocess.Popen(
                [sys.executable, *_FLAGS, "-c", _BOOT, module, json.dumps(_import_paths()),
                 str(theirs[_TO_CHILD]), str(theirs[_FROM_CHILD])],
                stdin=subprocess.DEVNULL,
                stdout=options.output,
                stderr=options.output,
                pass_fds=tuple(theirs.values()),
                env=_build_environment(options.environment),
                start_new_session=True,  # leaves Ctrl-C to the parent, and no terminal to type into
            )  # fmt: skip
        finally:
            for descriptor in theirs.values():
                os.close(descriptor)
        stack.callback(_kill, started)
        plan = Plan(
            parent=os.getpid(),
            pipes={name: theirs[name] for name in (*options.pipes_to_child, *options.pipes_from_child)},
            arguments=options.arguments,
            grants=grants,
            canary=canary,
            listener=listener.address,
            notify=seccomp.is_available() and can_watch(started.pid),
            own_network=options.own_network,
        )
        messages = MessagePipe(ours.pop(_FROM_CHILD), ours.pop(_TO_CHILD))
        stack.callback(messages.close)
        child = SandboxedProcess(started, messages, ours, listener)
        child.confirm_start(plan, options.timeout_s)
        child.take_over(stack.pop_all())
        return child


def _import_paths() -> list[str]:
    """Return this process's import path: the child can import what its parent could, the strategy's code included."""
    return [str(Path(entry or ".").absolute()) for entry in sys.path]


def _build_environment(added: Mapping[str, str]) -> dict[str, str]:
    """Return the child's environment, without any token, DSN or key of the parent."""
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    return {**kept, **_FIXED_ENVIRONMENT, **added}


def _create_pipes(to_child: Sequence[str], from_child: Sequence[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Return the parent's and the child's ends; a child inherits only descriptors passed to it by number."""
    ours: dict[str, int] = {}
    theirs: dict[str, int] = {}
    for name in to_child:
        theirs[name], ours[name] = os.pipe()
    for name in from_child:
        ours[name], theirs[name] = os.pipe()
    return ours, theirs


def _close(descriptors: dict[str, int]) -> None:
    while descriptors:
        os.close(descriptors.popitem()[1])


@contextlib.contextmanager
def _canary(folder: Path | None) -> Iterator[Canary]:
    """Create the canary file for the time of the block."""
    try:
        descriptor, path = tempfile.mkstemp(prefix="canary-", dir=folder)
    except OSError as error:
        raise IsolationError(f"sandbox: expected a directory to put the canary in, got {error}") from None
    try:
        content = f"canary of process {os.getpid()}"
        os.write(descriptor, content.encode())
        os.close(descriptor)
        yield Canary(path, content)
    finally:
        Path(path).unlink(missing_ok=True)


def _kill(started: subprocess.Popen[bytes]) -> None:
    if started.poll() is None:
        started.kill()
    started.wait()
