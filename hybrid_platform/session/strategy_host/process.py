"""The sandboxed process of a session: started, checked, read and closed here (I1).

in: settings and the paths that strategy code must not read · out: a `StrategyProcess` whose strategy is built.
Raises ConfigError and IsolationError; nothing of a user's strategy is imported in this process.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import msgspec

from hybrid_platform.domain.errors import ConfigError, IsolationError
from hybrid_platform.domain.isolation import IsolationEvidence
from hybrid_platform.log.session_log import SessionLog
from hybrid_platform.maintenance.lease import LEASE_SUFFIX
from hybrid_platform.sandbox.grants import build_grants
from hybrid_platform.sandbox.sandboxed_process import SandboxedProcess
from hybrid_platform.sandbox.spawn import SpawnOptions, spawn
from hybrid_platform.security.paths import DataDir
from hybrid_platform.session.strategy_host.frames import (
    PipeReader,
    PipeWriter,
    StrategyReady,
    StrategyRefused,
    Summary,
    UpFrame,
)
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.location import FILE_SUFFIXES, sqlite_path
from hybrid_platform.strategies.loader import is_built_in, resolve_strategy_path

MODULE = "hybrid_platform.session.strategy_host.child"
REPLAY_FRAME = 1_024
"""Ticks per frame of a replay. A frame is acknowledged whole, so small ones show that a slow strategy progresses."""
PIPE_BYTES = 1 << 20
START_TIMEOUT_S = 60.0
OUTPUT_TIMEOUT_S = 0.5


class StrategyProcess:
    """A running sandboxed process and the parent's ends of its pipes; close it."""

    def __init__(self, child: SandboxedProcess, output: StrategyOutput) -> None:
        self.child = child
        self._output = output
        self.writer = PipeWriter(child.pipes["down"])
        self.reader = PipeReader(child.pipes["up"], UpFrame)
        self.summary: Summary | None = None
        """The last frame of the process, once it has come."""

    def close_out(self, timeout_s: float) -> IsolationEvidence:
        """Read the sandbox back a last time, end the process and return the evidence."""
        self.child.close_out(timeout_s)
        evidence = self.child.evidence()
        self.close()
        return evidence

    def close(self) -> None:
        """End the process, even if it is busy."""
        self.child.close()
        self._output.close()

    def require(self, settings: SessionSettings) -> None:
        """Raise ConfigError if the sandbox is weaker than the settings require."""
        evidence = self.child.evidence()
        if settings.require_isolation and evidence.enforced != "kernel-process":
            raise ConfigError(
                f"require_isolation: expected kernel-process, got {evidence.enforced}: {'; '.join(evidence.why)}"
            )

    def await_strategy(self) -> None:
        """Wait until the strategy is built; raise ConfigError if it cannot be, IsolationError if nothing comes."""
        try:
            frame = self.reader.read(START_TIMEOUT_S)
        except EOFError:
            raise IsolationError("the sandboxed process ended before the strategy was built") from None
        if isinstance(frame, StrategyRefused):
            raise ConfigError(frame.message)
        if not isinstance(frame, StrategyReady):
            raise IsolationError(f"strategy: expected to be built within {START_TIMEOUT_S:g} s, got no answer")


def start_strategy_process(
    settings: SessionSettings,
    private: tuple[Path, ...],
    log: SessionLog | None,
    *,
    check_only: bool = False,
    module: str = MODULE,
    plan: Mapping[str, Any] | None = None,
) -> StrategyProcess:
    """Start a sandboxed process that runs ``module``, and return it once its strategy is built.

    ``private`` lists the paths that it must not read, the data directory first; ``plan`` is passed on to
    ``module``. Raises ConfigError if the strategy cannot be built or the sandbox is weaker than required,
    IsolationError if the process does not come up.
    """
    arguments = {"settings": settings.model_dump(mode="json"), "check_only": check_only, **(plan or {})}
    output = StrategyOutput(log)
    output.start()
    try:
        options = SpawnOptions(
            code=_find_code(settings.strategy.name),
            private=private,
            pipes_to_child=("down",),
            pipes_from_child=("up",),
            arguments=msgspec.json.encode(arguments).decode(),
            output=output.descriptor,
        )
        child = spawn(module, options)
    except BaseException:
        output.close()
        raise
    process = StrategyProcess(child, output)
    try:
        process.require(settings)
        for descriptor in child.pipes.values():
            with suppress(OSError):  # a smaller pipe works too
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        process.await_strategy()
    except BaseException:
        process.close()
        raise
    return process


def check_strategy(settings: SessionSettings) -> None:
    """Raise ConfigError if the strategy cannot be built; user code is imported in the sandbox only."""
    start_strategy_process(settings, (), None, check_only=True).close()


def check_reach(settings: SessionSettings, private: tuple[Path, ...]) -> None:
    """Raise ConfigError if code that the sandboxed process needs lies in a path that it must not read."""
    build_grants(_find_code(settings.strategy.name), private)


def private_paths(settings: SessionSettings, data_dir: DataDir, database_url: str) -> tuple[Path, ...]:
    """Return the paths that strategy code must not read: all that the platform writes (first), and the signing key."""
    places = [data_dir.root]
    if settings.keys.signing_key is not None:
        places.append(Path(settings.keys.signing_key).absolute())
    database = sqlite_path(database_url)
    if not database.is_relative_to(places[0]):
        # Its files instead of its folder, which may be the checkout or hold the virtual environment.
        places += [database.with_name(database.name + end) for end in (*FILE_SUFFIXES, LEASE_SUFFIX)]
    return tuple(places)


def _find_code(name: str) -> tuple[Path, ...]:
    """Return the file or package of a user's strategy without importing any of it."""
    if is_built_in(name):
        return ()
    top = resolve_strategy_path(name).partition(":")[0].partition(".")[0]
    spec = PathFinder.find_spec(top)
    if spec is None or spec.origin is None:
        return tuple(Path(place) for place in spec.submodule_search_locations or ()) if spec else ()
    origin = Path(spec.origin)
    return (origin.parent if spec.submodule_search_locations else origin,)


class StrategyOutput:
    """Copies the output of user code into the log, line by line and bounded."""

    def __init__(self, log: SessionLog | None) -> None:
        self._log = log
        reading, self.descriptor = os.pipe()
        self._thread = threading.Thread(target=self._drain, args=(reading,), name="strategy-output", daemon=True)

    def start(self) -> None:
        """Start copying."""
        self._thread.start()

    def close(self) -> None:
        """Close this side and wait shortly for the last lines; safe to call twice."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
            self._thread.join(OUTPUT_TIMEOUT_S)

    def _drain(self, reading: int) -> None:
        with os.fdopen(reading, encoding="utf-8", errors="replace") as lines:
            while line := lines.readline(4_096):
                if self._log is not None:
                    self._log.limited("info", "strategy said", line=line.rstrip())
