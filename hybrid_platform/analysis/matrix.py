"""The verification matrix: every id of the contract with the result of its tests (G5).

in: the tests of this checkout, by their markers · out: a `Matrix`, stored below ``evidence/matrix/`` by commit:
signed, and as a page. An id without a passing test fails the matrix.
"""

from __future__ import annotations

import os
import signal
import subprocess  # noqa: S404, RUF100
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec

from hybrid_platform.domain.clocks import Clock, iso_utc
from hybrid_platform.domain.contract import CONTRACT, CONTRACT_IDS
from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.domain.records import CodeIdentity, Verdict
from hybrid_platform.evidence.keys import load_signing_key
from hybrid_platform.evidence.matrix import Matrix, MatrixRow, write_matrix
from hybrid_platform.host.system import package_root
from hybrid_platform.security.paths import DataDir
from hybrid_platform.security.redaction import sanitize_text
from hybrid_platform.settings.gates import KeySettings

TESTS = "hybrid_platform_tests"
PLUGIN = "hybrid_platform.analysis.pytest_plugin"
TIMEOUT_S = 3600.0
_SHOWN_FAILURES = 3


class Outcome(msgspec.Struct, frozen=True):
    """Result of one test."""

    test: str
    ids: tuple[str, ...]
    outcome: str
    """passed, failed, skipped or xfailed (failed as expected)."""
    duration_s: float
    why: str = ""
    """First line of the failure."""


class Outcomes(msgspec.Struct, frozen=True):
    """Results of all tests."""

    tests: tuple[Outcome, ...]
    errors: tuple[str, ...] = ()
    """Modules that could not be collected."""


def run_matrix(
    code: CodeIdentity,
    clock: Clock,
    *,
    tests: Path | None = None,
    only: Sequence[str] = (),
    timeout_s: float = TIMEOUT_S,
    workers: int | None = None,
) -> Matrix:
    """Run the tests of all ids, or of ``only`` some, and return the matrix.

    ``workers`` is the number of processes of pytest-xdist: by default one more than there are cores, 0 for none.

    Raises ConfigError for an unknown id, and if the tests or pytest are missing.
    """
    unknown = [each for each in only if each not in CONTRACT_IDS]
    if unknown:
        raise ConfigError(
            [Fault("--only", f"ids of the contract ({CONTRACT_IDS[0]} … {CONTRACT_IDS[-1]})", ", ".join(unknown))]
        )
    tests = tests or package_root() / TESTS
    if not tests.is_dir():
        raise ConfigError([Fault("tests", f"a checkout with its {TESTS}", f"none at {tests}")])
    if find_spec("pytest") is None:
        raise ConfigError([Fault("pytest", "to be installed, as `make test` does", "not found")])
    started = clock.wall_ns()
    found, faults = _run_tests(tests, only, timeout_s, workers)
    return Matrix(
        version=code.version,
        commit=code.commit,
        dirty=code.dirty,
        code_sha256=str(code.sha256),
        python=sys.version.split()[0],
        started_at=iso_utc(started),
        ended_at=iso_utc(clock.wall_ns()),
        rows=tuple(judge_id(each, found.tests) for each in CONTRACT_IDS if not only or each in only),
        faults=faults,
    )


def store_matrix(data_dir: DataDir, matrix: Matrix, keys: KeySettings) -> Path:
    """Write the signed matrix and its page; return the path of the page."""
    from hybrid_platform.report.html import matrix_page

    name = write_matrix(data_dir, matrix, load_signing_key(data_dir, keys))
    return data_dir.write_atomic(f"{name}.html", matrix_page(matrix).encode())


def matrix_lines(matrix: Matrix) -> list[str]:
    """Return the matrix as text: a line per row, the faults, and the number of proved ids."""
    lines = [
        f"{row.verdict.value:8} {row.id:4} {row.duration_s:7.1f} s  {row.claim}: {row.actual}" for row in matrix.rows
    ]
    passed = sum(row.verdict is Verdict.PASS for row in matrix.rows)
    return [*lines, *(f"FAULT    {fault}" for fault in matrix.faults), f"{passed} of {len(matrix.rows)} proved"]


def _run_tests(
    tests: Path, only: Sequence[str], timeout_s: float, workers: int | None
) -> tuple[Outcomes, tuple[str, ...]]:
    """Run pytest in its own process group, which is killed if this call ends early."""
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        target, output = Path(folder, "outcomes.json"), Path(folder, "output")
        command = [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN, "-p", "no:cacheprovider", str(tests)]
        workers = (os.cpu_count() or 1) + 1 if workers is None else workers  # many tests wait for a process or a clock
        if workers and find_spec("xdist") is not None:
            command += ["-n", str(workers), "--dist", "worksteal"]
        command += ["--outcomes", str(target), *(word for each in only for word in ("--scenario", each))]
        path = os.pathsep.join([str(package_root()), os.environ.get("PYTHONPATH", "")])
        with output.open("wb") as out:
            process = subprocess.Popen(
                command,
                cwd=tests.parent,
                env=os.environ | {"PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code: int | None = process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        if code is None:
            return Outcomes(()), (f"expected the proofs to end within {timeout_s:g} s, did not",)
        if not target.exists():
            last_line = output.read_text(errors="replace").strip().splitlines()[-1:]
            return Outcomes(()), (f"expected pytest to run, ended with {code}: {sanitize_text(' '.join(last_line))}",)
        found = msgspec.json.decode(target.read_bytes(), type=Outcomes)
    faults = [f"{module}: expected to be collected, got not" for module in found.errors]
    if code not in {0, 1}:
        faults.append(f"expected pytest to end with 0 or 1, got {code}")
    return found, tuple(faults)


def judge_id(contract_id: str, tests: Sequence[Outcome]) -> MatrixRow:
    """Return the row of one id: PASS needs a test that passed, and none that failed."""
    proofs = [test for test in tests if contract_id in test.ids]
    counts = Counter(test.outcome for test in proofs)
    failed = [test for test in proofs if test.outcome not in {"passed", "skipped", "xfailed"}]
    shown = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "no test proves this id"
    if failed:
        more = f" and {len(failed) - _SHOWN_FAILURES} more" if len(failed) > _SHOWN_FAILURES else ""
        reasons = (sanitize_text(f"{test.test}: {test.why}", 240) for test in failed[:_SHOWN_FAILURES])
        shown += ": " + "; ".join(reasons) + more
    verdict = Verdict.FAIL if failed else Verdict.PASS if counts["passed"] else Verdict.NOT_RUN
    return MatrixRow(
        contract_id,
        CONTRACT[contract_id].statement,
        f"python -m pytest -p {PLUGIN} --scenario {contract_id}",
        "at least one test passes, none fails",
        shown,
        round(sum(test.duration_s for test in proofs), 3),
        verdict,
    )
