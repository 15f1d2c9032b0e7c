"""Reproduce a session in a process of its own, so that nothing of the original, or of this process, is left.

in: database, data directory, session · out: `ReproductionEvidence`, and ``reproduce.json`` beside the
session's evidence. Where the kernel allows, the process loses its way to the network before the strategy
is imported (I1); its hash seed is fixed, as a guarded session's is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from hybrid_platform import __version__
from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.errors import ExitCode, PlatformError
from hybrid_platform.domain.ids import SESSION_ID_PATTERN
from hybrid_platform.domain.records import CodeIdentity
from hybrid_platform.evidence.files import write_json
from hybrid_platform.evidence.records import SESSION, SessionEvidence, read_evidence
from hybrid_platform.evidence.reproduction import (
    ReproductionEvidence,
    ReproductionVerdict,
    Written,
    reproduction_name,
)
from hybrid_platform.host.system import package_root, read_git
from hybrid_platform.safety.paths import DataDir

_IS_ID = SESSION_ID_PATTERN.fullmatch


class ReproductionError(PlatformError):
    """The process that was to reproduce a session said why it could not."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Request(msgspec.Struct, frozen=True):
    """What the process is told on its standard input."""

    database_url: str
    session_id: str
    written: Written | None
    """What session.json says of the rows that were written."""


class Answer(msgspec.Struct, frozen=True):
    """What it says on its standard output: the evidence, or why there is none."""

    evidence: ReproductionEvidence | None = None
    error: str = ""
    exit_code: int = 0


def reproduce_fresh(data_dir: DataDir, database_url: str, session_id: str) -> ReproductionEvidence:
    """Reproduce a session in a fresh process, and write ``reproduce.json``.

    Raises ReproductionError, with the exit code that fits, where there is nothing to compare.
    """
    session = read_evidence(data_dir, session_id, SESSION, SessionEvidence) if _IS_ID(session_id) else None
    written = Written(session.ticks, session.journal) if session and session.ticks and session.journal else None
    request = msgspec.json.encode(Request(database_url, session_id, written))
    command = [sys.executable, "-m", __name__]
    ended = subprocess.run(command, input=request, stdout=subprocess.PIPE, env=_environment(), check=False)
    try:
        answer = msgspec.json.decode(ended.stdout, type=Answer)
    except msgspec.DecodeError:
        message = f"the reproducing process: expected an answer, was exit code {ended.returncode}"
        raise ReproductionError(message, ExitCode.CRASH) from None
    if answer.evidence is None:
        raise ReproductionError(answer.error, ExitCode(answer.exit_code))
    found = _held_to_evidence(session, answer.evidence)
    write_json(data_dir, reproduction_name(session_id), found)
    return found


def _held_to_evidence(session: SessionEvidence | None, found: ReproductionEvidence) -> ReproductionEvidence:
    """Fail what agrees with the database, but not with the digest of signals that the session's evidence has."""
    if session is None or found.verdict is not ReproductionVerdict.PASS:
        return found
    if session.signals.sha256 == found.signals_sha256:
        return found
    reason = f"signals: expected the digest of session.json, {session.signals.sha256}, was {found.signals_sha256}"
    return msgspec.structs.replace(found, verdict=ReproductionVerdict.FAIL, reasons=(reason,))


def _environment() -> dict[str, str]:
    """Return ours, with our import path, so that the process imports just what we could."""
    paths = os.pathsep.join(str(Path(entry or ".").absolute()) for entry in sys.path)
    return {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "0"}


def _main() -> None:
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    # What a strategy prints must not pass for the answer.
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        out.write(msgspec.json.encode(_answer(request)))


def _answer(request: Request) -> Answer:
    from hybrid_platform.pipeline.reproduce.session import reproduce
    from hybrid_platform.storage.engine import open_engine

    try:
        engine = open_engine(request.database_url, role="read")
        try:
            code = CodeIdentity(__version__, *read_git(package_root()))
            _close_the_network()
            return Answer(reproduce(engine, request.session_id, code, SystemClock(), request.written))
        finally:
            engine.dispose()
    except PlatformError as error:
        return Answer(error=str(error), exit_code=int(error.exit_code))


def _close_the_network() -> None:
    from hybrid_platform.safety.guard import _linux, seccomp
    from hybrid_platform.safety.guard.bpf import Filter

    machine = _linux.machine()
    if machine is not None:
        with suppress(OSError):
            seccomp.load(Filter(machine), all_threads=True)


if __name__ == "__main__":
    _main()
