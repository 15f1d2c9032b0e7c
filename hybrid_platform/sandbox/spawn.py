"""Starts a guarded process, clean, and reads its guard back from outside, before and after user code.

in: a main module, the paths of code it may read, what must stay private · out: a `GuardedChild` with the
caller's pipes, and `IsolationEvidence`. Carries I1; the child's side is `child.enter`.

The interpreter is fresh (no fork: no copied memory, no threads in unknown states), its environment is
built here, it holds the named pipes and nothing else, and it dies with the thread that started it: call
`spawn` from one that lives as long as the session.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hybrid_platform.domain.errors import IsolationError
from hybrid_platform.sandbox import process, seccomp
from hybrid_platform.sandbox.descriptors import kind_of
from hybrid_platform.sandbox.grants import grants_for
from hybrid_platform.sandbox.guarded import GuardedChild
from hybrid_platform.sandbox.listener import Listener
from hybrid_platform.sandbox.protocol import Line, Plan
from hybrid_platform.sandbox.selftest import Canary
from hybrid_platform.sandbox.watch import can_watch

START_TIMEOUT_S = 60.0
KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH")
_GIVEN_ENVIRONMENT = {"PYTHONHASHSEED": "0", "HOME": "/nonexistent", "LOGNAME": "strategy"}
"""A fixed hash seed, for S8; and a home and a name, or libraries would ask a name service by socket."""
_FLAGS = ("-s", "-P", "-B")
"""No user site, no implicit folder, no byte code. Not ``-I``, which would ignore the environment made above."""
_TO_GUARD, _FROM_GUARD = "guard", "guard-up"
_BOOT = """
import json, runpy, sys
module, paths = sys.argv[1], json.loads(sys.argv[2])
sys.path[:], sys.argv[:] = paths, [module, *sys.argv[3:]]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def spawn(  # noqa: PLR0913
    module: str,
    *,
    code: Sequence[Path] = (),
    private: Sequence[Path] = (),
    write: Sequence[Path] = (),
    down: Sequence[str] = (),
    up: Sequence[str] = (),
    arguments: str = "",
    environment: Mapping[str, str] | None = None,
    output: int = subprocess.DEVNULL,
    own_network: bool = True,
    hide_parent: bool = False,
    timeout_s: float = START_TIMEOUT_S,
) -> GuardedChild:
    """Start ``module`` in a guarded process and return it when its guard has been read back.

    ``code`` are module files or packages it may read, ``private`` what it must not even where code lies
    around it (existing directories; a canary file goes into the first); ``down`` and ``up`` name the
    pipes to and from it; ``arguments`` is the caller's own text; ``environment`` adds to the few
    variables that are passed on. ``output`` is a descriptor for its standard output and error: a pipe
    that somebody drains. ``hide_parent`` makes the calling process non-dumpable, see
    `process.set_dumpable`. How strong the guard is, the evidence says. Raises IsolationError where the
    child does not come up, ConfigError where ``code`` lies in ``private``.
    """
    if output >= 0 and (kind := kind_of(output)) != "pipe":
        # A file could be overwritten by what holds it, a terminal typed into, a socket is what this is about.
        raise IsolationError(f"guard: expected a pipe for the child's output, got a {kind}")
    grants = grants_for(code, private, write)
    if hide_parent:
        process.set_dumpable(dumpable=False)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(Listener())
        canary = stack.enter_context(_canary(private[0] if private else None))
        ours, theirs = _pipes((_TO_GUARD, *down), (_FROM_GUARD, *up))
        stack.callback(_close, ours)
        try:
            started = subprocess.Popen(
                [sys.executable, *_FLAGS, "-c", _BOOT, module, json.dumps(_import_paths()),
                 str(theirs[_TO_GUARD]), str(theirs[_FROM_GUARD])],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=tuple(theirs.values()),
                env=_environment(environment or {}),
                start_new_session=True,  # a Ctrl-C is the parent's to act on, and there is no terminal to type into
            )  # fmt: skip
        finally:
            for descriptor in theirs.values():
                os.close(descriptor)
        stack.callback(_end, started)
        plan = Plan(
            parent=os.getpid(),
            pipes={name: theirs[name] for name in (*down, *up)},
            arguments=arguments,
            grants=grants,
            canary=canary,
            listener=listener.address,
            notify=seccomp.available() and can_watch(started.pid),
            own_network=own_network,
        )
        line = Line(ours.pop(_FROM_GUARD), ours.pop(_TO_GUARD))
        stack.callback(line.close)
        child = GuardedChild(started, line, ours, listener, plan, timeout_s)
        child.take_over(stack.pop_all())
        return child


def _import_paths() -> list[str]:
    """Return our own import path: the child imports just what its parent could, the strategy's folder included."""
    return [str(Path(entry or ".").absolute()) for entry in sys.path]


def _environment(added: Mapping[str, str]) -> dict[str, str]:
    """Return what the child sees: no token, DSN or key of the parent's."""
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    return {**kept, **_GIVEN_ENVIRONMENT, **added}


def _pipes(down: Sequence[str], up: Sequence[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Return our ends and the child's by name; none is inherited unless it is passed by number."""
    ours: dict[str, int] = {}
    theirs: dict[str, int] = {}
    for name in down:
        theirs[name], ours[name] = os.pipe()
    for name in up:
        ours[name], theirs[name] = os.pipe()
    return ours, theirs


def _close(descriptors: dict[str, int]) -> None:
    while descriptors:
        os.close(descriptors.popitem()[1])


@contextlib.contextmanager
def _canary(folder: Path | None) -> Iterator[Canary]:
    try:
        descriptor, path = tempfile.mkstemp(prefix="canary-", dir=folder)
    except OSError as error:
        raise IsolationError(f"guard: expected a directory to put the canary in, got {error}") from None
    try:
        content = f"canary of process {os.getpid()}"
        os.write(descriptor, content.encode())
        os.close(descriptor)
        yield Canary(path, content)
    finally:
        Path(path).unlink(missing_ok=True)


def _end(started: subprocess.Popen[bytes]) -> None:
    if started.poll() is None:
        started.kill()
    started.wait()
